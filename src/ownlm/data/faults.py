"""What can be wrong with text on disk: each kind of fault has a name, a place and a reason."""

from typing import NamedTuple


class Fault(NamedTuple):
    """One record or file that was left out."""

    kind: str  # one of a small vocabulary, the key under which reports count: "bad-json"
    path: str  # the file, as shown to people
    place: str  # line, row or byte offset in it; empty for the whole file
    reason: str

    @property
    def where(self) -> str:
        """path:line, path:offset or path."""
        return f"{self.path}:{self.place}" if self.place else self.path


class Bad(Exception):
    """Raised where text cannot be used; whoever knows the path turns it into a Fault."""

    def __init__(self, kind: str, reason: str, place: int | str = "") -> None:
        super().__init__(reason)
        self.kind, self.reason, self.place = kind, reason, str(place)

    def at(self, path: str, place: int | str = "") -> Fault:
        """The same as a value; `place` is used when the raiser knew none."""
        return Fault(self.kind, path, self.place or str(place), self.reason)
