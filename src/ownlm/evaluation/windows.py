"""A stream of tokens cut into the windows that an evaluation reads, and what is asked of them.

    stream      a0 a1 a2 a3 <end> b0 b1 b2 ...          context 4, stride 4
    window 1    a0 a1 a2 a3                   predicts  a1 a2 a3 <end>
    window 2                <end> b0 b1 b2    predicts  b0 b1 b2 ...

The same windows of a stream are always corrupted in the same way, so models can be compared.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ownlm.data.reach import part_of, read
from ownlm.errors import ConfigError, DataError
from ownlm.objectives.objective import IGNORE, Batch, Objective


class Stream(Protocol):
    """Tokens of many documents, one after another, each followed by the end-of-text token.

    What `data.shards.TokenStream` offers, and `evaluation.text.TextStream` in memory.
    """

    @property
    def tokens(self) -> int:
        """Length."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where documents begin."""

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Where its parts end, which came from one corpus each."""

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the text."""

    def gather(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Tokens (len(begins), length)."""

    def documents(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int32]:
        """The document of each token, counted from 1 within its window."""

    def heads(self, begins: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first token of the document that each place is in."""


class Windows(NamedTuple):
    """Where to read: `begins` (W,), inputs a window, and targets to pass over at its start."""

    begins: NDArray[np.int64]
    length: int
    skipped: NDArray[np.int64]


class _Examples(NamedTuple):
    tokens: NDArray[np.int64]
    documents: NDArray[np.int32] | None
    sample_ids: NDArray[np.int64]
    partners: NDArray[np.int64] | None
    heads: NDArray[np.int64] | None
    parts: NDArray[np.int64] | None


def planned(objective: Objective, stream: Stream, context: int, stride: int = 0) -> list[Windows]:
    """Where an objective reads all of a stream: where it says, or in windows of `context` every
    `stride` tokens."""
    begins = objective.begins(stream, context)
    if begins is None:
        return plan_windows(stream.tokens, context, stride or context)
    return [Windows(begins, context, np.zeros_like(begins))]


def plan_windows(tokens: int, context: int, stride: int) -> list[Windows]:
    """Windows whose unskipped targets are tokens 1..tokens-1, each once; the last may be short.

    Raises ConfigError for a stride outside 1..context, DataError below two tokens.
    """
    if not 1 <= stride <= context:
        raise ConfigError(
            f"stride {stride} is not between 1 and the context, {context}",
            next_command=f"a stride of at most {context}, or 0 for the whole context",
        )
    if tokens < 2:
        raise DataError(
            f"a text of {tokens} tokens has nothing to predict",
            next_command="name more text; of prepared data --split train may hold some",
        )
    targets = tokens - 1
    full = max(0, (targets - context) // stride + 1)
    begins = np.arange(full, dtype=np.int64) * stride
    skipped = np.where(begins == 0, 0, context - stride).astype(np.int64)
    plan = [Windows(begins, context, skipped)] if full else []
    covered = (full - 1) * stride + context if full else 0
    if covered < targets:
        begin = full * stride
        rest = (np.array([n], dtype=np.int64) for n in (begin, covered - begin))
        plan.append(Windows(next(rest), targets - begin, next(rest)))
    return plan


def collated(
    objective: Objective, stream: Stream, windows: Windows, documents: bool = True
) -> Batch:
    """What the objective makes of some windows, always the same; skipped targets are left out."""
    begins, length = windows.begins, windows.length + 1
    tokens, numbers = read(stream, begins, length, documents)
    partners = (
        stream.gather(_elsewhere(begins, length, stream), length) if objective.partners else None
    )
    heads, parts = stream.heads(begins), part_of(stream, begins)
    examples = _Examples(tokens, numbers, begins, partners, heads, parts)
    batch = objective.collate(examples, np.random.default_rng(0))
    for row, skipped in enumerate(windows.skipped):
        if skipped:
            batch["targets"][row, : int(skipped)] = IGNORE
    return batch


def _elsewhere(begins: NDArray[np.int64], length: int, stream: Stream) -> NDArray[np.int64]:
    """For each window another one from anywhere, always the same."""
    most = stream.tokens - length + 1
    drawn = [np.random.default_rng(int(begin)).integers(most) for begin in begins]
    return np.array(drawn, np.int64)


def batched(plan: list[Windows], batch: int) -> Iterator[Windows]:
    """The windows of a plan, so many at a time."""
    for begins, length, skipped in plan:
        for first in range(0, len(begins), batch):
            some = slice(first, first + batch)
            yield Windows(begins[some], length, skipped[some])


def few(plan: list[Windows], most: int) -> list[Windows]:
    """At most so many windows of each length, spread evenly; 0: all."""
    return [_spread(windows, most) for windows in plan] if most else plan


def _spread(windows: Windows, most: int) -> Windows:
    count = len(windows.begins)
    if count <= most:
        return windows
    chosen = np.arange(most) * count // most
    return Windows(windows.begins[chosen], windows.length, windows.skipped[chosen])
