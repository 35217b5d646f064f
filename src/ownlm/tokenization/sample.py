"""The text a tokenizer is trained on: some of all of it, in bounded memory."""

import random
from collections.abc import Callable, Iterable, Iterator

Progress = Callable[[str, int, int], None]
"""Called with (stage, bytes done, bytes in all); 0 in all while that is unknown."""

PIECE = 1 << 14  # characters; what sampling takes or leaves, and what training sees at once


def quiet(stage: str, done: int, total: int) -> None:
    """The Progress that tells nobody."""


def sample(texts: Iterable[str], limit: int, tell: Progress = quiet) -> list[str]:
    """At most `limit` bytes in pieces of PIECE characters, each as likely as any other.

    Every piece draws a number; whenever the sample outgrows `limit`, the bound that numbers must
    stay under is lowered and what is above goes. The draw is seeded: equal texts in equal order
    give an equal sample.
    """
    draw, bound, seen, size = random.Random(0), 1.0, 0, 0
    kept: list[tuple[float, str, int]] = []
    for piece in _cut(texts):
        number, length = draw.random(), len(piece.encode("utf-8", "replace"))
        seen += length
        if number < bound:
            kept.append((number, piece, length))
            size += length
        while size > limit and len(kept) > 1:
            bound *= 0.75
            kept = [entry for entry in kept if entry[0] < bound] or kept[:1]
            size = sum(entry[2] for entry in kept)
        tell("reading text", seen, 0)
    return [piece for _, piece, _ in kept]


def _cut(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), PIECE):
            yield text[start : start + PIECE]
