"""Calls of tools found in what a model writes, while it writes.

    <tool_call>                                     Hermes, Qwen
    {"name": "add", "arguments": {"a": 1}}
    </tool_call>
    {"name": "add", "parameters": {"a": 1}}         LLaMA 3: the whole answer

The name is told as soon as it is complete, arguments as they come. What turns out to be no call
of a tool that was offered stays text, so a call is announced only once its name is known.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

OPEN, CLOSE = "<tool_call>", "</tool_call>"
HEAD = re.compile(
    r'\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"([A-Za-z0-9_.-]{1,64})"\s*,'
    r'\s*"(?:arguments|parameters)"\s*:\s*(?=\{)'
)


class Said(NamedTuple):
    """Text of the answer."""

    text: str


class Called(NamedTuple):
    """A call begins: its place among the calls, and the function's name."""

    call: int
    name: str


class Argued(NamedTuple):
    """More of the arguments of a call, as JSON."""

    call: int
    text: str


Piece = Said | Called | Argued
Phase = Literal["text", "head", "arguments", "tail"]


class CallParser:
    """Text in pieces to text and calls.

    >>> parser = CallParser(["add"])
    >>> [*parser.push('<tool_call>{"name": "add", "arguments": {}}</tool_call>'), *parser.end()]
    [Called(call=0, name='add'), Argued(call=0, text='{}')]
    """

    def __init__(self, names: Iterable[str]) -> None:
        """`names` of the tools that were offered."""
        self.names, self.calls = frozenset(names), 0
        self._held, self._begun = "", False
        self._tagged = False
        self._object = _Object()
        self._phase: Phase = "text"

    def push(self, text: str) -> Iterator[Piece]:
        """What is now known."""
        self._held += text
        before: tuple[Phase, str] | None = None
        while before != (before := (self._phase, self._held)):
            yield from getattr(self, f"_{self._phase}")()

    def end(self) -> Iterator[Piece]:
        """The rest, when no more comes."""
        held, self._held = self._held, ""
        if self._phase == "text" and held:
            yield Said(held)
        elif self._phase == "head":
            yield from self._whole(held) or [Said((OPEN if self._tagged else "") + held)]

    def _text(self) -> Iterator[Piece]:
        """Outside of calls: text up to what may be the beginning of one."""
        if self.calls:  # white space between calls belongs to nothing
            self._held = self._held.lstrip()
        if not self._begun and self._held.lstrip()[:1] == "{":
            self._phase, self._tagged = "head", False
            return
        place = self._held.find(OPEN)
        sizes = range(min(len(self._held), len(OPEN) - 1), 0, -1)
        kept = next((size for size in sizes if OPEN.startswith(self._held[-size:])), 0)
        end = place if place >= 0 else len(self._held) - kept
        ready, self._held = self._held[:end], self._held[end:]
        if ready.strip() or (self._begun and place < 0 and ready):
            self._begun = True
            yield Said(ready)
        elif place < 0:
            self._held = ready + self._held
        if place >= 0:
            self._held = self._held[len(OPEN) :]
            self._phase, self._tagged = "head", True

    def _head(self) -> Iterator[Piece]:
        """Within a call whose name is not known yet."""
        head = HEAD.match(self._held)
        if head and head[1] in self.names:
            self._held = self._held[head.end() :]
            self._object, self._phase = _Object(), "arguments"
            yield Called(self.calls, head[1])
            return
        place = self._held.find(CLOSE) if self._tagged else -1
        if place >= 0:
            inner, self._held = self._held[:place], self._held[place + len(CLOSE) :]
            self._phase, self._begun = "text", True
            yield from self._whole(inner) or [Said(OPEN + inner + CLOSE)]

    def _whole(self, text: str) -> list[Piece]:
        """A call that is there at once, whatever the order of its keys."""
        found = call_in(text, self.names)
        if found is None:
            return []
        self.calls += 1
        return [Called(self.calls - 1, found[0]), Argued(self.calls - 1, found[1])]

    def _arguments(self) -> Iterator[Piece]:
        """Arguments, up to the brace that ends them."""
        size = self._object.push(self._held)
        if size:
            yield Argued(self.calls, self._held[:size])
        self._held = self._held[size:]
        if self._object.ended:
            self.calls, self._begun, self._phase = self.calls + 1, True, "tail"

    def _tail(self) -> Iterator[Piece]:
        """Behind the arguments: what ends the call says nothing."""
        place = self._held.find(CLOSE if self._tagged else "}")
        if place >= 0:
            self._held = self._held[place + (len(CLOSE) if self._tagged else 1) :]
            self._phase = "text"
        yield from ()


class _Object:
    """Finds where a JSON object ends."""

    def __init__(self) -> None:
        self.depth, self.quoted, self.escaped, self.ended = 0, False, False, False

    def push(self, text: str) -> int:
        """How many characters of `text` belong to it."""
        for place, character in enumerate(text):
            if self.escaped:
                self.escaped = False
            elif self.quoted:
                self.escaped, self.quoted = character == "\\", character != '"'
            elif character == '"':
                self.quoted = True
            elif character in "{[":
                self.depth += 1
            elif character in "}]":
                self.depth -= 1
                if not self.depth:
                    self.ended = True
                    return place + 1
        return len(text)


def call_in(text: str, names: Iterable[str]) -> tuple[str, str] | None:
    """The name and the arguments, as JSON, of a call; None for what is none of these tools'."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    name = found.get("name") if isinstance(found, dict) else None
    if not isinstance(name, str) or name not in names:
        return None
    arguments = found.get("arguments", found.get("parameters", {}))
    told = isinstance(arguments, str)
    return name, arguments if told else json.dumps(arguments, ensure_ascii=False)
