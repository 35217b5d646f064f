"""A conversation that may branch: every version of a message is kept, one of each is shown.

you: hi ── hello!            an edit or another answer is a further child of what came
     │ └── good day!         before; the path that is shown goes through the children
     └ (edited) hey ── ...   chosen last
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ownlm.errors import DataError

ROLES = ("system", "user", "assistant")
MOST_BYTES, MOST_TURNS = 4 << 20, 10_000
"""Of a conversation that is opened."""


@dataclass(eq=False)
class Turn:
    """One message."""

    role: str
    text: str = ""
    before: "Turn | None" = None
    after: list["Turn"] = field(default_factory=list)
    chosen: int = 0
    """Which one of `after` is shown."""
    note: str = ""
    """How it was written: for people, not kept."""

    @property
    def versions(self) -> list["Turn"]:
        """What stands in its place: itself, edits, other answers."""
        return self.before.after if self.before else [self]

    @property
    def version(self) -> int:
        """Its number among them, from 0."""
        return next(n for n, turn in enumerate(self.versions) if turn is self)


class Talk:
    """A conversation from its beginning, which holds no text."""

    def __init__(self) -> None:
        self.root = Turn("root")

    @property
    def path(self) -> list[Turn]:
        """What is shown."""
        turns, at = [], self.root
        while at.chosen < len(at.after):
            at = at.after[at.chosen]
            turns.append(at)
        return turns

    @property
    def last(self) -> Turn:
        """The end of what is shown."""
        return self.path[-1] if self.path else self.root

    def add(self, before: Turn, role: str, text: str = "") -> Turn:
        """A further version of what follows `before`; it is shown."""
        turn = Turn(role, text, before)
        before.after.append(turn)
        before.chosen = len(before.after) - 1
        return turn

    def show(self, turn: Turn, version: int) -> None:
        """Show another version in the place of `turn`."""
        if turn.before is not None and 0 <= version < len(turn.versions):
            turn.before.chosen = version

    def leave(self, turn: Turn) -> None:
        """Show nothing behind `turn`: what is said next is another version of what followed."""
        turn.chosen = len(turn.after)

    def messages(self, until: Turn, system: str = "") -> list[dict[str, str]]:
        """What a model is to read before it answers to `until`."""
        turns: list[Turn] = []
        at: Turn | None = until
        while at is not None and at is not self.root:
            turns.insert(0, at)
            at = at.before
        said = [{"role": turn.role, "content": turn.text} for turn in turns]
        return [{"role": "system", "content": system}] * bool(system.strip()) + said

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: all branches, and the messages that are shown."""
        turns = [*self._turns()]
        numbers = {id(turn): number for number, turn in enumerate(turns)}
        rows = [
            {"role": t.role, "content": t.text, "before": numbers.get(id(t.before), -1)}
            for t in turns
        ]
        shown = [{"role": turn.role, "content": turn.text} for turn in self.path]
        return {"messages": shown, "turns": rows}

    def _turns(self) -> Iterator[Turn]:
        """All turns, each behind the one that it follows, and the chosen ones last."""
        waiting = [self.root]
        while waiting:
            turn = waiting.pop(0)
            order = sorted(range(len(turn.after)), key=lambda n: n == turn.chosen)
            for number in order:
                yield turn.after[number]
                waiting.append(turn.after[number])


def open_talk(data: bytes) -> Talk:
    """A conversation from JSON: ours, or {"messages": [{"role", "content"}, ...]}.

    Raises DataError that says what is wrong with it.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"a chat of {len(data)} bytes: {MOST_BYTES} is the limit")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise DataError("this is no JSON") from None
    if not isinstance(values, dict):
        raise DataError("expected an object with messages")
    rows = values.get("turns")
    if rows is None:
        rows = _in_a_row(values.get("messages"))
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_TURNS:
        raise DataError(f"expected 1 to {MOST_TURNS} messages")
    talk = Talk()
    turns: list[Turn] = []
    for row in rows:
        turns.append(talk.add(_before(row, turns, talk), row["role"], row["content"]))
    return talk


def _in_a_row(messages: Any) -> Any:
    """Messages as turns that follow each other."""
    if not isinstance(messages, list):
        return messages
    return [
        row | {"before": number - 1} if isinstance(row, dict) else row
        for number, row in enumerate(messages)
    ]


def _before(row: Any, turns: list[Turn], talk: Talk) -> Turn:
    """The turn that a row follows; DataError for a row that is none."""
    if not isinstance(row, dict) or row.get("role") not in ROLES:
        raise DataError(f"message {len(turns) + 1}: expected a role of {', '.join(ROLES)}")
    if not isinstance(row.get("content"), str):
        raise DataError(f"message {len(turns) + 1}: expected a text as content")
    place = row.get("before")
    if isinstance(place, bool) or not isinstance(place, int) or not -1 <= place < len(turns):
        raise DataError(f"message {len(turns) + 1}: follows no earlier message")
    return talk.root if place < 0 else turns[place]
