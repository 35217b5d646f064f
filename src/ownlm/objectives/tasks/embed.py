"""Sentences as points, learned from pairs that mean alike (contrastive, InfoNCE: van den Oord et
al. 2018, arXiv:1807.03748; for sentences Reimers & Gurevych 2019, arXiv:1908.10084).

Of a batch every first text has to find its own second text among all second texts:

    cosines / temperature     b1    b2    b3
    a1                       [14.1]  2.0  -1.1        loss: softmax cross entropy of each row,
    a2                         0.9 [11.8]  3.2        summed; what equals the right answer or
    a3                        -2.2   1.5 [16.0]       answers an equal question is left out

So the batch decides how hard the choice is: micro-batches have fewer others than the batch.

Shapes: N pairs, S tokens of a text, D width.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.data.encoded import Encoded
from ownlm.data.tasks.predictions import Prediction, Vector
from ownlm.data.tasks.records import Labelled, Parallel, Record, Scored
from ownlm.models.model import SingleStack
from ownlm.models.sentences import Embedder, Pooling
from ownlm.nn.task import pool
from ownlm.objectives.objective import Batch, Examples, Loss
from ownlm.objectives.tasks.marks import Marks
from ownlm.objectives.tasks.task import Reading, run
from ownlm.tokenization.tokenizer import Tokenizer

HEAD = "Model"


class Embed(Reading):
    """Vectors of length one, of one text a record or of two."""

    head = HEAD
    additive = False

    def __init__(
        self,
        tokenizer: Tokenizer,
        marks: Marks,
        *,
        pooling: Pooling = "mean",
        temperature: float = 0.05,
        prefix: str = "",
    ) -> None:
        """`pooling` says what becomes of the tokens, `prefix` stands before every text."""
        super().__init__(pad=tokenizer.pad_id or 0)
        self.tokenizer, self.marks = tokenizer, marks
        self.pooling, self.temperature, self.prefix = pooling, temperature, prefix

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """The first text; its second one, where there is one, is `extra`."""
        first, second = texts(record)
        found = self.sequence(first, number)
        return [found if second is None else found._replace(extra=self.sequence(second, number))]

    def sequence(self, text: str, number: int) -> Encoded:
        """A text among its marks."""
        made = self.marks(self.tokenizer.encode(self.prefix + text))
        return Encoded(made.ids, number, made.segments)

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs and mask (B, T) and the places (2 N, S) of all first texts, then all second."""
        items = [item for item in examples.items if item.extra is not None]  # type: ignore[attr-defined]
        seconds = [item.extra for item in items]
        return self.rows([*items, *seconds]) | self.targets(items)

    def targets(self, items: Sequence[Encoded]) -> Batch:
        """`others` (N, N): which second texts are no answer to a first one."""
        first = numbered([item.ids.tobytes() for item in items])
        second = numbered([item.extra.ids.tobytes() for item in items])
        alike = (first[:, None] == first) | (second[:, None] == second)
        return {"others": torch.from_numpy(~alike)}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of the right answers, N of them; and how often the nearest is right."""
        first_ND, second_ND = self.logits(model, batch).chunk(2)
        cosines_NN = first_ND @ second_ND.T
        own = torch.arange(len(cosines_NN), device=cosines_NN.device)
        left_out = ~batch["others"] & (own[:, None] != own)
        scores_NN = (cosines_NN / self.temperature).masked_fill(left_out, -torch.inf)
        total = F.cross_entropy(scores_NN, own, reduction="sum")
        count = torch.tensor(float(len(own)), device=total.device)
        right = (scores_NN.argmax(dim=-1) == own).sum()
        return Loss(total, count, {"accuracy": torch.stack((right.float(), count))})

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Vectors (2 N, D) of length one, in float32."""
        hidden_NSD = run(model, batch).hidden.flatten(0, 1)[batch["places"].clamp(min=0)]
        vectors_ND = pool(hidden_NSD, (batch["places"] >= 0).long(), self.pooling)
        return F.normalize(vectors_ND.to(torch.promote_types(vectors_ND.dtype, torch.float32)))

    def predict(
        self, model: nn.Module, encoded: Sequence[Encoded], records: Sequence[Record]
    ) -> list[Prediction]:
        """A vector of each text."""
        texts = [text for item in encoded for text in (item, item.extra) if text is not None]
        found = {number: each for number, _, each in self.predicted(model, texts)}
        vectors: dict[int, list[tuple[float, ...]]] = {}
        for number, text in enumerate(texts):
            vectors.setdefault(text.record, []).append(tuple(found[number].tolist()))
        return [Vector(*vectors[number]) for number in range(len(records))]


def numbered(texts: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Equal texts get equal numbers."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)


def texts(record: Record) -> tuple[str, str | None]:
    """One text or two."""
    if isinstance(record, Parallel):
        return record.source, record.target or None
    assert isinstance(record, Labelled | Scored), "records of one text or two"
    return record.text, record.pair


def save_embedder(model: SingleStack, tokenizer: Tokenizer, folder: Path) -> None:
    """The model as a folder that sentence-transformers opens."""
    Embedder(model, "mean", True).save(folder)
    tokenizer.save(folder)
