"""Bodies of every bad kind: 400 with the parameter and its limit, never a fault, and the server
goes on (R1, R2, R3, R9, R10, R11)."""

import json
import time
from typing import Any

import pytest

from .conftest import Client, Scripted
from .openai_shapes import ErrorBody, valid

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
PROMPT = {"model": "tiny", "prompt": "Hi"}
BODIES = [CHAT, TEXT, "/v1/responses", "/v1/embeddings", "/pooling", "/classify", "/score",
          "/v1/score", "/v1/tag", "/v1/answer", "/v1/translate", "/v1/summarize", "/tokenize",
          "/detokenize"]  # fmt: skip
JSON = {"content-type": "application/json"}


def refused(ask: Client, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    """The error of a refusal; the server answers the next one as if nothing had been."""
    begun = time.perf_counter()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = ask.post(path, content=content, headers=JSON)
    assert time.perf_counter() - begun < 5
    assert response.status_code == status, response.text
    error = valid(ErrorBody, response.json()).error
    assert "Traceback" not in error.message and "/site-packages/" not in error.message
    assert " at 0x" not in error.message and '.py"' not in error.message
    return error.model_dump()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nope", b'"text"', b"42", b"[]", b"null", b"true", b"{}\x00", b"\xff\xfe{}",
     b'{"model": NaN}', b'{"model": Infinity}', b"[" * 100_000, b'{"model": ' + b"9" * 5000 + b"}",
     b'{"model": "tiny", "model": "tiny"}', b"{}", b'{"model": 3}', b'{"model": ["tiny"]}'],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_no_body_of_a_wrong_shape_is_a_fault(ask: Client, path: str, body: bytes) -> None:
    refused(ask, path, body)


WRONG = [
    ("temperature", -0.1, "greater than or equal to 0"),
    ("temperature", 2.1, "less than or equal to 2"),
    ("temperature", "0.7", "number"),
    ("temperature", True, "number"),
    ("temperature", [], "number"),
    ("top_p", 1.1, "less than or equal to 1"),
    ("top_p", -1, "greater than or equal to 0"),
    ("n", 0, "greater than or equal to 1"),
    ("n", 129, "less than or equal to 128"),
    ("n", 10**6, "less than or equal to 128"),
    ("n", 1.5, "integer"),
    ("n", True, "integer"),
    ("n", "1", "integer"),
    ("seed", 2**63, "less than"),
    ("seed", 10**400, "less than"),
    ("presence_penalty", 2.5, "less than or equal to 2"),
    ("frequency_penalty", -2.5, "greater than or equal to -2"),
    ("repetition_penalty", 0, "greater than 0"),
    ("stop", ["a", "b", "c", "d", "e"], "at most 4"),
    ("stop", "", "at least 1"),
    ("stop", "x" * 300, "256"),
    ("stop", [""], "at least 1"),
    ("stop", 3, "string"),
    ("logit_bias", {"5": 101}, "less than or equal to 100"),
    ("logit_bias", {"-1": 1}, "no token"),
    ("logit_bias", {"999999": 1}, "no token"),
    ("logit_bias", {"x": 1}, "no token"),
    ("logit_bias", {str(n): 1 for n in range(2000)}, "1024"),
    ("logit_bias", [1], "dictionary"),
    ("stream", "yes", "boolean"),
    ("stream_options", {"include_usage": 1}, "boolean"),
    ("min_p", 2, "less than or equal to 1"),
    ("top_k", -2, "greater than or equal to -1"),
    ("max_tokens", -1, "greater than or equal to 0"),
    ("max_tokens", 2**63, "less than"),
    ("max_tokens", 1025, "1024"),
    ("structured_outputs", {}, "one of"),
    ("structured_outputs", {"regex": "a", "choice": ["b"]}, "one of"),
    ("structured_outputs", {"choice": []}, "at least 1"),
    ("structured_outputs", {"regex": "a" * 70_000}, "65536"),
    ("structured_outputs", {"json": "{"}, "JSON"),
    ("temprature", 0.5, "unknown parameter"),
    ("model", "x" * 600, "512"),
]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(("name", "value", "said"), WRONG, ids=lambda one: repr(one)[:30])
def test_a_value_out_of_range_is_named_with_its_limit(
    ask: Client, path: str, name: str, value: Any, said: str
) -> None:
    error = refused(ask, path, (HELLO if path == CHAT else PROMPT) | {name: value})
    assert str(error["param"]).partition(".")[0] == name
    assert said in error["message"], error["message"]


def test_numbers_that_json_has_and_floats_have_not(ask: Client) -> None:
    body = json.dumps(PROMPT)[:-1].encode() + b', "temperature": 1e999}'
    assert refused(ask, TEXT, body)["param"] == "temperature"


CHATS: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages"),
    ({"messages": [{"role": "king", "content": "Hi"}]}, "messages.0.role"),
    ({"messages": [{"content": "Hi"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://localhost/x.png"}}]}]},
     "messages.0.content.0"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": 1}, "logprobs"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a", "parameters": {"$defs": []}}}],
      "tool_choice": "required"}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": "a"}}],
      "tool_choice": {"type": "function", "function": {"name": "b"}}}, "tool_choice"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"chat_template": "{{ 1 }}"}, "chat_template"),
    ({"store": True}, "store"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param"), CHATS, ids=lambda one: repr(one)[:40])
def test_conversations_that_are_none(ask: Client, change: dict[str, Any], param: str) -> None:
    assert refused(ask, CHAT, HELLO | change)["param"] == param


@pytest.mark.parametrize(
    "prompt", ["", [], [[]], [""], [-1], [[1], [-1]], [100_000], [[2**31]], [1, "a"], {}, 3, None,
               [None], [True], [1.5], "\ud800"],
    ids=repr,
)  # fmt: skip
def test_prompts_that_are_none(ask: Client, prompt: Any) -> None:
    assert str(refused(ask, TEXT, PROMPT | {"prompt": prompt})["param"]).startswith("prompt")


@pytest.mark.parametrize(
    "change", [{"best_of": 21}, {"best_of": 1, "n": 2}, {"best_of": 2, "stream": True},
               {"logprobs": 6}, {"logprobs": -1}, {"suffix": "x"}, {"max_tokens": 0}],
    ids=repr,
)  # fmt: skip
def test_completions_that_cannot_be(ask: Client, change: dict[str, Any]) -> None:
    assert refused(ask, TEXT, PROMPT | change)["param"] in change


def test_more_than_the_model_reads_at_once(ask: Client, scripted: Scripted) -> None:
    for path, body in ((TEXT, PROMPT | {"prompt": "a" * 1100}),
                       (TEXT, PROMPT | {"prompt": [7] * 1024}),
                       (CHAT, {"messages": [{"role": "user", "content": "a" * 1100}]}),
                       (TEXT, PROMPT | {"prompt": "ab" * 1_000_000})):  # fmt: skip
        error = refused(ask, path, body)
        assert error["code"] == "context_length_exceeded"
        assert "1024" in error["message"]
    error = refused(ask, TEXT, PROMPT | {"max_tokens": 1023})
    assert error["code"] == "context_length_exceeded"
    assert "1022" in error["message"]  # what would fit
    assert scripted.asked == []


def test_schemas_within_limits(ask: Client) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"properties": {"a": deep}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": deep}}
    assert "32" in refused(ask, CHAT, HELLO | {"response_format": form})["message"]
    large = {"enum": ["x" * 100] * 1000}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": large}}
    assert "65536" in refused(ask, CHAT, HELLO | {"response_format": form})["message"]


@pytest.mark.parametrize(
    "name", ["../tiny", "tiny\x00", "http://x/y", "/etc/passwd", "TINY", "tiny ", "..", "\r\nx: y"]
)
def test_models_are_looked_up_in_a_table(ask: Client, name: str) -> None:
    error = refused(ask, CHAT, HELLO | {"model": name}, 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "\r" not in error["message"] and "\x00" not in error["message"]


def test_models_that_do_not_do_this(ask: Client) -> None:
    given: dict[str, Any] = {"model": "tiny", "input": "a"}
    for path in ("/v1/embeddings", "/pooling", "/classify", "/v1/tag", "/v1/translate"):
        assert refused(ask, path, given)["param"] == "model"
    refused(ask, "/score", {"model": "tiny", "text_1": "a", "text_2": "b"})
    refused(ask, "/v1/answer", {"model": "tiny", "question": "a", "context": "b"})


def test_methods_and_addresses_that_are_none(ask: Client) -> None:
    assert ask.get("/v1/nothing").status_code == 404
    response = ask.get(CHAT)
    assert response.status_code == 405
    assert valid(ErrorBody, response.json()).error.message
    assert ask.get("/v1/models/none").json()["error"]["code"] == "model_not_found"
    assert ask.get("/v1/models/..%2f..%2fetc").status_code == 404


def test_a_fault_of_ours_says_nothing_of_its_inside(ask: Client, monkeypatch: Any) -> None:
    from ownlm.serving.routes import chat

    def fault(*_: Any) -> None:
        raise RuntimeError("secret at /home/me/x.py")

    monkeypatch.setattr(chat, "chat_plan", fault)
    response = ask.post(CHAT, HELLO)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in response.text
