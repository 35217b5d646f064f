"""The data as it passes through a training: what is counted and hashed of it."""

import hashlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ownlm.errors import ConfigError
from ownlm.objectives.objective import Examples


class Samples(Examples, Protocol):
    """Examples that know where they came from."""

    @property
    def sample_ids(self) -> npt.NDArray[np.int64]:
        """(B,): where in the stream each window begins."""


class Loader(Protocol):
    """The data of every update, as a pure function of its number."""

    def batch(self, step: int, micro: int = 0, of: int = 1) -> Samples:
        """Micro-batch `micro` of `of` of update `step` (from 0)."""


class Feed:
    """Micro-batches of a loader; counts their tokens and chains the ids of all samples."""

    def __init__(self, loader: Loader, batch: int, micro_batch: int) -> None:
        """`micro_batch` sequences at a time, 0: the whole batch. ConfigError when it has a rest."""
        self.loader = loader
        self.split(batch, micro_batch)
        self.tokens = 0
        """Tokens read since the run began."""
        self.digest = ""
        """SHA-256 chained over the sample ids of every update, in order."""

    def split(self, batch: int, micro_batch: int) -> None:
        """From now on so many sequences at a time; the batches stay what they are."""
        self.of = micro_batches(batch, micro_batch)

    def take(self, step: int) -> Iterator[Samples]:
        """The micro-batches of update `step` (from 0), taken note of as they pass."""
        chain = hashlib.sha256(self.digest.encode())
        for samples in self.look(step):
            rows, length = samples.tokens.shape
            self.tokens += rows * (length - 1)
            chain.update(np.asarray(samples.sample_ids, dtype="<i8").tobytes())
            yield samples
        self.digest = chain.hexdigest()

    def look(self, step: int) -> Iterator[Samples]:
        """The same once more, without a trace."""
        return (self.loader.batch(step, micro, self.of) for micro in range(self.of))

    def ids(self, step: int) -> list[int]:
        """The samples of update `step` (from 0)."""
        return [int(number) for samples in self.look(step) for number in samples.sample_ids]


def micro_batches(batch: int, micro_batch: int) -> int:
    """How many make up a batch, 1 for a size of 0. ConfigError where there is a rest."""
    if micro_batch and batch % micro_batch:
        legal = [str(n) for n in range(1, batch + 1) if batch % n == 0]
        raise ConfigError(
            f"train.micro_batch {micro_batch} does not divide train.batch {batch}",
            next_command=f"--train.micro-batch with one of {', '.join(legal)}",
        )
    return batch // (micro_batch or batch)
