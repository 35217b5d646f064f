"""The contract of a task: records to sequences, a loss like any objective's, and predictions.

Sequences of a micro-batch share rows of at most the longest one's length, best fit first; the
numbers in `mask` keep them apart and positions begin anew, so little of a batch is padding and
each sequence is read as if it were alone.

sequences    [CLS] a b [SEP] | [CLS] c [SEP] | [CLS] d e f g [SEP]
inputs       [CLS] d e f g [SEP]               mask    1 1 1 1 1 1
             [CLS] a b [SEP] .  .                      1 1 1 1 0 0
             [CLS] c [SEP] .  .  .                     1 1 1 0 0 0
places       6 7 8 9 . .     12 13 14 . . .    0 1 2 3 4 5      of each sequence's tokens

Shapes: B rows, T tokens of a row, N sequences, S tokens of a sequence, D width, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ownlm.data.encoded import Encoded, EncodedExamples, grouped
from ownlm.data.packing import packed
from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Record
from ownlm.nn.head import Output
from ownlm.objectives.objective import Batch, Examples, Loss, Stream
from ownlm.objectives.rows import Filler, Ids, batch_of

BUDGET = 1 << 12
"""Tokens that are predicted for at once."""


class Task(ABC):
    """What a finetuned model does; an objective of sequences that also predicts.

    `head` is what stands on the model ("ForSequenceClassification"; "": the head that says
    words), `labels` are its classes in order.
    """

    partners: ClassVar[bool] = False
    covers: ClassVar[bool] = False
    additive: ClassVar[bool] = True
    """Whether a batch costs what its sequences cost one by one; not so where they are compared
    with one another."""
    head: str = ""
    labels: tuple[str, ...] = ()
    packs: bool = True
    """Whether sequences share rows; else each has a row of its own, padded to the longest."""

    @abstractmethod
    def encode(self, record: Record, number: int) -> list[Encoded]:
        """What the model reads of a record: one sequence, or windows of a long one. A record
        without an answer can be encoded, to be predicted. Raises data.faults.Bad for an answer
        that the task does not know."""

    @abstractmethod
    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """The tensors of a micro-batch of EncodedExamples."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Forward pass and summed loss."""

    @abstractmethod
    def predict(
        self, model: nn.Module, encoded: Sequence[Encoded], records: Sequence[Record]
    ) -> list[Prediction]:
        """One prediction a record, in order; `encoded` are the sequences of all of them, whose
        `record` is the place in `records`."""

    def prepare(self, encoded: Sequence[Encoded]) -> None:  # noqa: B027, most need not
        """Look through what will be learned from, once before training."""

    def prior(self, encoded: Sequence[Encoded]) -> Tensor | None:
        """(C,): logits of a guess by frequency, where a new head's bias begins, so that its first
        updates need not learn what counting knows; None where the targets do not tell."""
        return None

    def window(self, context: int) -> int:
        """Sequences have their own lengths."""
        return context

    def begins(self, stream: Stream, length: int) -> None:  # noqa: B027, the answer is None
        """There is no stream."""


class Reading(Task):
    """A task that reads sequences under a head over classes."""

    def __init__(self, *, pad: int, start: int | None = None) -> None:
        """`pad` fills what is never read. `start` is the id that the decoder of an encoder-decoder
        begins with: it is given the sequence again, one token later, as BART's classifier."""
        self.pad, self.start = pad, start

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs and mask (B, T), perhaps types and decoder_inputs, places (N, S) of each
        sequence's tokens in the rows, -1 behind its end, and what the task adds."""
        assert isinstance(examples, EncodedExamples), "an EncodedLoader gives these"
        return self.rows(examples.items) | self.targets(examples.items)

    @abstractmethod
    def targets(self, items: Sequence[Encoded]) -> Batch:
        """What is to be learned of sequences."""

    def rows(self, items: Sequence[Encoded]) -> Batch:
        """The sequences in rows, and where they are."""
        lengths = [len(item.ids) for item in items]
        size = max(lengths)
        shared = packed(lengths, size) if self.packs else [[n] for n in range(len(items))]
        places = np.full((len(items), size), -1, np.int64)
        rows = []
        for row, numbers in enumerate(shared):
            filler = Filler(size, self.pad, **self.columns(items))
            for number in numbers:
                at = row * size + filler.used
                places[number, : lengths[number]] = np.arange(at, at + lengths[number])
                filler.add(**self.filled(items[number]))
            del filler.row["targets"]
            rows.append(filler.row)
        return batch_of(rows) | {"places": torch.from_numpy(places)}

    def columns(self, items: Sequence[Encoded]) -> dict[str, float]:
        """Columns beside inputs and mask, and what stands where no sequence is."""
        found: dict[str, float] = {} if items[0].types is None else {"types": 0}
        return found if self.start is None else found | {"decoder_inputs": self.pad}

    def filled(self, item: Encoded) -> dict[str, Ids]:
        """What a sequence puts into the columns."""
        found = {"inputs": item.ids}
        if item.types is not None:
            found["types"] = item.types
        if self.start is not None:
            found["decoder_inputs"] = np.append(self.start, item.ids[:-1])
        return found

    def predicted(
        self, model: nn.Module, encoded: Sequence[Encoded]
    ) -> Iterator[tuple[int, Encoded, Tensor]]:
        """The number of each sequence, the sequence, and its logits on the CPU, in float32: (C,),
        or (S, C) of a head over tokens. Sequences come in groups of like length."""
        device = next(model.parameters()).device
        with evaluating(model):
            for group in grouped([len(item.ids) for item in encoded], BUDGET):
                items = [encoded[number] for number in group]
                batch = {name: tensor.to(device) for name, tensor in self.rows(items).items()}
                logits = self.logits(model, batch).float().cpu()
                for number, item, each in zip(group, items, logits, strict=True):
                    yield number, item, each[: len(item.ids)] if each.ndim == 2 else each

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(N, C), or (N, S, C) of a head over tokens, whatever behind the end of a sequence."""
        return self.read(model, batch).logits

    def read(self, model: nn.Module, batch: Batch) -> Output:
        """What the head makes of each sequence."""
        read = run(model, batch)
        places = batch["places"].clamp(min=0)
        if model.task.config.pool == "token":  # type: ignore[union-attr]
            return read._replace(features=read.features.flatten(0, 1)[places])
        hidden_NSD = read.hidden.flatten(0, 1)[places]
        found: Output = model.task(hidden_NSD, (batch["places"] >= 0).long())  # type: ignore[operator]
        return found._replace(balance=read.balance)


def run(model: nn.Module, batch: Batch) -> Output:
    """The model's output for rows."""
    if "decoder_inputs" in batch:
        sides = batch["inputs"], batch["decoder_inputs"], batch["mask"], batch["mask"]
        written: Output = model(*sides)
        return written
    types = {"types": batch["types"]} if "types" in batch else {}
    read: Output = model(batch["inputs"], mask=batch["mask"], **types)
    return read


def balanced(loss: Loss, output: Output) -> Loss:
    """The loss with what keeps a mixture's experts in balance, in training."""
    if output.balance is None:
        return loss
    return loss._replace(total=loss.total + output.balance * loss.count)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout and without gradients; afterwards as before."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def encode_all(task: Task, records: Sequence[Record]) -> list[Encoded]:
    """The sequences of all records, numbered as these; Bad for the first that cannot be encoded."""
    return [item for number, record in enumerate(records) for item in task.encode(record, number)]
