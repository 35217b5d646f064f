"""Sequences of a task, each with what is to be learned of it, as batches by number.

The order is a pure function of (seed, step), as everywhere: a run that resumes at step 1,000 asks
for batch 1,000. Sequences keep their own lengths here; the task packs them into rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from ownlm.data.loader import keys, permuted
from ownlm.errors import DataError

Int64s = npt.NDArray[np.int64]
NOTHING: npt.NDArray[Any] = np.zeros(0, np.int64)


class Encoded(NamedTuple):
    """One sequence that a model reads."""

    ids: Int64s
    """(T,)."""
    record: int
    """Number of the record that it was made from; a long one makes several."""
    types: Int64s | None = None
    """(T,): the segment of each token, where the family tells them apart."""
    target: npt.NDArray[Any] = NOTHING
    """What is learned: a class (), classes (C,) as 0 and 1, a score (), a tag a token (T,), the
    first and last token of a span (2,)."""
    extra: Any = None
    """What leads back to the text: words, characters."""
    decoder_ids: Int64s | None = None
    """What the decoder of an encoder-decoder is to write."""


@dataclass(frozen=True)
class EncodedExamples:
    """The sequences of a micro-batch, and what a trainer asks of any examples."""

    items: list[Encoded]
    sample_ids: Int64s
    """(B,): the number of each sequence."""
    pad: int = 0
    documents: None = None
    partners: None = None
    heads: None = None
    parts: None = None

    @property
    def tokens(self) -> Int64s:
        """(B, T + 1), padded: what is counted of a batch. Nothing is learned from these."""
        longest = max((len(item.ids) for item in self.items), default=0)
        found = np.full((len(self.items), longest + 1), self.pad, np.int64)
        for row, item in enumerate(self.items):
            found[row, : len(item.ids)] = item.ids
        return found

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Encoded]:
        return iter(self.items)

    @overload
    def __getitem__(self, part: int) -> Encoded: ...

    @overload
    def __getitem__(self, part: slice) -> "EncodedExamples": ...

    def __getitem__(self, part: int | slice) -> "Encoded | EncodedExamples":
        """A sequence, or some of them as examples again."""
        if isinstance(part, int):
            return self.items[part]
        return EncodedExamples(self.items[part], self.sample_ids[part], self.pad)


class EncodedLoader:
    """Sequences as batches by number, as a trainer asks for them."""

    def __init__(self, encoded: Sequence[Encoded], batch: int, seed: int, pad: int = 0) -> None:
        """`batch` sequences an update; every epoch has an order of its own. DataError where there
        are none."""
        if not encoded:
            raise DataError("nothing to learn from: no sequences", next_command="bring more data")
        self.encoded, self._batch, self._seed, self._pad = encoded, batch, seed, pad

    @property
    def per_epoch(self) -> int:
        """Updates until every sequence was seen."""
        return -(-len(self.encoded) // self._batch)

    def batch(self, step: int, micro: int = 0, of: int = 1) -> EncodedExamples:
        """Part `micro` of the `of` parts of batch number `step` (from 0)."""
        low, high = (self._batch * part // of for part in (micro, micro + 1))
        first, count = step * self._batch, len(self.encoded)
        index = np.arange(first + low, first + high, dtype=np.uint64)
        epoch, place = np.divmod(index, np.uint64(count))
        numbers = permuted(place, count, keys(epoch, self._seed)).astype(np.int64)
        return EncodedExamples([self.encoded[n] for n in numbers.tolist()], numbers, self._pad)


def examples(encoded: Sequence[Encoded], pad: int = 0) -> EncodedExamples:
    """Sequences as examples, in their own order."""
    return EncodedExamples(list(encoded), np.arange(len(encoded)), pad)


def grouped(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Numbers of sequences in groups of like length, longest first, none of more than `budget`
    tokens together, unless one sequence alone is.

    >>> grouped([3, 9, 4, 5], 10)
    [[1], [3, 2], [0]]
    """
    groups: list[list[int]] = []
    room = 0
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        if not groups or lengths[number] > room:
            groups.append([])
            room = budget
        groups[-1].append(number)
        room -= lengths[number]
    return groups
