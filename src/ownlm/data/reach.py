"""What a window reads where the stream, or its part of it, may end within."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


class Readable(Protocol):
    """What can be read of a stream."""

    @property
    def tokens(self) -> int:
        """Length."""

    @property
    def bounds(self) -> Int64s:
        """Where its parts end, which came from one corpus each."""

    def gather(self, begins: Int64s, length: int) -> Int64s:
        """Tokens (len(begins), length)."""

    def documents(self, begins: Int64s, length: int) -> npt.NDArray[np.int32]:
        """The document of each token, counted from 1 within its window."""


def read(
    stream: Readable, begins: Int64s, length: int, documents: bool
) -> tuple[Int64s, npt.NDArray[np.int32] | None]:
    """Tokens and documents of windows (B, length); beyond the end of the part that a
    window begins in tokens are -1, in a document of their own."""
    ends = stream.bounds[part_of(stream, begins)]
    inside = begins + length <= ends
    if inside.all():
        numbers = stream.documents(begins, length) if documents else None
        return stream.gather(begins, length), numbers
    tokens = np.full((len(begins), length), -1, np.int64)
    owners = np.zeros((len(begins), length), np.int32)
    for row, (begin, end) in enumerate(zip(begins, ends)):
        size, place = min(length, int(end - begin)), begins[row : row + 1]
        tokens[row, :size] = stream.gather(place, size)[0]
        owners[row, :size] = stream.documents(place, size)[0]
        owners[row, size:] = owners[row, size - 1] + 1
    return tokens, owners if documents else None


def part_of(stream: Readable, begins: Int64s) -> Int64s:
    """Which part each place is in, from 0: (N,)."""
    return np.searchsorted(stream.bounds, begins, side="right")
