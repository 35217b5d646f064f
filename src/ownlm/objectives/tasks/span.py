"""Answers as parts of a text (SQuAD, Rajpurkar et al. 2016, arXiv:1606.05250).

[CLS] who sang ? [SEP] the boat ##swain sang . [SEP]       question, then a window of the context
  0                      5    6     7                      first token 5, last 7; 0 without one

Two classes a token say how well an answer begins and ends there. Of a long context windows
overlap; one without the answer, and a question without any (SQuAD 2, arXiv:1806.03822), points
at [CLS], or at the last token where the whole is read off that. The best answer of a question is
the span of all its windows with the highest sum of both.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.data.encoded import Encoded
from ownlm.data.tasks.predictions import Extract, Prediction
from ownlm.data.tasks.records import Question, Record
from ownlm.models.heads import SPAN
from ownlm.objectives.objective import Batch, Loss
from ownlm.objectives.rows import Ids
from ownlm.objectives.tasks.marks import Marks
from ownlm.objectives.tasks.task import Reading, balanced
from ownlm.objectives.tasks.windows import overlapping
from ownlm.tokenization.tokenizer import Tokenizer

LONGEST_ANSWER = 30
"""Tokens, as in the reference's scripts."""


class Seen(NamedTuple):
    """The part of a context that a sequence holds."""

    begin: int
    """Place of its first token in the sequence."""
    characters: Ids
    """(S, 2): the characters of the context that each token stands for, from and to."""


class Candidate(NamedTuple):
    """The best span of a window."""

    start: int
    end: int
    """Characters of the context, from and to."""
    score: float
    """Logits of both ends together."""
    none: float
    """Logits of no answer."""


class Span(Reading):
    """Cross entropy of the first and of the last token, in the mean."""

    head = SPAN
    labels = ()

    def __init__(
        self,
        tokenizer: Tokenizer,
        marks: Marks,
        *,
        stride: int = 128,
        unanswerable: bool = False,
        none_threshold: float = 0.0,
        longest_answer: int = LONGEST_ANSWER,
        start: int | None = None,
    ) -> None:
        """`stride`: tokens that neighbouring windows share, at most half of them. `unanswerable`:
        there may be none, which is said when it exceeds the best by more than `none_threshold`."""
        super().__init__(pad=tokenizer.pad_id or 0, start=start)
        self.tokenizer, self.marks, self.stride = tokenizer, marks, stride
        self.unanswerable, self.none_threshold = unanswerable, none_threshold
        self.longest_answer = longest_answer

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """A sequence a window of the context. The question has at most half of the room; the
        first answer is learned, in all windows that hold all of it."""
        assert isinstance(record, Question), "records of questions"
        room = self.marks.room(2)
        question = self.tokenizer.encode(record.question)[: room // 2]
        ids, places = self.tokenizer.encode_places(record.context)
        context = np.array(ids, np.int64)
        characters = np.array(places, np.int64).reshape(-1, 2)
        answer = answer_tokens(record, characters)
        found = []
        for first, last in overlapping([1] * len(ids), room - len(question), self.stride):
            made = self.marks(question, context[first:last])
            begin = made.begins[1]
            target = [self.marks.whole(len(made.ids))] * 2
            if answer is not None and first <= answer[0] and answer[1] < last:
                target = [token - first + begin for token in answer]
            seen = Seen(begin, characters[first:last])
            found.append(Encoded(made.ids, number, made.segments, np.array(target), seen))
        return found

    def targets(self, items: Sequence[Encoded]) -> Batch:
        """targets (N, 2): first and last token."""
        return {"targets": torch.from_numpy(np.stack([item.target for item in items]))}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Nats over the windows; tokens behind the end of a sequence are no choice."""
        output, targets = self.read(model, batch), batch["targets"]
        behind = (batch["places"] < 0)[..., None]
        logits_NS2 = output.logits.float().masked_fill(behind, -torch.inf)
        total = F.cross_entropy(logits_NS2, targets, reduction="sum") / 2  # classes are places
        right = (logits_NS2.argmax(1) == targets).all(-1).sum()
        count = torch.tensor(float(len(targets)), device=total.device)
        metrics = {"accuracy": torch.stack((right.float(), count))}
        return balanced(Loss(total, count, metrics), output)

    def predict(
        self, model: nn.Module, encoded: Sequence[Encoded], records: Sequence[Record]
    ) -> list[Prediction]:
        """The best span of each context, or none."""
        windows: list[list[Candidate]] = [[] for _ in records]
        for _, item, logits in self.predicted(model, encoded):
            windows[item.record] += self.candidates(item, logits)
        return [
            self.chosen(record, mine)
            for record, mine in zip(records, windows, strict=True)
            if isinstance(record, Question)
        ]

    def candidates(self, item: Encoded, logits_S2: Tensor) -> Iterator[Candidate]:
        """The best span of a window of the context; none of an empty one."""
        seen: Seen = item.extra
        count, whole = len(seen.characters), self.marks.whole(len(item.ids))
        if not count:
            return
        here = slice(seen.begin, seen.begin + count)
        logits = logits_S2.double().numpy()
        first, last = best_span(logits[here, 0], logits[here, 1], self.longest_answer)
        at = seen.begin + first, seen.begin + last
        yield Candidate(
            int(seen.characters[first, 0]),
            int(seen.characters[last, 1]),
            float(logits[at[0], 0] + logits[at[1], 1]),
            float(logits[whole].sum()),
        )

    def chosen(self, record: Question, windows: Sequence[Candidate]) -> Extract:
        """The best of all windows. That there is no answer must be the opinion of all of them, so
        the one that thinks it least counts."""
        if not windows:
            return Extract("")
        best = max(windows, key=lambda window: window.score)
        none = min(window.none for window in windows)
        if self.unanswerable and none - best.score > self.none_threshold:
            return Extract("", -1, best.score, none)
        text = record.context[best.start : best.end]
        return Extract(text, best.start, best.score, none)


def answer_tokens(record: Question, characters: Ids) -> tuple[int, int] | None:
    """First and last token of the first answer; None where there is none, or the tokenizer makes
    nothing of it."""
    if not record.answers:
        return None
    text, start = record.answers[0]
    (inside,) = np.nonzero((characters[:, 0] < start + len(text)) & (characters[:, 1] > start))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def best_span(
    starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float64], longest: int
) -> tuple[int, int]:
    """First and last token of the highest sum, at most `longest` tokens.

    >>> best_span(np.array([5.0, 1.0, 0.0]), np.array([0.0, 1.0, 5.0]), 2)
    (1, 2)
    """
    sums = starts[:, None] + ends[None, :]
    sizes = np.arange(len(ends))[None, :] - np.arange(len(starts))[:, None]
    sums[(sizes < 0) | (sizes >= longest)] = -np.inf
    first, last = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(first), int(last)
