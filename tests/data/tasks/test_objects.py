"""JSON: lines, arrays, wrapped arrays; every break of the form is its own fault."""

import json

import pytest

from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.load import load_task
from ownlm.errors import DataError

GOOD = [
    {"text": "one", "label": "a"},
    {"text": "two", "label": 1},
    {"text": "three", "label": True},
]


@pytest.mark.parametrize("form", ["lines", "array", "indented", "wrapped"])
def test_all_forms_give_the_same_records(put, read, form):
    content = {
        "lines": "\n".join(map(json.dumps, GOOD)),
        "array": json.dumps(GOOD),
        "indented": json.dumps(GOOD, indent=2),
        "wrapped": json.dumps({"version": "data", "data": GOOD}, indent=1),
    }[form]
    data = read(put("a.jsonl" if form == "lines" else "a.json", b"\xef\xbb\xbf" + content.encode()))
    assert not data.faults
    assert [(one.text, one.labels[0]) for one in data.records] == [
        ("one", "a"),
        ("two", "1"),
        ("three", "true"),
    ]
    places = {"lines": ["1", "2", "3"], "indented": ["2", "6", "10"],
              "array": ["1, item 1", "1, item 2", "1, item 3"]}  # fmt: skip
    if form in places:
        assert [one.origin.place for one in data.records] == places[form]


@pytest.mark.parametrize(("line", "kind"), [
    ('{"text": "x", "text": "y", "label": "a"}', "duplicate-key"),
    ('{"text": "x", "label": NaN}', "nan"),
    ('{"text": null, "label": "a"}', "null-text"),
    ('{"text": 3, "label": "a"}', "not-a-string"),
    ('{"text": "\\ud800", "label": "a"}', "lone-surrogate"),
    ('{"label": "a"}', "missing-field"),
    ('{"text": "x", "label": []}', "no-label"),
    ('[1, 2]', "not-an-object"), ("{", "bad-json"), ("[" * 200_000, "deep-json"),
])  # fmt: skip
def test_each_break_is_named_at_its_line(put, read, line, kind):
    content = "\n".join([json.dumps(GOOD[0]), line, json.dumps(GOOD[1])]) + "\n"
    data = read(put("a.jsonl", content))
    assert [(one.kind, one.place) for one in data.faults] == [(kind, "2")]
    assert len(data.records) == 2


def test_a_column_of_many_may_hold_none(put, read):
    rows = [["a", "b"], [], ["b"], []]
    content = "".join(
        json.dumps({"text": f"t {n}", "labels": r}) + "\n" for n, r in enumerate(rows)
    )
    data = read(put("a.jsonl", content))
    assert [list(one.labels) for one in data.records] == rows and not data.faults


@pytest.mark.parametrize("cut", range(12, 130, 7))
def test_half_an_array_keeps_its_whole_items_and_says_where_it_ends(put, read, cut):
    content = json.dumps([{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(5)])[:cut]
    path = put("a.json", content)
    whole = content.count("}")
    if not whole or whole == 1:
        with pytest.raises(DataError, match=r"a\.json"):
            read(path).require_sound()
        return
    data = read(path)
    assert len(data.records) == whole and len(data.faults) == 1
    assert "cut off" in data.faults[0].reason


def test_a_torn_last_line_is_told(put, read):
    data = read(
        put("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n{"text": "c')
    )
    assert [(one.kind, one.place) for one in data.faults] == [("torn-line", "3")]


def test_squad_becomes_a_record_a_question(put, read):
    context = "Der Fluß 🙂 heißt Elbe."
    asked = [
        {"id": "q1", "question": "Wie?", "answers": [{"text": "Elbe", "answer_start": 17}] * 2},
        {"id": "q2", "question": "Wo?", "answers": [], "is_impossible": True},
        {"id": "q3", "question": "Was?", "answers": [{"text": "Elbe", "answer_start": 18}]},
        {"id": "q4", "question": "Wer?", "answers": [{"text": "Oder", "answer_start": 0}]},
        {"id": "q5", "question": "", "answers": []},
    ]
    content = {"data": [{"title": "Elbe", "paragraphs": [{"context": context, "qas": asked}]}]}
    data = read(put("a.json", json.dumps(content, ensure_ascii=False)), "span")
    assert [(one.id, one.answers) for one in data.records] == [("q1", (("Elbe", 17),)), ("q2", ())]
    assert {one.group for one in data.records} == {"Elbe"}
    assert [one.kind for one in data.faults] == ["offset", "offset", "empty-text"]
    assert "but at 17: it counts UTF-16 units" in data.faults[0].reason
    assert "nor anywhere else" in data.faults[1].reason
    assert "question q3" in data.faults[0].where


def test_flat_questions_are_read_too(put, read):
    row = {"context": "a b c", "question": "?", "answers": {"text": ["b"], "answer_start": [2]}}
    data = read(put("a.jsonl", json.dumps(row)), "span")
    assert data.records[0].answers == (("b", 2),)


def test_alpaca_and_translation_are_parallel(put, read):
    rows = [
        {"instruction": "Add", "input": "1 and 2", "output": "3"},
        {"instruction": "Hi", "input": "", "output": "Ho"},
    ]
    data = read(put("a.json", json.dumps(rows)), "seq2seq")
    assert [(one.source, one.target) for one in data.records] == [
        ("Add\n\n1 and 2", "3"),
        ("Hi", "Ho"),
    ]
    row = {"translation": {"en": "cat", "zh": "猫"}}
    data = read(put("b.jsonl", json.dumps(row)), "seq2seq")
    assert (data.records[0].source, data.records[0].target) == ("cat", "猫")


def test_columns_are_not_guessed_where_files_differ_in_them(put):
    first = [{"name": f"d{n}", "dialogue": f"Hello, {n}!", "short": f"{n}"} for n in range(9)]
    second = [{"name": f"t{n}", "dialogue": f"Bye, {n}!", "short1": f"{n}"} for n in range(9)]
    for file, rows in (("dev.jsonl", first), ("test.jsonl", second)):
        path = put(file, "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"'short' of .*dev\.jsonl, 'short1' of .*test") as told:
        load_task(TaskDataConfig(path=str(path.parent)), "seq2seq")
    assert "--data.files" in told.value.next_command
