"""Rows of a batch, each made from its own window and its own generator, then put together.

A row's generator follows from (the update's generator, where the window lies in the stream), so
that row 5 of a batch of 8 is corrupted as row 1 of the second of two micro-batches is.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ownlm.objectives.objective import IGNORE, Batch, Examples

Ids = npt.NDArray[np.int64]
Row = dict[str, npt.NDArray[np.generic]]


class Window(NamedTuple):
    """One row of examples."""

    tokens: Ids
    documents: npt.NDArray[np.int32] | None
    partner: Ids | None
    rng: np.random.Generator
    head: int | None = None
    """The first token of the document that the window begins in."""

    def pieces(self) -> Iterator[Ids]:
        """The tokens of each document in turn; all of them where the window is one stream."""
        if self.documents is None:
            yield self.tokens
            return
        borders = np.flatnonzero(np.diff(self.documents)) + 1
        yield from np.split(self.tokens, borders)


def windows(examples: Examples, rng: np.random.Generator | None) -> Iterator[Window]:
    """Every row with its generator; without `rng` a row is corrupted alike in every epoch."""
    base = int(rng.integers(1 << 62)) if rng is not None else 0
    for row, begin in enumerate(examples.sample_ids):
        yield Window(
            examples.tokens[row],
            None if examples.documents is None else examples.documents[row],
            None if examples.partners is None else examples.partners[row],
            np.random.default_rng((base, int(begin))),
            None if examples.heads is None else int(examples.heads[row]),
        )


class Filler:
    """A row that sequences are packed into, numbered from 1; what stays free is padding, 0."""

    def __init__(self, length: int, pad: int, **columns: float) -> None:
        """`columns` names further columns and what stands where no sequence is."""
        self.length, self.used, self.count = length, 0, 0
        empty = {"inputs": pad, "mask": 0, "targets": IGNORE} | columns
        self.row: Row = {
            name: np.full(length, value, np.float32 if isinstance(value, float) else np.int64)
            for name, value in empty.items()
        }

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.length - self.used

    def add(self, **columns: npt.ArrayLike) -> None:
        """Append a sequence: `inputs` and other columns of its length; they must fit."""
        size = len(np.asarray(columns["inputs"]))
        assert size <= self.room, "sequences are cut before they are added"
        place = slice(self.used, self.used + size)
        self.count += 1
        self.row["mask"][place] = self.count
        for name, values in columns.items():
            self.row[name][place] = values
        self.used += size


def batch_of(rows: list[Row]) -> Batch:
    """Rows of equal columns as tensors (B, T)."""
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
