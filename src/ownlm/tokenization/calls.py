"""How a chat template writes a call of a tool, found by letting it write one.

    Hermes, Qwen      <tool_call>\\n{"name": ..., "arguments": {...}}\\n</tool_call>
    LLaMA 3           {"name": ..., "parameters": {...}}

So a model that must call can be held to the form that it has learned.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class CallForm(NamedTuple):
    """What stands around the object of a call, and what its arguments are called.

    Pieces are texts and ids of control tokens; both are empty where the object is all.
    """

    before: tuple[str | int, ...]
    after: tuple[str | int, ...]
    arguments: str


def call_form(parts: Sequence[str | int], name: str, special: Mapping[str, int]) -> CallForm | None:
    """The form in which `parts`, an answer as the template writes it, call the tool `name`
    without arguments; None for one that is not known here.

    >>> call_form(['<tool_call>{"name": "x", "arguments": {}}</tool_call>'], "x", {})
    CallForm(before=('<tool_call>',), after=('</tool_call>',), arguments='arguments')
    """
    names = {id: word for word, id in special.items()}
    text = "".join(part if isinstance(part, str) else names[part] for part in parts)
    called = rf'\{{\s*"name":\s*"{re.escape(name)}",\s*"(arguments|parameters)":\s*\{{\s*\}}\s*\}}'
    found = re.search(called, text)
    if found is None:
        return None
    left, right = text[: found.start()], text[found.end() :]
    opens, closes = left.rstrip().endswith(OPEN), right.lstrip().startswith(CLOSE)
    if opens and closes:
        begin, end = left[len(left.rstrip()) :], right[: len(right) - len(right.lstrip())]
        opened, closed = _piece(OPEN, parts, special), _piece(CLOSE, parts, special)
        return CallForm(_joined(opened, begin), _joined(end, closed), found[1])
    for part in parts:
        right = right.replace(names[part], "") if isinstance(part, int) else right
    return None if left.strip() or right.strip() else CallForm((), (), found[1])


def _piece(tag: str, parts: Sequence[str | int], special: Mapping[str, int]) -> str | int:
    """A tag as it was written: as a control token, or as text."""
    id = special.get(tag)
    return id if id is not None and id in parts else tag


def _joined(*pieces: str | int) -> tuple[str | int, ...]:
    """Texts that follow each other as one."""
    found: list[str | int] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, str) and isinstance(last, str):
            found[-1] = last + piece
        elif piece != "":
            found.append(piece)
    return tuple(found)
