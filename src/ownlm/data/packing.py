"""Whole conversations packed into rows: none is torn, none sees another, little is padding.

Which share a row is settled once, longest first, each where the least room is left (best fit
decreasing); every epoch has an order of its own, a pure function of (seed, step).
"""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ownlm.data.loader import keys, permuted
from ownlm.errors import DataError

Marked = tuple[
    Sequence[int] | npt.NDArray[np.int64],
    Sequence[bool] | npt.NDArray[np.bool_],
]
"""The ids of a conversation, and which of them are learned (tokenization.chat.Applied)."""


class PackedExamples(NamedTuple):
    """Rows of T + 1 tokens; what no conversation fills is padding."""

    tokens: npt.NDArray[np.int64]
    """(B, T + 1)."""
    documents: npt.NDArray[np.int32]
    """(B, T + 1): the conversation of each token, from 1; 0 is padding."""
    learned: npt.NDArray[np.bool_]
    """(B, T + 1): whether the model is to say the token."""
    sample_ids: npt.NDArray[np.int64]
    """(B,): the number of each row."""
    partners: None = None
    heads: None = None
    parts: None = None


class Packing:
    """Conversations as batches by number, as a trainer asks for them."""

    def __init__(
        self,
        conversations: Sequence[Marked],
        length: int,
        batch: int,
        seed: int,
        pad: int = 0,
    ) -> None:
        """Rows for `length` tokens T read at once. A longer conversation loses its end, which
        `cut` counts; one of which nothing is learned is left out, which `dropped` counts.
        DataError where nothing is left. `pad` fills what is never read."""
        self._size, self._batch, self._seed, self._pad = length + 1, batch, seed, pad
        kept = [(ids[: self._size], marks[: self._size]) for ids, marks in conversations]
        self._kept = [one for one in kept if any(one[1][1:])]
        self.cut = sum(len(ids) > self._size for ids, _ in conversations)
        self.dropped = len(kept) - len(self._kept)
        if not self._kept:
            raise DataError(
                f"of {len(conversations):,} conversations none has an answer within "
                f"{length:,} tokens",
                next_command="bring conversations with answers, or a longer context",
            )
        self.rows = packed([len(ids) for ids, _ in self._kept], self._size)
        """The conversations of each row, by their numbers among those kept."""

    @property
    def filled(self) -> float:
        """Share of all places that hold a token."""
        return sum(len(ids) for ids, _ in self._kept) / (len(self.rows) * self._size)

    def batch(self, step: int, micro: int = 0, of: int = 1) -> PackedExamples:
        """Part `micro` of the `of` parts of batch number `step` (from 0)."""
        low, high = (self._batch * part // of for part in (micro, micro + 1))
        first, rows = step * self._batch, np.uint64(len(self.rows))
        epoch, place = np.divmod(np.arange(first + low, first + high, dtype=np.uint64), rows)
        numbers = permuted(place, len(self.rows), keys(epoch, self._seed)).astype(np.int64)
        chosen = [self.rows[number] for number in numbers]
        return laid_out(self._kept, chosen, self._size, self._pad)._replace(sample_ids=numbers)


def laid_out(
    marked: Sequence[Marked], rows: Sequence[Sequence[int]], size: int, pad: int
) -> PackedExamples:
    """Rows of `size` tokens, each of sequences by their numbers; the rows are numbered from 0."""
    shape = len(rows), size
    found = PackedExamples(
        np.full(shape, pad, np.int64),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.bool_),
        np.arange(len(rows)),
    )
    for row, numbers in enumerate(rows):
        begin = 0
        for count, number in enumerate(numbers, start=1):
            ids, marks = marked[number]
            place = slice(begin, begin + len(ids))
            found.tokens[row, place], found.learned[row, place] = ids, marks
            found.documents[row, place] = count
            begin += len(ids)
    return found


def packed(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Rows of at most `size` in total, each a list of numbers of `lengths`.

    >>> packed([3, 6, 4, 2, 5], 10)
    [[1, 2], [4, 0, 3]]
    """
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, row), sorted
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        place = bisect.bisect_left(rooms, (lengths[number], -1))
        room, row = rooms.pop(place) if place < len(rooms) else (size, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(number)
        bisect.insort(rooms, (room - lengths[number], row))
    return rows


def packed_pairs(sizes: Sequence[tuple[int, int]], rooms: tuple[int, int]) -> list[list[int]]:
    """Rows of pairs whose first sides fit into the first of `rooms` together and whose second
    sides fit into the other; each goes to the first row that has room, the largest first.

    >>> packed_pairs([(2, 5), (6, 1), (3, 3), (1, 2)], (6, 8))
    [[1], [0, 2], [3]]
    """
    shares = [max(read / rooms[0], write / rooms[1]) for read, write in sizes]
    left = np.zeros((len(sizes), 2), np.int64)
    rows: list[list[int]] = []
    for number in sorted(range(len(sizes)), key=lambda n: -shares[n]):
        fits = np.flatnonzero((left[: len(rows)] >= sizes[number]).all(axis=1))
        row = int(fits[0]) if len(fits) else len(rows)
        if row == len(rows):
            rows.append([])
            left[row] = rooms
        rows[row].append(number)
        left[row] -= sizes[number]
    return rows
