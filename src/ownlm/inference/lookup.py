"""Guessing what follows from what the text says already: prompt look-up.

A text that quotes its prompt, code that repeats names, a table: what followed the last time the
same tokens stood there often follows again (Saxena 2023; LLMA, Yang et al. 2023,
arXiv:2304.04487). The model reads the guess in one step, and only what it would have written
itself is kept. No torch here.
"""

from collections.abc import Sequence

WIDTHS = (3, 2)
"""Tokens that must agree; more is tried first."""


class Lookup:
    """Where each few tokens of a text stood last."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}
        self._known = 0

    def guess(self, ids: Sequence[int], count: int) -> list[int]:
        """At most `count` ids that may follow `ids`, which only ever grow from call to call.

        >>> Lookup().guess([5, 6, 7, 8, 5, 6], 3)
        [7, 8, 5]
        """
        # The last tokens themselves are not entered yet: they are what is looked for.
        for end in range(max(self._known, 1), len(ids)):
            for width in WIDTHS:
                if width <= end:
                    self._ends[tuple(ids[end - width : end])] = end
        self._known = len(ids)
        for width in WIDTHS:
            found = self._ends.get(tuple(ids[-width:])) if width < len(ids) else None
            if found is not None and count > 0:
                return list(ids[found : found + count])
        return []
