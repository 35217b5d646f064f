"""From a stream of tokens to batches: which windows, in which order, read ahead of the training.

The order is a pure function of (seed, index). Nothing is shuffled in memory and nothing need be
replayed: a run that resumes at step 1,000 asks for batch 1,000.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Protocol, Self, overload

import numpy as np
import numpy.typing as npt

from ownlm.data.reach import part_of, read
from ownlm.data.shards import Int64s, TokenStream
from ownlm.errors import DataError

_ROUNDS = 6  # of the Feistel network; four already pass tests of randomness
Words = npt.NDArray[np.uint64]


class Measured(Protocol):
    """What windows need to know of a stream."""

    name: str
    tokens: int


class Windows:
    """The order in which windows of a stream are seen: a pure function of (seed, index).

    A window is `length` inputs and their targets: `length` + 1 tokens, the last of which begins
    the next window, so that an epoch learns each token at most once. Every epoch has a
    permutation of its own, and a shift of its own, so that later epochs cut elsewhere; `still`
    windows are the same in all epochs.
    """

    def __init__(self, stream: Measured, length: int, seed: int, *, still: bool = False) -> None:
        if stream.tokens < length + 1:
            raise DataError(
                f"the {stream.name} split has {stream.tokens:,} tokens, "
                f"one window of context {length} needs {length + 1:,}",
                next_command="bring more text, or choose a smaller --model.context",
            )
        self.length, self.seed = length, seed
        # One window fewer than would fit leaves room for the shift.
        self.per_epoch = max(1, (stream.tokens - length) // length)
        self._shifts = 1 if still else min(length, stream.tokens - self.per_epoch * length)
        self.still = still

    def begins(self, first: int, count: int) -> Int64s:
        """Offsets in the stream of the samples numbered first ... first + count - 1: (count,)."""
        return self.at(np.arange(first, first + count, dtype=np.uint64))

    def at(self, index: Words) -> Int64s:
        """The same of samples by their numbers: (N,)."""
        epoch, place = np.divmod(index, np.uint64(self.per_epoch))
        key = keys(epoch, self.seed)
        window = permuted(place, self.per_epoch, key)
        shift = _mix(key + np.uint64(1)) % np.uint64(self._shifts)
        return (window * np.uint64(self.length) + shift).astype(np.int64)


def permuted(place: Words, size: int, key: Words) -> Words:
    """Where element `place` of range(size) goes under the permutation that `key` stands for.

    A Feistel network permutes the next power of four; what falls outside the range is sent
    through it again until it falls inside (cycle walking). Constant memory for any size.
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    result = _feistel(place, half, key)
    while (outside := result >= np.uint64(size)).any():
        result[outside] = _feistel(result[outside], half, key[outside])
    return result


def keys(number: Words, seed: int) -> Words:
    """A key of a permutation for each number, such as that of an epoch."""
    return _mix(number ^ _mix(np.uint64(seed % (1 << 64)) + np.zeros_like(number)))


def _feistel(value: Words, half: np.uint64, key: Words) -> Words:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask
    for number in range(_ROUNDS):
        mixed = _mix(right ^ _mix(key + np.uint64(number)))
        left, right = right, left ^ (mixed & mask)
    return (left << half) | right


def _mix(value: Words) -> Words:
    """SplitMix64 (Steele, Lea and Flood 2014): each output bit depends on every input bit."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


class Order(Protocol):
    """Where samples begin in a stream, as a pure function of their numbers."""

    def begins(self, first: int, count: int) -> Int64s:
        """Offsets of the samples numbered first ... first + count - 1: (count,)."""


class Example(NamedTuple):
    """One window: what a model reads and what it must predict."""

    tokens: Int64s  # (T + 1,)
    documents: npt.NDArray[np.int32] | None  # (T + 1,), counted from 1; None: one stream


class Examples(Sequence[Example]):
    """A batch of windows: whole arrays for speed, and a sequence of `Example`."""

    def __init__(
        self,
        tokens: Int64s,
        documents: npt.NDArray[np.int32] | None,
        sample_ids: Int64s,
        partners: Int64s | None = None,
        heads: Int64s | None = None,
        parts: Int64s | None = None,
    ) -> None:
        self.tokens = tokens  # (B, T + 1)
        self.documents = documents  # (B, T + 1)
        self.sample_ids = sample_ids  # (B,), offsets in the stream
        self.partners = partners  # (B, T + 1), another window for each row
        self.heads = heads  # (B,), the first token of the document that each window begins in
        self.parts = parts  # (B,), which of several corpora each window is from

    def __len__(self) -> int:
        return len(self.tokens)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Examples": ...
    def __getitem__(self, index: int | slice) -> "Example | Examples":
        documents = None if self.documents is None else self.documents[index]
        if isinstance(index, slice):
            partners = None if self.partners is None else self.partners[index]
            heads = None if self.heads is None else self.heads[index]
            parts = None if self.parts is None else self.parts[index]
            ids, tokens = self.sample_ids[index], self.tokens[index]
            return Examples(tokens, documents, ids, partners, heads, parts)
        return Example(self.tokens[index], documents)


class Loader:
    """Batches by number; the one that is likely next is gathered meanwhile in a thread.

    The result does not depend on the thread, on what was asked before, or on how a batch is
    divided: the parts of `of` micro-batches are the rows of the whole batch, in order.
    """

    def __init__(
        self,
        stream: TokenStream,
        length: int,
        batch: int,
        seed: int,
        documents: bool,
        prefetch: bool = True,
        partners: bool = False,
        order: Order | None = None,
    ) -> None:
        """Windows of `length` tokens and one more; `partners` adds to each another one. `order`
        says where they begin when whole documents matter, or several corpora are mixed."""
        self.windows: Order = Windows(stream, length, seed) if order is None else order
        self._others = Windows(stream, length, seed + 1) if partners else None
        self._stream, self._batch = stream, batch
        self._documents, self._length = documents, length
        self._pool = ThreadPoolExecutor(1, "ownlm-loader") if prefetch else None
        self._ahead: tuple[tuple[int, int, int], Future[Examples]] | None = None

    def batch(self, step: int, micro: int = 0, of: int = 1) -> Examples:
        """Part `micro` of the `of` parts of batch number `step`."""
        wanted = (step, micro, of)
        ahead, self._ahead = self._ahead, None
        examples = ahead[1].result() if ahead and ahead[0] == wanted else self._read(*wanted)
        if self._pool:
            following = (step, micro + 1, of) if micro + 1 < of else (step + 1, 0, of)
            self._ahead = following, self._pool.submit(self._read, *following)
        return examples

    def close(self) -> None:
        """End the thread; batches can still be asked for."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pool = self._ahead = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, step: int, micro: int, of: int) -> Examples:
        low, high = (self._batch * part // of for part in (micro, micro + 1))
        first, count, length = step * self._batch + low, high - low, self._length + 1
        begins = self.windows.begins(first, count)
        tokens, documents = read(self._stream, begins, length, self._documents)
        partners = None
        if self._others is not None:
            still = isinstance(self.windows, Windows) and self.windows.still
            numbers = begins // self._length if still else np.arange(first, first + count)
            elsewhere = self._others.at(numbers.astype(np.uint64))
            partners = self._stream.gather(apart(elsewhere, begins, self._stream, length), length)
        heads, parts = self._stream.heads(begins), part_of(self._stream, begins)
        return Examples(tokens, documents, begins, partners, heads, parts)


def apart(others: Int64s, begins: Int64s, stream: TokenStream, length: int) -> Int64s:
    """`others`, moved half way round the stream where they overlap the windows at `begins`."""
    moved = (others + stream.tokens // 2) % (stream.tokens - length + 1)
    return np.where(np.abs(others - begins) < length, moved, others)
