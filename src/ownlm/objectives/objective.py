"""The contract of an objective: examples to a batch, a batch to a summed loss.

An objective lives outside the models and has no parameters of its own. `collate` runs in numpy
and may corrupt (mask, shuffle, noise) with the generator it is given, which is a pure function
of (seed, step): a resumed run corrupts the same way. What happens to a row depends on that and
on the row alone (see rows.py), so a batch may be cut into any micro-batches.
"""

from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

Batch: TypeAlias = dict[str, Tensor]
"""Named tensors of one micro-batch, all on the device of the model."""

IGNORE = -100
"""A target that is not learned."""


class Loss(NamedTuple):
    """Summed, never averaged: the division happens once, at the update, over all micro-batches."""

    total: Tensor
    """Sum of the nats of all targets, a float32 scalar."""
    count: Tensor  # type: ignore[assignment]  # tuples have a method of that name
    """How many targets, a scalar."""
    metrics: dict[str, Tensor]
    """Further figures for the log, each two numbers: a sum and what to divide it by."""


class Examples(Protocol):
    """What a loader gives: B windows of T + 1 tokens."""

    @property
    def tokens(self) -> npt.NDArray[np.int64]:
        """(B, T + 1)."""

    @property
    def documents(self) -> npt.NDArray[np.int32] | None:
        """(B, T + 1): the document of each token, from 1; None where windows are one stream."""

    @property
    def sample_ids(self) -> npt.NDArray[np.int64]:
        """(B,): where in the stream each window begins."""

    @property
    def partners(self) -> npt.NDArray[np.int64] | None:
        """(B, T + 1): for each row another window, from anywhere; None unless asked for."""

    @property
    def heads(self) -> npt.NDArray[np.int64] | None:
        """(B,): the first token of the document that each window begins in, where that is known:
        its control code, if it has one."""

    @property
    def parts(self) -> npt.NDArray[np.int64] | None:
        """(B,): which of several corpora each window is from, where that is known."""


class Stream(Protocol):
    """Tokens of many documents, one after another, each followed by the end-of-text token."""

    @property
    def tokens(self) -> int:
        """Length."""

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where documents begin."""

    @property
    def bounds(self) -> npt.NDArray[np.int64]:
        """Where its parts end, which came from one corpus each."""

    def gather(self, begins: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
        """Tokens (len(begins), length)."""


class Objective(Protocol):
    """What the model learns; pure functions of what they are given."""

    @property
    def partners(self) -> bool:
        """Whether examples must bring a partner window for each row."""

    @property
    def covers(self) -> bool:
        """Whether every token of a text is predicted once: losses then add up to bits per byte."""

    def window(self, context: int) -> int:
        """Tokens of text T (examples hold T + 1) that fill a model's context."""

    def begins(self, stream: Stream, length: int) -> npt.NDArray[np.int64] | None:
        """Where windows of `length` tokens begin in a stream, when whole documents matter; such a
        window may reach beyond the end of the stream, where tokens are -1. None: anywhere."""

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """The tensors of a micro-batch, on the CPU."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Forward pass and summed loss; called in one compiled function where that pays."""
