"""Ending a text at a stop string, also while it streams."""

from collections.abc import Iterable, Iterator, Sequence


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to the first stop string, which may span pieces and is not given out.

    First is the one that is complete first, so that the pieces' borders do not matter. Text
    that may be the beginning of a stop string waits until the next piece decides.

    >>> "".join(until_stop(["one t", "wo thr", "ee"], ["two t"]))
    'one '
    """
    stops = [stop for stop in stops if stop]
    held = ""
    for piece in pieces:
        held += piece
        found = [(place + len(stop), place) for stop in stops if (place := held.find(stop)) >= 0]
        if found:
            if head := held[: min(found)[1]]:
                yield head
            return
        safe = len(held) - _undecided(held, stops)
        if safe:
            yield held[:safe]
            held = held[safe:]
    if held:
        yield held


def _undecided(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins some stop string."""
    lengths = range(min(len(text), max((len(s) - 1 for s in stops), default=0)), 0, -1)
    return next((n for n in lengths if any(s.startswith(text[-n:]) for s in stops)), 0)
