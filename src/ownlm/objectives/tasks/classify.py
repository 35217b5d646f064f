"""Labels or a score for a text or a pair of texts, read off one place of the sequence.

One label: softmax cross entropy. Several: a yes or no for each label. A score: squared error.
Losses and their means are those of the reference's ForSequenceClassification.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.data.encoded import Encoded
from ownlm.data.faults import Bad
from ownlm.data.tasks.predictions import Classified, Estimate, Prediction
from ownlm.data.tasks.records import Labelled, Record, Scored
from ownlm.models.heads import SEQUENCE
from ownlm.objectives.objective import IGNORE, Batch, Loss
from ownlm.objectives.tasks.marks import Marks
from ownlm.objectives.tasks.task import Reading, balanced
from ownlm.tokenization.tokenizer import Tokenizer

LIKELY = 0.5
"""Probability from which on one of several labels is given."""


class OfText(Reading):
    """What classifying and scoring share: a text, or two, as one sequence."""

    head = SEQUENCE

    def __init__(
        self, tokenizer: Tokenizer, marks: Marks, *, prefix: str = "", start: int | None = None
    ) -> None:
        """`prefix` stands before the first text; see Reading for `start`."""
        super().__init__(pad=tokenizer.pad_id or 0, start=start)
        self.tokenizer, self.marks, self.prefix = tokenizer, marks, prefix

    def sequence(self, record: Labelled | Scored, number: int) -> Encoded:
        """The texts among their marks; nothing to learn yet."""
        texts = [self.prefix + record.text, *([] if record.pair is None else [record.pair])]
        made = self.marks(*(self.tokenizer.encode(text) for text in texts))
        return Encoded(made.ids, number, made.segments)


class Classify(OfText):
    """One of several labels, or any number of them."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        marks: Marks,
        labels: Sequence[str],
        *,
        several: bool = False,
        weighted: bool = False,
        smoothing: float = 0.0,
        prefix: str = "",
        start: int | None = None,
    ) -> None:
        """`several`: a text may have any number of labels. `weighted`: rare ones count more, by
        what `prepare` sees. `smoothing` of the targets, in training only."""
        super().__init__(tokenizer, marks, prefix=prefix, start=start)
        self.labels, self.several = tuple(labels), several
        self.weighted, self.smoothing = weighted, smoothing
        self.weights: Tensor | None = None
        """(C,): how much each class counts; of several labels, their being there."""

    def prepare(self, encoded: Sequence[Encoded]) -> None:
        """Count the classes. Weighted, all count the same together: n / (C n_c); of several
        labels, each as much where it is as where it is not."""
        if not self.weighted:
            return
        classes = len(self.labels)
        targets = np.stack([item.target for item in encoded])
        if self.several:
            there = targets.sum(axis=0)
            weights = (len(targets) - there) / there.clip(min=1)
        else:
            there = np.bincount(targets[targets >= 0], minlength=classes)
            weights = there.sum() / (classes * there.clip(min=1))
        self.weights = torch.from_numpy(weights.astype(np.float32))

    def prior(self, encoded: Sequence[Encoded]) -> Tensor | None:
        """Of the classes' shares; weighted, all classes are alike and nothing is to be added."""
        if self.weighted:
            return None
        targets = np.stack([item.target for item in encoded])
        if self.several:
            return torch.logit(frequencies(targets.sum(axis=0), len(targets)))
        there = np.bincount(targets[targets >= 0], minlength=len(self.labels))
        return frequencies(there, there.sum()).log()

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """One sequence; Bad for a label that is not among `labels`, or for two of one."""
        assert isinstance(record, Labelled), "records of labelled texts"
        strange = [label for label in record.labels if label not in self.labels]
        if strange:
            raise Bad("unknown-label", f"label {strange[0]!r:.80} is not among the labels")
        if len(record.labels) > 1 and not self.several:
            raise Bad("labels", f"{len(record.labels)} labels where one is expected")
        numbers = [self.labels.index(label) for label in record.labels]
        target = np.array(numbers[0] if numbers else IGNORE, np.int64)
        if self.several:
            target = np.isin(np.arange(len(self.labels)), numbers).astype(np.float32)
        return [self.sequence(record, number)._replace(target=target)]

    def targets(self, items: Sequence[Encoded]) -> Batch:
        """targets (N,), or (N, C) of several labels."""
        return {"targets": torch.from_numpy(np.stack([item.target for item in items]))}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Nats over the sum of the weights; of several labels, over all yes and no."""
        output = self.read(model, batch)
        logits, targets = output.logits.float(), batch["targets"]
        weights = None if self.weights is None else self.weights.to(logits.device)
        smoothing = self.smoothing if model.training else 0.0
        if self.several:
            total = F.binary_cross_entropy_with_logits(
                logits,
                targets + smoothing * (0.5 - targets),
                pos_weight=weights,
                reduction="sum",
            )
            right = (logits > 0) == (targets > LIKELY)
        else:
            total = F.cross_entropy(
                logits, targets, weights, label_smoothing=smoothing, reduction="sum"
            )
            right = logits.argmax(-1) == targets
        known = targets != IGNORE
        count = known.sum().float()
        metrics = {"accuracy": torch.stack((right.sum().float(), count))}
        if weights is not None and not self.several:
            count = weights[targets[known]].sum()
        return balanced(Loss(total, count, metrics), output)

    def predict(
        self, model: nn.Module, encoded: Sequence[Encoded], records: Sequence[Record]
    ) -> list[Prediction]:
        """The likeliest label, or all that are likelier than not."""
        found: dict[int, Prediction] = {}
        for _, item, logits in self.predicted(model, encoded):
            shares = logits.sigmoid() if self.several else logits.softmax(-1)
            likely = self.labels[int(shares.argmax())]
            by_label = dict(zip(self.labels, shares.tolist(), strict=True))
            several = tuple(label for label, share in by_label.items() if share > LIKELY)
            found[item.record] = Classified(several if self.several else (likely,), by_label)
        return [found[number] for number in range(len(records))]


def frequencies(there: npt.NDArray[Any], of: float) -> Tensor:
    """(C,): relative frequencies, none quite 0 or 1 (half a count is added to each side)."""
    return torch.from_numpy((there + 0.5) / (of + 1.0)).float()


class Regress(OfText):
    """A number, learned as it is: scores are neither shifted nor scaled."""

    labels = ("score",)

    def prior(self, encoded: Sequence[Encoded]) -> Tensor | None:
        """The mean."""
        return torch.tensor([float(np.mean([item.target for item in encoded]))])

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """One sequence."""
        assert isinstance(record, Scored), "records of scored texts"
        return [self.sequence(record, number)._replace(target=np.array(record.score, np.float32))]

    def targets(self, items: Sequence[Encoded]) -> Batch:
        """targets (N,)."""
        return {"targets": torch.from_numpy(np.stack([item.target for item in items]))}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Squared error."""
        output = self.read(model, batch)
        apart = output.logits.float()[:, 0] - batch["targets"]
        count = torch.tensor(float(len(apart)), device=apart.device)
        return balanced(Loss(apart.square().sum(), count, {}), output)

    def predict(
        self, model: nn.Module, encoded: Sequence[Encoded], records: Sequence[Record]
    ) -> list[Prediction]:
        """The number."""
        found = {item.record: Estimate(float(x)) for _, item, x in self.predicted(model, encoded)}
        return [found[number] for number in range(len(records))]
