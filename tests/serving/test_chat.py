"""/v1/chat/completions: whole and streamed, as OpenAI's schema has it."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ownlm.serving.state import State

from .conftest import Client, Scripted
from .openai_shapes import valid

HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def chunks(ask: Client, path: str = "/v1/chat/completions", **body: Any) -> list[dict[str, Any]]:
    """The chunks of a stream, which ends with [DONE]."""
    response = ask.post(path, HELLO | {"stream": True} | body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = response.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]


def test_an_answer(ask: Client, scripted: Scripted) -> None:
    response = ask.post("/v1/chat/completions", HELLO)
    assert response.status_code == 200
    made = valid(ChatCompletion, response.json())
    assert made.choices[0].message.content == scripted.text
    assert made.choices[0].finish_reason == "stop"
    count = len(scripted.text)
    read = len(scripted.asked[0].prompt)
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (read, count)
    assert made.usage.total_tokens == read + count


def test_a_stream_says_the_same(ask: Client, scripted: Scripted) -> None:
    scripted.text = "Wörter und 漢字 😀"
    found = [valid(ChatCompletionChunk, one) for one in chunks(ask, n=2)]
    assert len({(one.id, one.created, one.model) for one in found}) == 1
    for index in (0, 1):
        choices = [c for one in found for c in one.choices if c.index == index]
        assert [c.delta.role for c in choices if c.delta.role] == ["assistant"]
        assert "".join(c.delta.content or "" for c in choices) == scripted.text
        assert [c.finish_reason for c in choices if c.finish_reason] == ["stop"]
        assert choices[-1].finish_reason == "stop"
    assert all(one.usage is None for one in found)


def test_usage_comes_last_and_only_when_asked_for(ask: Client, scripted: Scripted) -> None:
    *rest, last = chunks(ask, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(scripted.text)
    assert all(one["usage"] is None and one["choices"] for one in rest)
    assert all("usage" not in one for one in chunks(ask))


def test_an_error_in_a_stream_is_told_and_the_stream_ends(ask: Client, scripted: Scripted) -> None:
    scripted.error = "the logits are not numbers"
    *said, error = chunks(ask)
    assert said[-1]["choices"][0]["delta"]["content"]
    assert "the logits are not numbers" in error["error"]["message"]
    scripted.error = "again"
    response = ask.post("/v1/chat/completions", HELLO)
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"


def test_logprobs(ask: Client, scripted: Scripted) -> None:
    scripted.text = "é!"
    body = HELLO | {"logprobs": True, "top_logprobs": 2}
    made = valid(ChatCompletion, ask.post("/v1/chat/completions", body).json())
    assert made.choices[0].logprobs is not None
    content = made.choices[0].logprobs.content
    assert content is not None
    assert bytes(byte for one in content for byte in one.bytes or []).decode() == "é!"
    assert [one.logprob for one in content] == [-0.5] * 3
    assert [len(one.top_logprobs) for one in content] == [2] * 3
    streamed = chunks(ask, logprobs=True, top_logprobs=2)
    again = [
        token
        for one in streamed
        for choice in one["choices"]
        if choice["logprobs"]
        for token in choice["logprobs"]["content"]
    ]
    assert again == [one.model_dump() for one in content]


def test_settings_reach_the_engine(ask: Client, scripted: Scripted) -> None:
    body = HELLO | {
        "temperature": 0.3, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "seed": -3, "n": 2,
        "presence_penalty": 1.5, "frequency_penalty": -1, "repetition_penalty": 1.1,
        "logit_bias": {"5": -100}, "stop": ["x", "yy"], "max_completion_tokens": 9,
        "min_tokens": 2, "ignore_eos": True, "logprobs": True,
    }  # fmt: skip
    assert ask.post("/v1/chat/completions", body).status_code == 200
    first, second = scripted.asked
    s = first.sampling
    assert (s.temperature, s.top_p, s.top_k, s.min_p) == (0.3, 0.9, 7, 0.1)
    assert (s.presence_penalty, s.frequency_penalty, s.repetition_penalty) == (1.5, -1, 1.1)
    assert s.logit_bias == {5: -100.0}
    assert second.sampling.seed == (s.seed + 1) % 2**63
    assert (first.stop, first.max_tokens, first.min_tokens) == (("x", "yy"), 9, 2)
    assert first.ignore_end
    assert first.logprobs == 0
    assert first.ends == frozenset(scripted.lm.turn_ids)


def test_what_is_left_out_is_as_openai_has_it(ask: Client, scripted: Scripted) -> None:
    ask.post("/v1/chat/completions", HELLO)
    ask.post("/v1/chat/completions", HELLO)
    first, second = scripted.asked
    assert first.sampling.temperature == 1.0
    assert first.max_tokens == scripted.lm.model.context - len(first.prompt)
    assert first.sampling.seed != second.sampling.seed


def test_the_conversation_is_written_by_the_models_template(
    ask: Client, scripted: Scripted
) -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    body = HELLO | {"messages": messages, "tools": [ADD]}
    assert ask.post("/v1/chat/completions", body).status_code == 200
    text = scripted.lm.tokenizer.decode(scripted.asked[0].prompt, skip_special=False)
    assert "Functions that can be called:" in text
    assert "<|im_start|>user\nHi<|im_end|>" in text
    assert '{"name": "add", "arguments": {"a": 1}}' in text
    assert text.endswith("<|im_start|>assistant\n")
    none = ask.post("/v1/chat/completions", body | {"tool_choice": "none"})
    assert none.status_code == 200
    text = scripted.lm.tokenizer.decode(scripted.asked[1].prompt, skip_special=False)
    assert "Functions" not in text


def test_calls_of_tools(ask: Client, scripted: Scripted) -> None:
    scripted.text = 'So:\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    body = HELLO | {"tools": [ADD]}
    made = valid(ChatCompletion, ask.post("/v1/chat/completions", body).json())
    choice = made.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "So:\n")
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 1})
    unasked = ask.post("/v1/chat/completions", HELLO).json()
    assert unasked["choices"][0]["message"]["content"] == scripted.text


def test_calls_in_a_stream(ask: Client, scripted: Scripted) -> None:
    one = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
    scripted.text = one + "\n" + one
    found = [valid(ChatCompletionChunk, each) for each in chunks(ask, tools=[ADD])]
    deltas = [d for each in found for c in each.choices for d in c.delta.tool_calls or ()]
    for index in (0, 1):
        first, *rest = [delta for delta in deltas if delta.index == index]
        assert first.id and first.type == "function"
        assert first.function and first.function.name == "add"
        assert all(d.id is None and d.type is None for d in rest)
        arguments = "".join(d.function.arguments or "" for d in [first, *rest] if d.function)
        assert json.loads(arguments) == {"a": 1}
    assert len({delta.id for delta in deltas if delta.id}) == 2
    finishes = [c.finish_reason for each in found for c in each.choices if c.finish_reason]
    assert finishes == ["tool_calls"]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["add", "sub"]),
        ({"type": "function", "function": {"name": "sub"}}, ["sub"]),
        ("auto", []),
    ],
)
def test_a_call_can_be_required(
    ask: Client, scripted: Scripted, choice: Any, names: list[str]
) -> None:
    inner = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {}}}
    tools = [ADD, {"type": "function", "function": {"name": "sub", "parameters": inner}}]
    response = ask.post("/v1/chat/completions", HELLO | {"tools": tools, "tool_choice": choice})
    assert response.status_code == 200
    constraint = scripted.asked[0].constraint
    if not names:
        assert constraint is None
        return
    assert constraint is not None and constraint.kind == "grammar"
    start, rule = constraint.text.split("\n")
    assert start == 'start: "<tool_call>" call "</tool_call>"'  # as our template writes them
    schema = json.loads(rule.removeprefix("call: %json "))
    calls = schema.get("anyOf", [schema])
    assert [call["properties"]["name"]["const"] for call in calls] == names
    arguments = calls[-1]["properties"]["arguments"]["$ref"]
    found = schema["$defs"][arguments.removeprefix("#/$defs/")]
    assert found["properties"]["a"]["$ref"] == arguments + "/$defs/A"
    assert found["$defs"] == {"A": {}}


def test_the_form_of_an_answer(ask: Client, scripted: Scripted) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    forms: list[Any] = [
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": schema},
            }
        },
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"structured_outputs": {"regex": "[ab]+"}},
        {"structured_outputs": {"json": json.dumps(schema)}},
    ]
    for form in forms:
        assert ask.post("/v1/chat/completions", HELLO | form).status_code == 200, form
    found = [request.constraint for request in scripted.asked]
    assert found[0] is None
    kinds = [one.kind for one in found if one]
    assert kinds == ["json", "json", "choice", "regex", "json"]
    assert found[2] and json.loads(found[2].text) == schema
    assert found[3] and found[3].choices == ("yes", "no")


def test_a_server_with_one_model_needs_no_name(state: State, ask: Client) -> None:
    body = {"messages": HELLO["messages"]}
    assert ask.post("/v1/chat/completions", body).json()["model"] == "tiny"
    state.models["other"] = next(iter(state.models.values()))
    response = ask.post("/v1/chat/completions", body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "model"
