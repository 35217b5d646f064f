"""Orders of samples besides plain windows: places that are given, and several corpora mixed.

All are pure functions of (seed, index), as `Windows` is: a run that resumes asks for the next.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ownlm.data.loader import Words, keys, permuted
from ownlm.data.shards import Int64s
from ownlm.errors import DataError

BLOCK = 1000
"""Samples in which every corpus has exactly its share, rounded to a thousandth."""


class Numbered(Protocol):
    """Where samples begin by their numbers."""

    per_epoch: int

    def at(self, index: Words) -> Int64s:
        """Offsets of the samples with these numbers: (N,)."""


class Chosen:
    """Windows whose places are given, each once an epoch, in an order of the epoch's own."""

    def __init__(self, places: Int64s, seed: int) -> None:
        if not len(places):
            raise DataError(
                "there is nothing to learn from",
                next_command="bring more text, or choose another --data.validation",
            )
        self.seed, self.per_epoch = seed, len(places)
        self._places = places

    def begins(self, first: int, count: int) -> Int64s:
        """Offsets in the stream of the samples numbered first ... first + count - 1: (count,)."""
        return self.at(np.arange(first, first + count, dtype=np.uint64))

    def at(self, index: Words) -> Int64s:
        """The same of samples by their numbers: (N,)."""
        epoch, place = np.divmod(index, np.uint64(self.per_epoch))
        window = permuted(place, self.per_epoch, keys(epoch, self.seed))
        return self._places[window.astype(np.int64)]


class Mixed:
    """Samples of several corpora, shuffled in blocks in which each has its number of them.

    Within its corpus every sample comes in the corpus's own order but for the shuffling of a
    block: none is left out, none comes twice in its epoch.
    """

    def __init__(
        self, orders: Sequence[Numbered], firsts: Sequence[int], counts: Sequence[int], seed: int
    ) -> None:
        """`firsts` are where the corpora begin in the stream, `counts` their samples a block."""
        assert sum(counts) == BLOCK, "counts are of a block"
        self._orders, self._firsts, self._seed = orders, firsts, seed
        self._ends = np.cumsum(counts)
        self._counts = np.array(counts)

    def begins(self, first: int, count: int) -> Int64s:
        """Offsets in the stream of the samples numbered first ... first + count - 1: (count,)."""
        block, place = np.divmod(np.arange(first, first + count, dtype=np.uint64), np.uint64(BLOCK))
        place = permuted(place, BLOCK, keys(block, self._seed)).astype(np.int64)
        corpus = np.searchsorted(self._ends, place, side="right")
        rank = place - (self._ends - self._counts)[corpus]
        index = (block.astype(np.int64) * self._counts[corpus] + rank).astype(np.uint64)
        begins = np.zeros(count, np.int64)
        for number, (order, start) in enumerate(zip(self._orders, self._firsts)):
            own = corpus == number
            begins[own] = start + order.at(index[own])
        return begins


class Whole(Protocol):
    """A stream of several corpora."""

    @property
    def starts(self) -> Int64s:
        """Where documents begin."""

    @property
    def bounds(self) -> Int64s:
        """Where its parts end."""

    def gather(self, begins: Int64s, length: int) -> Int64s:
        """Tokens (len(begins), length)."""


class Part:
    """The documents of one corpus in a stream of several: a stream of its own."""

    def __init__(self, stream: Whole, number: int, name: str = "") -> None:
        self._stream = stream
        self.first = int(stream.bounds[number - 1]) if number else 0
        self.tokens = int(stream.bounds[number]) - self.first
        self.name, self.bounds = name, np.array([self.tokens])
        inside = (stream.starts >= self.first) & (stream.starts < self.first + self.tokens)
        self.starts: Int64s = stream.starts[inside] - self.first

    def gather(self, begins: npt.ArrayLike, length: int) -> Int64s:
        """Tokens (len(begins), length)."""
        return self._stream.gather(np.asarray(begins, np.int64) + self.first, length)


def counts_of(shares: Sequence[float]) -> list[int]:
    """Samples a block for each share, at least one each; they add up to BLOCK."""
    wanted = np.array(shares) / sum(shares) * BLOCK
    counts = np.maximum(1, np.floor(wanted)).astype(np.int64)
    while counts.sum() != BLOCK:  # what rounding left goes where it is missed most
        step = 1 if counts.sum() < BLOCK else -1
        missed = (wanted - counts) * step
        counts[int(np.where((counts > 1) | (step > 0), missed, -np.inf).argmax())] += step
    return [int(count) for count in counts]
