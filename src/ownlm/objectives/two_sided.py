"""What objectives of encoder-decoders have in common: rows with a source and a target side."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from torch import nn

from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss
from ownlm.objectives.rows import Filler, Ids, Row, Window, batch_of, windows
from ownlm.objectives.vocabulary import Vocabulary


class Exchange(NamedTuple):
    """What the encoder reads, and what the decoder is to write."""

    source: Ids
    target: Ids


class TwoSided(ABC):
    """Cross entropy of the targets; what is packed on both sides does not see each other."""

    partners = False
    covers = False
    lead: Ids = np.zeros(0, np.int64)
    """What every source begins with: the words that name a task (T5)."""

    def __init__(self, vocab: Vocabulary, start: int) -> None:
        """`start` is the id that the decoder is given first, decoder_start_token_id."""
        self.vocab, self.start = vocab, start
        self.pad, self.end = vocab.need("pad"), vocab.need("end")

    @abstractmethod
    def lengths(self, tokens: int) -> tuple[int, int]:
        """Lengths of source and target of so many tokens, at most."""

    @abstractmethod
    def row(self, window: Window) -> Row:
        """One row of each side."""

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs and mask (B, S); decoder_inputs, decoder_mask and targets (B, T)."""
        return batch_of([self.row(window) for window in windows(examples, rng)])

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of the target tokens."""
        return self.nats(model, batch)

    def nats(self, model: nn.Module, batch: Batch, smoothing: float = 0.0) -> Loss:
        """The same, of targets smoothed by so much."""
        output = model(
            batch["inputs"], batch["decoder_inputs"], batch["mask"], batch["decoder_mask"]
        )
        total, count = output.cross_entropy(batch["targets"], ignore=IGNORE, smoothing=smoothing)
        return Loss(total, count, {})


def both(source: Filler, target: Filler) -> Row:
    """The two sides of a row as an encoder-decoder gets them."""
    return {
        "inputs": source.row["inputs"],
        "mask": source.row["mask"],
        "decoder_inputs": target.row["inputs"],
        "decoder_mask": target.row["mask"],
        "targets": target.row["targets"],
    }
