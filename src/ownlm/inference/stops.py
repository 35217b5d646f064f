"""Ending a text at a stop string, also while it streams."""

from collections.abc import Iterable, Iterator, Sequence


class Stops:
    """Looks for the first stop string in text that comes piece by piece.

    First is the one that is complete first, so that the pieces' borders do not matter. Text
    that may be the beginning of a stop string waits until the next piece decides.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.found: str | None = None
        """The stop string that ended the text."""
        self._held = ""

    def push(self, piece: str) -> str:
        """What may be given out, now that `piece` has come; after a stop nothing is."""
        if not self.stops or self.found is not None:
            return "" if self.found is not None else piece
        self._held += piece
        ends = [
            (place + len(stop), place, stop)
            for stop in self.stops
            if (place := self._held.find(stop)) >= 0
        ]
        if ends:
            _, safe, self.found = min(ends)
        else:
            safe = len(self._held) - _undecided(self._held, self.stops)
        given, self._held = self._held[:safe], self._held[safe:]
        return given

    def end(self) -> str:
        """What waited for a piece that does not come."""
        return "" if self.found is not None else self._held


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to the first stop string, which may span pieces and is not given out.

    >>> "".join(until_stop(["one t", "wo thr", "ee"], ["two t"]))
    'one '
    """
    machine = Stops(stops)
    for piece in pieces:
        if given := machine.push(piece):
            yield given
        if machine.found is not None:
            return
    if given := machine.end():
        yield given


def _undecided(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins some stop string."""
    lengths = range(min(len(text), max((len(s) - 1 for s in stops), default=0)), 0, -1)
    return next((n for n in lengths if any(s.startswith(text[-n:]) for s in stops)), 0)
