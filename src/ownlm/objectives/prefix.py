"""Prefix language modelling (Raffel et al. 2020, arXiv:1910.10683, sections 3.2.1 and 3.3.1): the
beginning of a text is read both ways, as an encoder reads it, the rest is predicted from it.

text       thank you for inviting me <end>
prefix     1     1   1   0        0           every token sees these three
targets    ----  ---- inviting me <end>       ---- is not learned: it was seen
"""

import numpy as np
import torch

from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE, Batch, Examples
from ownlm.objectives.rows import Ids, windows


class Prefix(Causal):
    """Next-token prediction behind a prefix; each document is split at a random place."""

    covers = False

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs, targets, mask and prefix (B, T)."""
        batch = super().collate(examples, rng)
        mask = batch.get("mask", torch.ones_like(batch["inputs"])).long()
        rows = zip(mask.numpy(), windows(examples, rng))
        prefix = torch.from_numpy(np.stack([split(row, window.rng) for row, window in rows]))
        follows = (prefix[:, 1:] > 0) & (mask[:, 1:] == mask[:, :-1])
        batch["targets"][:, :-1][follows] = IGNORE  # in the prefix, so it was seen
        return batch | {"mask": mask, "prefix": prefix}


def split(numbers: Ids, rng: np.random.Generator) -> Ids:
    """1 at the tokens that are read both ways, (T,): of a sequence of n tokens the first 1 to
    n - 1, each number as likely."""
    prefix = np.zeros(len(numbers), np.int64)
    borders = np.flatnonzero(np.diff(numbers)) + 1
    for begin, end in zip([0, *borders], [*borders, len(numbers)]):
        prefix[begin : begin + rng.integers(1, max(2, end - begin))] = 1
    return prefix
