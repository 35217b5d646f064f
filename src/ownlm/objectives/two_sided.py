"""What objectives of encoder-decoders have in common: rows with a source and a target side."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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


class Frame(NamedTuple):
    """How a model marks both sides: <begin> source <end>, and <start> before what it writes."""

    start: int
    """What the decoder is given first, decoder_start_token_id."""
    end: int
    begin: tuple[int, ...] = ()

    @classmethod
    def of(cls, control: Mapping[str, int], start: int, end: int) -> "Frame":
        """Of a model by the roles of its control tokens: one whose decoder starts with the end
        (BART) reads and writes a begin as well, where there is such a token."""
        begin = control.get("begin") if start == end else None
        return cls(start, end, () if begin is None else (begin,))

    @property
    def opening(self) -> list[int]:
        """The ids that what is written goes on from."""
        return [self.start, *self.begin]

    def source(self, ids: Sequence[int] | Ids, lead: Sequence[int] | Ids = ()) -> Ids:
        """A source with its marks, and perhaps the words that name a task."""
        return np.array([*self.begin, *lead, *ids, self.end], np.int64)

    def target(self, ids: Sequence[int] | Ids, *, whole: bool = True) -> Ids:
        """A target with its marks; one that is torn does not end."""
        return np.array([*self.begin, *ids, *([self.end] if whole else [])], np.int64)

    def shortened(self, side: Ids, size: int) -> Ids:
        """A side of at most so many tokens, with its end."""
        return side if len(side) <= size else np.append(side[: size - 1], self.end)


class Sides:
    """A row of each side, filled pair by pair."""

    def __init__(self, read: int, write: int, frame: Frame, pad: int) -> None:
        """Rows for `read` tokens of sources and `write` of targets."""
        self.source, self.target, self.start = Filler(read, pad), Filler(write, pad), frame.start

    def fits(self, pair: Exchange) -> bool:
        """Whether both sides have room for it."""
        return len(pair.source) <= self.source.room and len(pair.target) <= self.target.room

    def add(self, pair: Exchange) -> None:
        """Append a pair, which must fit."""
        self.source.add(inputs=pair.source)
        inputs = np.append(self.start, pair.target[:-1])
        self.target.add(inputs=inputs, targets=pair.target)

    @property
    def row(self) -> Row:
        """Both of them."""
        return both(self.source, self.target)


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
        return nats(model, batch)


def nats(model: nn.Module, batch: Batch, smoothing: float = 0.0) -> Loss:
    """Summed nats of the target tokens; in training of targets smoothed by so much."""
    output = model(batch["inputs"], batch["decoder_inputs"], batch["mask"], batch["decoder_mask"])
    smoothing = smoothing if model.training else 0.0
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
