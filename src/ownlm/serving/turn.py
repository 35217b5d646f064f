"""One answer of a model as it comes: its text and its calls of tools, as deltas and as a whole."""

import secrets
from collections.abc import Sequence
from typing import Any

from ownlm.serving.tool_calls import Called, CallParser, Piece, Said


class Turn:
    """Reads pieces of text; what was said is in `text`, what was called in `calls`."""

    def __init__(self, tools: Sequence[str]) -> None:
        """`tools`: names of the functions that were offered; without them all is text."""
        self._parser = CallParser(tools) if tools else None
        self.calls: list[dict[str, Any]] = []
        self._said: list[str] = []
        self._argued: list[list[str]] = []

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self._said)

    def pieces(self, text: str, last: bool = False) -> list[Piece]:
        """What is new, noted."""
        if self._parser is None:
            found: list[Piece] = [Said(text)] if text else []
        else:
            found = [*self._parser.push(text), *(self._parser.end() if last else ())]
        for piece in found:
            self._note(piece)
        return found

    def push(self, text: str) -> list[dict[str, Any]]:
        """The deltas of a piece of text, as in chunks of a chat completion."""
        return [self._delta(piece) for piece in self.pieces(text)]

    def end(self) -> list[dict[str, Any]]:
        """The deltas of what was held back, when no more comes; then `calls` are complete."""
        found = [self._delta(piece) for piece in self.pieces("", last=True)]
        for call, parts in zip(self.calls, self._argued):
            call["function"]["arguments"] = "".join(parts)
        return found

    def finish(self, finish: str) -> str:
        """Why it ended, with calls."""
        return "tool_calls" if self.calls and finish == "stop" else finish

    def _note(self, piece: Piece) -> None:
        if isinstance(piece, Said):
            self._said.append(piece.text)
        elif isinstance(piece, Called):
            function = {"name": piece.name, "arguments": ""}
            number = f"call_{secrets.token_hex(12)}"
            self.calls.append({"id": number, "type": "function", "function": function})
            self._argued.append([])
        else:
            self._argued[piece.call].append(piece.text)

    def _delta(self, piece: Piece) -> dict[str, Any]:
        if isinstance(piece, Said):
            return {"content": piece.text}
        if isinstance(piece, Called):
            call = self.calls[piece.call] | {"function": {"name": piece.name, "arguments": ""}}
            return {"tool_calls": [{"index": piece.call} | call]}
        return {"tool_calls": [{"index": piece.call, "function": {"arguments": piece.text}}]}
