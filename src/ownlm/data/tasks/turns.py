"""The order that the turns of a conversation must have."""

from collections.abc import Sequence

from ownlm.data.faults import Bad
from ownlm.data.tasks.records import Message

NEXT = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "calls": ("tool",),
    "tool": ("tool", "assistant"),
}
"""What may follow what; "calls" is an assistant's turn that calls tools."""


def require_order(messages: Sequence[Message]) -> None:
    """Bad for an empty turn, a role out of order, results without calls, and no last answer."""
    before, known = "", set()
    for number, message in enumerate(messages, start=1):
        after = f"after {_told(before)}" if before else "at the beginning"
        if message.role not in NEXT[before]:
            wanted = " or ".join(NEXT[before])
            reason = f"turn {number}: {message.role} {after}, expected {wanted}"
            raise Bad("roles", reason)
        if not message.content.strip() and not message.tool_calls and message.role != "tool":
            raise Bad("empty-turn", f"turn {number}: the {message.role}'s turn is empty")
        if message.tool_calls:
            known = {call.id for call in message.tool_calls}
        if message.tool_call_id and message.tool_call_id not in known:
            reason = f"turn {number}: no call has the id {message.tool_call_id!r}"
            raise Bad("bad-call", reason)
        before = "calls" if message.tool_calls else message.role
    if not messages:
        raise Bad("empty-turn", "no turns")
    if messages[-1].role != "assistant":
        raise Bad("roles", f"ends with {_told(before)}: there is no answer to learn")


def _told(before: str) -> str:
    return {"calls": "a call of a tool", "tool": "the result of a tool"}.get(before, before)
