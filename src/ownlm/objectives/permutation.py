"""Permutation language modelling (XLNet, Yang et al. 2019, arXiv:1906.08237, section 2).

Some tokens of a segment are predicted, one after another in a random order: each from all tokens
that are not predicted and from those predicted before it, wherever they stand.

text       the  cat  sat  on   the  mat
predicted  .    x    x    .    .    x
steps      .    1    0    .    .    2        cat is predicted from: the, sat, on, the
"""

import numpy as np
import torch
from torch import nn

from ownlm.nn.streams import factorise
from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss, Stream
from ownlm.objectives.rows import Ids, windows

LONGEST = 5
"""Tokens of a predicted span at most, as in XLNet's data script."""


class Permutation:
    """Cross entropy of the predicted tokens; the segments of a window share a memory."""

    partners = False
    covers = False
    segments = 1

    def __init__(self, *, rate: float = 1 / 6, segments: int = 1) -> None:
        """`rate` of the tokens is predicted (1 / K in the paper, K = 6), in spans of 1 to 5.
        A window holds `segments` contexts, each reading the memory of the one before."""
        self.rate, self.segments = rate, segments

    def window(self, context: int) -> int:
        """As many contexts as there are segments."""
        return context * self.segments

    def begins(self, stream: Stream, length: int) -> None:
        """Anywhere."""

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs, steps (B, T), -1 where nothing is predicted, and perhaps the mask (B, T)."""
        inputs = examples.tokens[:, :-1]
        steps = np.stack([self.steps(inputs.shape[1], row.rng) for row in windows(examples, rng)])
        batch = {"inputs": torch.from_numpy(inputs.copy()), "steps": torch.from_numpy(steps)}
        if examples.documents is not None:
            batch["mask"] = torch.from_numpy(examples.documents[:, :-1].astype(np.int64))
        return batch

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats over all segments."""
        size = -(-batch["inputs"].shape[1] // self.segments)
        parts = {name: tensor.split(size, dim=1) for name, tensor in batch.items()}
        memory = model.new_memory(len(batch["inputs"]))  # type: ignore[operator]
        sums = []
        for number, (ids, steps) in enumerate(zip(parts["inputs"], parts["steps"], strict=True)):
            mask = parts["mask"][number] if "mask" in parts else None
            order, real = factorise(steps, steps >= 0)
            output = model(ids, mask=mask, cache=memory, order=order)
            targets = ids.gather(1, order.places).masked_fill(~real, IGNORE)
            sums.append(output.cross_entropy(targets, ignore=IGNORE))
        totals, counts = zip(*sums, strict=True)
        return Loss(torch.stack(totals).sum(), torch.stack(counts).sum(), {})

    def steps(self, length: int, rng: np.random.Generator) -> Ids:
        """When each token is predicted, (length,); -1 for never."""
        predicted = np.zeros(length, np.bool_)
        wanted = max(1, round(self.rate * length))
        for _ in range(10 * wanted):  # spans may fall on each other; a few tries more fill up
            missing = wanted - int(predicted.sum())
            if missing <= 0:
                break
            size = min(int(rng.integers(1, LONGEST + 1)), missing)
            start = int(rng.integers(0, length - size + 1))
            predicted[start : start + size] = True
        return np.where(predicted, rng.permutation(length), -1)
