"""What guessing by frequency alone would reach: below it a model has learned something.

The guesser knows how often each token is a target in the training text and nothing else. Control
tokens, such as the sentinels of T5, cost it nothing: their places are easily learned, and what a
model gains there shall not count as a gain on words.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ownlm.errors import DataError
from ownlm.evaluation.windows import Stream, batched, collated, few, planned
from ownlm.objectives.objective import IGNORE, Objective

MOST = 2_000
"""Windows of training text that are counted; more would not change the shares noticeably."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Unigram:
    """The guesser's result on the targets of an objective."""

    loss: float
    """Nats a target, the counts of the training text plus one as shares."""
    accuracy: float
    """Share of the targets that are the most frequent token."""

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"unigram_loss": self.loss, "unigram_accuracy": self.accuracy}


def unigram(
    objective: Objective,
    train: Stream,
    validation: Stream,
    *,
    context: int,
    is_control: Flags,
    documents: bool = True,
) -> Unigram:
    """Guess the targets of all validation text; `is_control` (V,) says which ids are free.

    Raises DataError where there is nothing to predict.
    """
    size = len(is_control)
    counts = targets(objective, train, context, size, documents, MOST) + 1.0
    asked = targets(objective, validation, context, size, documents)
    if not asked.sum():
        raise DataError("no token of this text is a target: nothing to predict")
    counts[is_control] = 0
    shares, words = counts / counts.sum(), ~is_control
    nats = -(asked[words] * np.log(shares[words])).sum()
    right = asked[int(counts.argmax())] + asked[is_control].sum()
    return Unigram(float(nats / asked.sum()), float(right / asked.sum()))


def targets(
    objective: Objective,
    stream: Stream,
    context: int,
    size: int,
    documents: bool = True,
    most: int = 0,
) -> NDArray[np.float64]:
    """How often each of `size` ids is a target, (size,), in at most `most` windows; 0: all."""
    found = np.zeros(size)
    for windows in batched(few(planned(objective, stream, context), most), 32):
        asked = asked_for(collated(objective, stream, windows, documents))
        found += np.bincount(asked, minlength=size)
    return found


def asked_for(batch: dict[str, Tensor]) -> NDArray[np.int64]:
    """The ids that a batch wants to be said, in one row."""
    if "targets" in batch:
        ids = batch["targets"]
    else:  # a permutation asks for inputs, at the places that have a step
        ids = batch["inputs"].masked_fill(batch["steps"] < 0, IGNORE)
    asked: NDArray[np.int64] = ids[ids != IGNORE].numpy()
    return asked
