"""Rows to conversations: messages of OpenAI, ShareGPT, Alpaca, and a prompt with its answer."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from ownlm.data.faults import Bad
from ownlm.data.fields import sound
from ownlm.data.tasks.choose import Columns
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.notes import Notes
from ownlm.data.tasks.records import Conversation, Message, Role, ToolCall
from ownlm.data.tasks.rows import Row
from ownlm.data.tasks.turns import require_order
from ownlm.errors import DataError

ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "model": "assistant", "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
CALLS = ("function_call", "tool_call")
"""Roles of ShareGPT whose text is a call as JSON."""
SINGLE = (("instruction", "output"), ("instruction", "response"), ("prompt", "completion"),
          ("prompt", "response"), ("question", "answer"))  # fmt: skip
"""One turn and its answer; `input` goes below the first, `system` and `history` before."""
_IDS = ("conversation_id", "conv_id", "dialogue_id", "id")
_NEXT = "give messages, conversations, instruction and output, or prompt and response"


def chat(columns: Columns, config: TaskDataConfig, notes: Notes) -> Callable[[Row], Conversation]:
    """Turns by whichever of the known shapes the fields have."""
    names = columns.names
    listed = next(
        (name for name in ("messages", "conversations", "conversation") if name in names), ""
    )
    single = next((two for two in SINGLE if set(two) <= set(names)), None)
    if {"chosen", "rejected"} <= set(names) and not single and listed != "messages":
        raise DataError(
            "preference data: two answers, chosen and rejected, to a conversation that has none",
            where=columns.where,
            next_command="give conversations that end with the assistant's answer",
        )
    if listed:
        columns.used["turns"] = listed
    elif single:
        columns.used |= {"user": single[0], "assistant": single[1]}
        columns.used |= {"added to the user's turn": "input"} if "input" in names else {}
    else:
        found = ", ".join(map(repr, names[:8])) or "nothing"
        raise DataError(
            f"no conversation among the fields {found}", where=columns.where, next_command=_NEXT
        )
    columns.used |= {name: name for name in ("system", "tools", "history") if name in names}

    def build(row: Row) -> Conversation:
        turns = _turns(row.fields, listed) if listed else _single(row.fields, *(single or ("", "")))
        system = row.fields.get("system")
        first = [Message("system", sound(system, "system"))] if system else []
        messages = (*first, *turns)
        require_order(messages)
        group = next((str(row.fields[name]) for name in _IDS if row.fields.get(name)), row.group)
        tools = tuple(_tools(row.fields.get("tools")))
        return Conversation(origin=row.origin, group=group, messages=messages, tools=tools)

    return build


def _single(fields: dict[str, Any], asks: str, answers: str) -> Iterator[Message]:
    for two in fields.get("history") or ():
        if not isinstance(two, list) or len(two) != 2:
            raise Bad("bad-turn", "history is a list of turns and their answers")
        yield Message("user", sound(two[0], "history"))
        yield Message("assistant", sound(two[1], "history"))
    added = fields.get("input") or ""
    ask = sound(fields.get(asks), asks)
    yield Message("user", f"{ask}\n\n{sound(added, 'input')}" if added else ask)
    yield Message("assistant", sound(fields.get(answers), answers))


def _turns(fields: dict[str, Any], name: str) -> Iterator[Message]:
    turns = fields.get(name)
    if not isinstance(turns, list):
        raise Bad("missing-field", f"field {name!r} is no list of turns")
    for number, turn in enumerate(turns, start=1):
        try:
            yield _message(turn)
        except Bad as bad:
            raise Bad(bad.kind, f"turn {number}: {bad.reason}") from None


def _message(turn: Any) -> Message:
    """A turn with `role` and `content`, or `from` and `value`."""
    if not isinstance(turn, dict):
        raise Bad("bad-turn", "no object of a role and a content")
    said = turn.get("role", turn.get("from"))
    if not isinstance(said, str) or said.lower() not in ROLES:
        known = ", ".join(ROLES)
        raise Bad("unknown-role", f"role {said!r} is not known; known are {known}")
    role, content = ROLES[said.lower()], _content(turn.get("content", turn.get("value")))
    if said.lower() in CALLS:
        return Message("assistant", "", tuple(map(_call, _listed(_parsed(content, "the call")))))
    calls = turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else [])
    return Message(
        role, content, tuple(map(_call, _listed(calls))),
        str(turn.get("tool_call_id") or ""), str(turn.get("name") or ""),
    )  # fmt: skip


def _content(value: Any) -> str:
    """Text, or the texts of a list of parts; nothing where there are only calls."""
    if isinstance(value, list):
        for part in value:
            if not isinstance(part, dict) or part.get("type") != "text":
                raise Bad("not-a-string", "a part of the content is not text")
        return "".join(sound(part.get("text"), "text") for part in value)
    return "" if value is None else sound(value, "content")


def _call(given: Any) -> ToolCall:
    """A call as OpenAI gives it, or bare: a name and arguments, as values or as JSON."""
    call = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise Bad("bad-call", "a call of a tool has a name and arguments")
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"the arguments of {call['name']!r}") if arguments else {}
    if not isinstance(arguments, dict):
        raise Bad("bad-call", f"the arguments of {call['name']!r} are no object")
    return ToolCall(call["name"], arguments, str(given.get("id") or ""))


def _tools(given: Any) -> Iterator[dict[str, Any]]:
    """Tools as OpenAI gives them; bare functions, and JSON of either, are put into that form."""
    for tool in _listed(_parsed(given, "tools") if isinstance(given, str) and given else given):
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Bad("bad-tool", "a tool has a name, a description and parameters")
        yield {"type": "function", "function": function}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Bad("bad-call", f"{what} is not JSON: {text[:60]!r}") from None
