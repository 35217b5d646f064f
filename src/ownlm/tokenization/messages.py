"""Messages of a conversation as OpenAI and transformers have them, checked and made plain.

    {"role": "system" | "user" | "assistant" | "tool" ..., "content": "..."}
    {"role": "assistant", "tool_calls": [{"type": "function",
                          "function": {"name": "add", "arguments": {"a": 1}}}]}

`"weight": 0` on an assistant's message says that it is not to be learned (OpenAI's fine-tuning).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ownlm.errors import DataError

Message = Mapping[str, Any]
Messages = Sequence[Message]
Tools = Sequence[Mapping[str, Any]]

ASSISTANT = "assistant"
ROLES = (
    *("system", "developer", "user", ASSISTANT, "tool", "function"),
    *("ipython", "observation", "environment", "tool_response"),
)
"""Who may speak. A closed list: templates build control tokens from it (<|user|>)."""
_REASONING = ("reasoning_content", "thinking", "reasoning")


def checked(messages: Messages) -> list[dict[str, Any]]:
    """The messages as templates expect them: new and plain, without keys that are null.

    Content in parts becomes one text, reasoning goes by the names that templates read, a tool
    call's arguments are an object also where they were given as JSON. DataError names the message.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise DataError(f"expected a list of messages, found {type(messages).__name__}")
    if not messages:
        raise DataError("a conversation without messages")
    return [_message(message, f"message {number}") for number, message in enumerate(messages, 1)]


def checked_tools(tools: Tools) -> list[dict[str, Any]] | None:
    """The tools as plain JSON; None for none."""
    if isinstance(tools, str | bytes | Mapping):
        raise DataError(f"expected a list of tools, found {type(tools).__name__}")
    found = [_plain(tool, f"tool {number}") for number, tool in enumerate(tools, 1)]
    return found or None


def with_text_arguments(messages: Messages) -> list[dict[str, Any]]:
    """The same messages with the arguments of tool calls as JSON: some templates only join text."""
    found: list[dict[str, Any]] = json.loads(json.dumps(messages))
    for message in found:
        for call in message.get("tool_calls") or ():
            inner = call.get("function", call)
            if not isinstance(inner.get("arguments", ""), str):
                inner["arguments"] = json.dumps(inner["arguments"], ensure_ascii=False)
    return found


def _message(message: Message, where: str) -> dict[str, Any]:
    plain = _plain(message, where)
    values = {key: value for key, value in plain.items() if value is not None}
    role = values.get("role")
    if role not in ROLES:
        raise DataError(
            f"role {role!r:.60} is unknown", where=where, next_command=f"one of {', '.join(ROLES)}"
        )
    if "content" in values:
        values["content"] = _text(values["content"], where)
    elif role != ASSISTANT or not values.get("tool_calls"):
        raise DataError("no content", where=where)
    if "tool_calls" in values:
        values["tool_calls"] = _calls(values["tool_calls"], where)
    reasoning = next((values[key] for key in _REASONING if key in values), None)
    if reasoning is not None:
        values = {"thinking": reasoning} | values | {"reasoning_content": reasoning}
    return values


def _plain(value: object, where: str) -> dict[str, Any]:
    """A copy made of JSON's types alone: a template is given nothing that has methods."""
    if not isinstance(value, Mapping):
        raise DataError(f"expected an object, found {type(value).__name__}", where=where)
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(value)))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"not plain JSON: {error}", where=where) from None
    return copy


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str):
            raise DataError("content that is no text cannot be read", where=where)
        texts.append(text)
    return "".join(texts)


def _calls(calls: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise DataError("tool_calls: expected a list of objects", where=where)
    for call in calls:
        inner = call.get("function", call)
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise DataError("tool_calls: a call without the name of its function", where=where)
        if isinstance(inner.get("arguments"), str):
            inner["arguments"] = _parsed(inner["arguments"])
    return calls


def _parsed(arguments: str) -> Any:
    """An object that was given as JSON; any other text stays what it is."""
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return found if isinstance(found, dict) else arguments
