"""What holds every answer of these tests to OpenAI's description does find faults (A2)."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from . import published
from .conftest import Client

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: HELLO | {"logprobs": True, "top_logprobs": 1},
    TEXT: {"model": "tiny", "prompt": "a", "logprobs": 1, "echo": True},
    "/v1/responses": {"model": "tiny", "input": "Hi"},
}
Change = Callable[[dict[str, Any]], Any]


class Answer:
    """An answer that was altered."""

    def __init__(self, content: Any, stream: bool = False, status: int = 200) -> None:
        self.content, self.status_code = content, status
        self.headers = {"content-type": "text/event-stream" if stream else "application/json"}
        self.text = f"data: {json.dumps(content)}\n\ndata: [DONE]\n\n"

    def json(self) -> Any:
        return self.content


def message(content: dict[str, Any]) -> Any:
    return content["choices"][0]["message"]


CHANGES: list[tuple[str, Change]] = [
    (CHAT, lambda told: told.pop("choices")),
    (CHAT, lambda told: told.update(extra=1)),
    (CHAT, lambda told: told.update(object="chat")),
    (CHAT, lambda told: told.update(created="now")),
    (CHAT, lambda told: message(told).update(role="user")),
    (CHAT, lambda told: message(told).pop("refusal")),
    (CHAT, lambda told: told["choices"][0].update(finish_reason="end")),
    (CHAT, lambda told: told["choices"][0]["logprobs"]["content"][0].pop("bytes")),
    (TEXT, lambda told: told["choices"][0].pop("logprobs")),
    (TEXT, lambda told: told["choices"][0]["logprobs"].update(tokens=[1])),
    (TEXT, lambda told: told["usage"].pop("total_tokens")),
    ("/v1/responses", lambda told: told["output"][0].update(type="text")),
    ("/v1/responses", lambda told: told.pop("tool_choice")),
    ("/v1/responses", lambda told: told.update(status="done")),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_an_answer_that_differs_is_found(ask: Client, number: int) -> None:
    path, change = CHANGES[number]
    content = ask.post(path, BODIES[path]).json()
    published.check(path, Answer(content))
    change(content)
    with pytest.raises((AssertionError, ValidationError)):
        published.check(path, Answer(content))


def test_an_event_that_differs_is_found(ask: Client) -> None:
    for path, body in BODIES.items():
        content = next(published.frames(ask.post(path, body | {"stream": True}).text))
        published.check(path, Answer(content, stream=True))
        with pytest.raises((AssertionError, ValidationError)):
            published.check(path, Answer(content | {"extra": 1}, stream=True))


def test_an_error_that_differs_is_found() -> None:
    error = {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
    published.check(CHAT, Answer({"error": error}, status=400))
    for bad in ({"error": error | {"code": 3}}, {"error": {"message": "no"}}, {"detail": "no"}):
        with pytest.raises((AssertionError, ValidationError)):
            published.check("/anything", Answer(bad, status=400))


def test_the_description_itself_finds_faults(ask: Client) -> None:
    if published.described() is None:
        pytest.skip(f"no copy of OpenAI's description: {published.VARIABLE} names one")
    for path, body in BODIES.items():
        content = ask.post(path, body).json()
        named = published.KINDS[path].named
        published.validator(named)(content)
        for key in ("id", "object"):
            with pytest.raises(jsonschema_rs.ValidationError):
                published.validator(named)({**content, key: 3})
