"""/v1/responses, without memory: one response and the events that build it."""

import json
from typing import Any

import pytest
from openai.types.responses import Response

from .conftest import Client, Scripted
from .openai_shapes import EVENTS, valid

PATH = "/v1/responses"
ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def events(ask: Client, **body: Any) -> list[dict[str, Any]]:
    response = ask.post(PATH, {"model": "tiny", "input": "Hi", "stream": True} | body)
    assert response.status_code == 200, response.text
    frames = response.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    found = []
    for frame in frames[:-2]:
        name, data = frame.split("\n", 1)
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
        kind = EVENTS[found[-1]["type"]]
        valid(kind, found[-1])
    assert [one["sequence_number"] for one in found] == [*range(len(found))]
    return found


def test_a_response(ask: Client, scripted: Scripted) -> None:
    body = {"model": "tiny", "input": "Hi", "instructions": "Be brief.", "store": True}
    made = valid(Response, ask.post(PATH, body).json())
    assert made.output_text == scripted.text
    assert (made.status, made.instructions) == ("completed", "Be brief.")
    assert ask.post(PATH, body).json()["store"] is False
    assert made.usage and made.usage.output_tokens == len(scripted.text)
    text = scripted.lm.tokenizer.decode(scripted.asked[0].prompt, skip_special=False)
    assert "system\nBe brief.<|im_end|>" in text


def test_a_stream_builds_the_same(ask: Client, scripted: Scripted) -> None:
    found = events(ask)
    kinds = [one["type"].removeprefix("response.") for one in found]
    begin = ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[:4] == begin
    end = ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert kinds[-4:] == end
    assert {*kinds[4:-4]} == {"output_text.delta"}
    assert "".join(one.get("delta", "") for one in found) == scripted.text
    last = valid(Response, found[-1]["response"])
    assert last.output_text == scripted.text
    assert found[0]["response"]["output"] == []
    assert found[0]["response"]["status"] == "in_progress"


def test_a_text_that_was_cut_is_incomplete(ask: Client, scripted: Scripted) -> None:
    made = ask.post(PATH, {"model": "tiny", "input": "Hi", "max_output_tokens": 3}).json()
    assert made["status"] == "incomplete"
    assert made["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events(ask, max_output_tokens=3)[-1]["type"] == "response.incomplete"


def test_calls(ask: Client, scripted: Scripted) -> None:
    scripted.text = "So: " + CALL
    body = {"model": "tiny", "input": "Hi", "tools": [ADD]}
    made = valid(Response, ask.post(PATH, body).json())
    message, call = made.output
    assert message.type == "message"
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("add", {"a": 1})
    found = events(ask, tools=[ADD])
    deltas = [one for one in found if one["type"] == "response.function_call_arguments.delta"]
    assert json.loads("".join(one["delta"] for one in deltas)) == {"a": 1}
    output = found[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    assert all(item["status"] == "completed" for item in output)


def test_a_conversation_comes_whole(ask: Client, scripted: Scripted) -> None:
    given: list[dict[str, Any]] = [
        {"role": "user", "content": "Add."},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "2"},
        {"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "Two.", "annotations": []}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Sure?"}]},
    ]  # fmt: skip
    assert ask.post(PATH, {"model": "tiny", "input": given}).status_code == 200
    text = scripted.lm.tokenizer.decode(scripted.asked[0].prompt, skip_special=False)
    for part in ('{"name": "add", "arguments": {"a": 1}}', "tool\n2<", "Two.", "user\nSure?<"):
        assert part in text


def test_the_form_of_the_text(ask: Client, scripted: Scripted) -> None:
    form = {"type": "json_schema", "name": "a", "schema": {"type": "object"}}
    made = ask.post(PATH, {"model": "tiny", "input": "Hi", "text": {"format": form}}).json()
    assert made["text"]["format"] == form
    assert scripted.asked[0].constraint is not None


def test_logprobs(ask: Client, scripted: Scripted) -> None:
    body = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    made = ask.post(PATH, {"model": "tiny", "input": "Hi"} | body).json()
    logprobs = made["output"][0]["content"][0]["logprobs"]
    assert len(logprobs) == len(scripted.text)
    streamed = events(ask, **body)[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert streamed == logprobs


@pytest.mark.parametrize(
    "body",
    [{"previous_response_id": "resp_1"}, {"conversation": "c"}, {"background": True},
     {"truncation": "auto"}, {"prompt": {"id": "p"}}],
)  # fmt: skip
def test_what_needs_a_memory_is_refused(ask: Client, body: dict[str, Any]) -> None:
    response = ask.post(PATH, {"model": "tiny", "input": "Hi"} | body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", next(iter(body)))


@pytest.mark.parametrize(
    "body",
    [
        {
            "input": [{"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}]
            * 129
        },
        {"input": [{"role": "user", "content": "Hi"}] * 10_000, "instructions": "Be brief."},
    ],
)
def test_more_than_a_conversation_may_hold_is_refused(ask: Client, body: dict[str, Any]) -> None:
    response = ask.post(PATH, {"model": "tiny"} | body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "input"


def test_a_failure_is_told_as_an_event(ask: Client, scripted: Scripted) -> None:
    scripted.error = "no numbers"
    last = events(ask)[-1]
    assert last["type"] == "response.failed"
    assert "no numbers" in last["response"]["error"]["message"]
