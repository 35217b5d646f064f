"""Conversations: four shapes give the same turns; whatever is out of order is told."""

import json

import pytest

from ownlm.errors import DataError

TURNS = [("user", "Hi"), ("assistant", "Hello")]


def write(put, *rows):
    return put("chat.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("row", [
    {"messages": [{"role": r, "content": c} for r, c in TURNS]},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    {"instruction": "Hi", "input": "", "output": "Hello"},
    {"prompt": "Hi", "completion": "Hello"},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                  {"role": "assistant", "content": "Hello"}]},
])  # fmt: skip
def test_shapes(put, read, row):
    (record,) = read(write(put, row), "chat").records
    assert [(one.role, one.content) for one in record.messages] == TURNS
    system = read(write(put, row | {"system": "Be kind"}), "chat").records[0].messages[0]
    assert system.as_dict() == {"role": "system", "content": "Be kind"}


CALL = {"name": "add", "arguments": {"a": 1}}
OPENAI = [
    {"role": "user", "content": "1+1"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "2"},
    {"role": "assistant", "content": "Two"},
]  # fmt: skip
SHAREGPT = [
    {"from": "human", "value": "1+1"}, {"from": "function_call", "value": json.dumps(CALL)},
    {"from": "observation", "value": "2"}, {"from": "gpt", "value": "Two"},
]  # fmt: skip


@pytest.mark.parametrize("row", [
    {"messages": OPENAI, "tools": [{"type": "function", "function": {"name": "add"}}]},
    {"conversations": SHAREGPT, "tools": json.dumps([{"name": "add"}])},
])  # fmt: skip
def test_calls_of_tools(put, read, row):
    (record,) = read(write(put, row), "chat").records
    assert [one.role for one in record.messages] == ["user", "assistant", "tool", "assistant"]
    (call,) = record.messages[1].tool_calls
    assert (call.name, call.arguments) == ("add", {"a": 1})
    assert record.tools == ({"type": "function", "function": {"name": "add"}},)


def turns(text):
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool", "x": "narrator"}
    return [{"role": roles[c.lower()], "content": "" if c.isupper() else "said"} for c in text]


@pytest.mark.parametrize(("text", "words"), [
    ("uua", "turn 2: user after user, expected assistant"),
    ("au", "turn 1: assistant at the beginning, expected system or user"),
    ("uaa", "turn 3: assistant after assistant"), ("usa", "turn 2: system after user"),
    ("uta", "turn 2: tool after user"), ("uA", "turn 2: the assistant's turn is empty"),
    ("Ua", "turn 1: the user's turn is empty"), ("u", "ends with user"), ("", "no turns"),
    ("ux", "turn 2: role 'narrator' is not known"),
])  # fmt: skip
def test_order(put, read, text, words):
    good = {"messages": turns("suaua")}
    data = read(write(put, good, {"messages": turns(text)}), "chat")
    assert len(data.records) == 1
    assert words in data.faults[0].reason and data.faults[0].place == "2"


def test_a_result_must_answer_a_call(put, read):
    wrong = [OPENAI[0], OPENAI[1], OPENAI[2] | {"tool_call_id": "c9"}, OPENAI[3]]
    data = read(write(put, {"messages": OPENAI}, {"messages": wrong}), "chat")
    assert "no call has the id 'c9'" in data.faults[0].reason


@pytest.mark.parametrize(("value", "words"), [
    ("{", "not JSON"), ('{"arguments": {}}', "a name"),
    ('{"name": "f", "arguments": [1]}', "no object"),
])  # fmt: skip
def test_broken_calls(put, read, value, words):
    wrong = [SHAREGPT[0], SHAREGPT[1] | {"value": value}, *SHAREGPT[2:]]
    data = read(write(put, {"conversations": SHAREGPT}, {"conversations": wrong}), "chat")
    assert words in data.faults[0].reason and "turn 2" in data.faults[0].reason


@pytest.mark.parametrize(("row", "words"), [
    ({"conversations": TURNS[:1], "chosen": "a", "rejected": "b"}, "preference data"),
    ({"text": "a", "label": "b"}, "no conversation among the fields 'text', 'label'"),
])  # fmt: skip
def test_other_data_are_refused(put, read, row, words):
    with pytest.raises(DataError, match=words):
        read(write(put, row), "chat")
