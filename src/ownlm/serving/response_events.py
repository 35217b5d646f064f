"""An answer of /v1/responses as it grows: items of output, and the events that tell of them."""

from collections.abc import Iterator
from typing import Any

from ownlm.serving.answers import now, number
from ownlm.serving.protocol.responses import ResponseBody
from ownlm.serving.tool_calls import Argued, Called, Piece, Said

Event = dict[str, Any]


class Answer:
    """Collects pieces into items; each event has the next sequence_number."""

    def __init__(self, body: ResponseBody, model: str) -> None:
        self.response = opened(body, model)
        self.output: list[dict[str, Any]] = self.response["output"]
        self._number = -1
        self._open = False
        """Whether the last item still grows."""
        self._parts: list[str] = []
        """What it has so far."""

    def begin(self) -> Iterator[Event]:
        """Before anything is written."""
        yield self._event("response.created", response=dict(self.response))
        yield self._event("response.in_progress", response=dict(self.response))

    def add(self, pieces: list[Piece], logprobs: list[Any]) -> Iterator[Event]:
        """More was written."""
        for piece in pieces:
            if isinstance(piece, Said):
                yield from self._say(piece.text, logprobs)
                logprobs = []
            elif isinstance(piece, Called):
                yield from self._call(piece)
            else:
                yield from self._argue(piece)

    def finish(self, why: str, usage: dict[str, Any]) -> Iterator[Event]:
        """No more comes: `why` is stop or length."""
        if not self.output:
            yield from self._say("", [])
        status = "incomplete" if why == "length" else "completed"
        yield from self._close(status)
        self.response |= {"status": status, "usage": usage}
        if why == "length":
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            self.response["completed_at"] = now()
        yield self._event(f"response.{status}", response=self.response)

    def fail(self, message: str) -> Iterator[Event]:
        """It could not be finished."""
        yield from self._close("incomplete")
        error = {"code": "server_error", "message": message}
        self.response |= {"status": "failed", "error": error}
        yield self._event("response.failed", response=self.response)

    def _say(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        if not self._open or self.output[-1]["type"] != "message":
            yield from self._close("completed")
            yield from self._item({
                "id": number("msg"), "type": "message", "role": "assistant",
                "status": "in_progress", "content": [],
            })  # fmt: skip
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            self.output[-1]["content"].append(part)
            yield self._event(
                "response.content_part.added", **self._place(), part=part | {"logprobs": []}
            )
        if text:
            self._parts.append(text)
            self.output[-1]["content"][0]["logprobs"] += logprobs
            told = {"delta": text, "logprobs": _without_bytes(logprobs)}
            yield self._event("response.output_text.delta", **self._place(), **told)

    def _call(self, piece: Called) -> Iterator[Event]:
        yield from self._close("completed")
        yield from self._item({
            "id": number("fc"), "type": "function_call", "status": "in_progress",
            "call_id": number("call"), "name": piece.name, "arguments": "",
        })  # fmt: skip

    def _argue(self, piece: Argued) -> Iterator[Event]:
        self._parts.append(piece.text)
        kind = "response.function_call_arguments.delta"
        yield self._event(kind, **self._place(part=False), delta=piece.text)

    def _item(self, item: dict[str, Any]) -> Iterator[Event]:
        self.output.append(item)
        self._open, self._parts = True, []
        shown = item | ({"content": []} if "content" in item else {})
        place = len(self.output) - 1
        yield self._event("response.output_item.added", output_index=place, item=shown)

    def _close(self, status: str) -> Iterator[Event]:
        if not self._open:
            return
        item, self._open = self.output[-1], False
        item["status"] = status
        if item["type"] == "message":
            part = item["content"][0]
            part["text"] = "".join(self._parts)
            told = {"text": part["text"], "logprobs": _without_bytes(part["logprobs"])}
            yield self._event("response.output_text.done", **self._place(), **told)
            yield self._event("response.content_part.done", **self._place(), part=part)
        else:
            item["arguments"] = "".join(self._parts)
            kind = "response.function_call_arguments.done"
            told = {"name": item["name"], "arguments": item["arguments"]}
            yield self._event(kind, **self._place(part=False), **told)
        place = len(self.output) - 1
        yield self._event("response.output_item.done", output_index=place, item=item)

    def _place(self, *, part: bool = True) -> dict[str, Any]:
        found = {"item_id": self.output[-1]["id"], "output_index": len(self.output) - 1}
        return found | ({"content_index": 0} if part else {})

    def _event(self, kind: str, **values: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **values}


def _without_bytes(logprobs: list[Any]) -> list[Any]:
    """As events have them."""
    return [
        {
            "token": one["token"],
            "logprob": one["logprob"],
            "top_logprobs": [
                {"token": other["token"], "logprob": other["logprob"]}
                for other in one["top_logprobs"]
            ],
        }
        for one in logprobs
    ]


def opened(body: ResponseBody, model: str) -> dict[str, Any]:
    """A response of which nothing is written, with all that was asked."""
    form = {"type": "text"}
    if body.text and body.text.format:
        form = body.text.format.model_dump(by_alias=True, exclude_none=True)
    choice = body.tool_choice or "auto"
    return {
        "id": number("resp"),
        "object": "response",
        "created_at": now(),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "metadata": body.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "presence_penalty": body.presence_penalty or 0.0,
        "frequency_penalty": body.frequency_penalty or 0.0,
        "previous_response_id": None,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": form, "verbosity": "medium"},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "tools": [
            {"description": None, "parameters": None, "strict": None} | tool.model_dump()
            for tool in body.tools or ()
        ],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": "disabled",
        "usage": None,
    } | ({} if body.user is None else {"user": body.user})
