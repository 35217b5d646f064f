"""Finetuning as transformers' users do it: a plain loop over padded batches, AdamW, a cosine.

Called by finetuning.py in a process of its own. Records and splits are read by ownlm, so that both
learn from the same; pieces, labels and windows are made by transformers' own means.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ownlm.data.tasks.load import TaskData
from ownlm.data.tasks.predictions import Classified, Estimate, Extract, Prediction, Tagging
from ownlm.data.tasks.records import Record

Rows = list[dict[str, Any]]


def finetune(options: argparse.Namespace, data: TaskData) -> tuple[list[Prediction], float]:
    """Predictions for the test records, and the seconds that training took."""
    from transformers import AutoTokenizer

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    kind = {"classify": Sequence_, "pair": Sequence_, "regress": Sequence_, "tag": Tags,
            "span": Spans}[options.task]  # fmt: skip
    task = kind(options, data, tokenizer)
    begun = time.perf_counter()
    loop(task.model, task.rows(data.train), options, tokenizer.pad_token_id)
    seconds = time.perf_counter() - begun
    task.model.eval()
    with torch.no_grad():
        return task.predict(data.test), seconds


def loop(model: torch.nn.Module, rows: Rows, options: argparse.Namespace, pad: int) -> None:
    """The usual loop: shuffled, padded to the longest of the batch, clipped at 1."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.lr, betas=(0.9, 0.999), weight_decay=0.01, fused=True
    )
    model.train()
    for step, batch in zip(range(options.steps), batches(rows, options.batch, options.seed)):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * rate(step, options.steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            loss = model(**padded(batch, pad)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def rate(step: int, steps: int) -> float:
    """Share of the learning rate: a tenth of warmup, then half a wave down to nothing."""
    warmup = steps // 10
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def batches(rows: Rows, size: int, seed: int) -> Iterator[Rows]:
    """Without end, each pass in an order of its own."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(rows))
        for first in range(0, len(order) - size + 1, size):
            yield [rows[n] for n in order[first : first + size]]


def padded(rows: Rows, pad: int) -> dict[str, torch.Tensor]:
    """Tensors of rows of unequal length."""
    empty = {"input_ids": pad, "attention_mask": 0, "token_type_ids": 0, "labels": -100}
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if isinstance(values[0], list):
            longest = max(map(len, values))
            values = [one + [empty[name]] * (longest - len(one)) for one in values]
        found[name] = torch.tensor(values)
    return found


class Sequence_:
    """AutoModelForSequenceClassification."""

    def __init__(self, options: argparse.Namespace, data: TaskData, tokenizer: Any) -> None:
        from transformers import AutoModelForSequenceClassification

        self.tokenizer, self.labels = tokenizer, data.labels
        self.scores = options.task == "regress"
        self.model = AutoModelForSequenceClassification.from_pretrained(
            options.model, num_labels=1 if self.scores else len(data.labels)
        )

    def rows(self, records: Sequence[Record]) -> Rows:
        """A row a record."""
        pairs: list[Any] = [r.pair for r in records]  # type: ignore[attr-defined]
        texts = [r.text for r in records]  # type: ignore[attr-defined]
        made = self.tokenizer(texts, pairs if pairs[0] else None, truncation=True, max_length=256)
        rows: Rows = [dict(zip(made, row)) for row in zip(*made.values())]
        for row, record in zip(rows, records):
            row["labels"] = self.label(record)
        return rows

    def label(self, record: Any) -> float | int:
        return float(record.score) if self.scores else self.labels.index(record.labels[0])

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Over batches of like length."""
        rows = self.rows(records)
        logits = by_length(self.model, rows, self.tokenizer.pad_token_id)
        if self.scores:
            return [Estimate(float(one[0])) for one in logits]
        shares = [one.softmax(-1).tolist() for one in logits]
        return [Classified((self.labels[int(np.argmax(s))],), dict(zip(self.labels, s)))
                for s in shares]  # fmt: skip


def by_length(model: Any, rows: Rows, pad: int, pick: str = "logits") -> list[torch.Tensor]:
    """Outputs of each row, in order, at its own length where there is one a token."""
    order = sorted(range(len(rows)), key=lambda n: len(rows[n]["input_ids"]))
    found: dict[int, torch.Tensor] = {}
    for first in range(0, len(order), 32):
        numbers = order[first : first + 32]
        batch = padded([rows[n] for n in numbers], pad)
        batch = {k: v for k, v in batch.items() if k in ("input_ids", "attention_mask",
                                                         "token_type_ids")}  # fmt: skip
        output = getattr(model(**batch), pick).float()
        found |= dict(zip(numbers, output))
    return [found[n] for n in range(len(rows))]


class Tags:
    """AutoModelForTokenClassification; the first piece of a word carries its tag."""

    def __init__(self, options: argparse.Namespace, data: TaskData, tokenizer: Any) -> None:
        from transformers import AutoModelForTokenClassification

        self.tokenizer, self.labels = tokenizer, data.labels
        self.model = AutoModelForTokenClassification.from_pretrained(
            options.model, num_labels=len(data.labels)
        )

    def rows(self, records: Sequence[Any]) -> Rows:
        """A row a sentence, and for roles its predicate as a second text."""
        return [self.row(record) for record in records]

    def row(self, record: Any) -> dict[str, Any]:
        second = [] if record.predicate is None else [record.words[record.predicate]]
        made = self.tokenizer(
            list(record.words), second or None, is_split_into_words=True, truncation="only_first",
            max_length=256,
        )  # fmt: skip
        labels, before = [], None
        for word, side in zip(made.word_ids(), made.sequence_ids()):
            first = side == 0 and word is not None and word != before
            labels.append(self.labels.index(record.tags[word]) if first else -100)
            before = word if side == 0 else None
        row = dict(made) | {"labels": labels}
        if record.predicate is not None:
            row["token_type_ids"] = [
                int(side == 1 or (side == 0 and word == record.predicate))
                for word, side in zip(made.word_ids(), made.sequence_ids())
            ]
        return row

    def predict(self, records: Sequence[Any]) -> list[Prediction]:
        """A tag a word; O beyond the longest sequence, and for words without pieces."""
        rows, found = self.rows(records), list[Prediction]()
        logits = by_length(self.model, rows, self.tokenizer.pad_token_id)
        for record, row, one in zip(records, rows, logits):
            tags = ["O"] * len(record.words)
            words = self.tokenizer(
                list(record.words), is_split_into_words=True, truncation=True, max_length=256
            ).word_ids()
            places = [place for place, label in enumerate(row["labels"]) if label != -100]
            for place in places:
                tags[words[place]] = self.labels[int(one[place].argmax())]
            found.append(Tagging(tuple(tags)))
        return found


class Spans:
    """AutoModelForQuestionAnswering with windows by stride."""

    LONGEST, STRIDE, ANSWER = 384, 128, 30

    def __init__(self, options: argparse.Namespace, data: TaskData, tokenizer: Any) -> None:
        from transformers import AutoModelForQuestionAnswering

        self.tokenizer = tokenizer
        self.model = AutoModelForQuestionAnswering.from_pretrained(options.model)

    def windows(self, record: Any) -> Iterator[tuple[dict[str, Any], list[tuple[int, int] | None]]]:
        made = self.tokenizer(
            record.question, record.context, truncation="only_second", max_length=self.LONGEST,
            stride=self.STRIDE, return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        for number, offsets in enumerate(made["offset_mapping"]):
            sides = made.sequence_ids(number)
            kept = [at if side == 1 else None for at, side in zip(offsets, sides)]
            keys = [k for k in ("input_ids", "attention_mask", "token_type_ids") if k in made]
            yield {key: made[key][number] for key in keys}, kept

    def rows(self, records: Sequence[Any]) -> Rows:
        """A row a window; the answer at the first token where the window has none."""
        rows: Rows = []
        for record in records:
            for row, offsets in self.windows(record):
                first, last = 0, 0
                if record.answers:
                    begin = record.answers[0].start
                    end = begin + len(record.answers[0].text)
                    inside = [n for n, at in enumerate(offsets)
                              if at and at[0] < end and at[1] > begin]  # fmt: skip
                    whole = inside and offsets[inside[0]][0] <= begin  # type: ignore[index]
                    if whole and offsets[inside[-1]][1] >= end:  # type: ignore[index]
                        first, last = inside[0], inside[-1]
                rows.append(row | {"start_positions": first, "end_positions": last})
        return rows

    def predict(self, records: Sequence[Any]) -> list[Prediction]:
        """The best span over all windows of a record."""
        rows, owners, places = [], [], []
        for number, record in enumerate(records):
            for row, offsets in self.windows(record):
                rows.append(row), owners.append(number), places.append(offsets)
        pad = self.tokenizer.pad_token_id
        starts = by_length(self.model, rows, pad, "start_logits")
        ends = by_length(self.model, rows, pad, "end_logits")
        best: dict[int, Extract] = {}
        for number, offsets, start, end in zip(owners, places, starts, ends):
            found = self.best(records[number].context, offsets, start, end)
            if number not in best or found.score > best[number].score:
                best[number] = found
        return [best[number] for number in range(len(records))]

    def best(self, context: str, offsets: list[Any], start: Any, end: Any) -> Extract:
        size = len(offsets)
        real = torch.tensor([at is not None for at in offsets])
        scores = start[:size, None] + end[None, :size]
        scores = scores.masked_fill(~(real[:, None] & real[None, :]), -torch.inf)
        scores = scores.triu().masked_fill(torch.ones(size, size).tril(-1).bool(), -torch.inf)
        far = torch.ones(size, size).triu(self.ANSWER).bool()
        place = int(scores.masked_fill(far, -torch.inf).argmax())
        first, last = offsets[place // size][0], offsets[place % size][1]
        return Extract(context[first:last], first, float(scores.flatten()[place]))


def main(options: argparse.Namespace, load: Callable[[], TaskData], out: Path) -> None:
    """Finetune, and leave predictions and seconds in a file."""
    predictions, seconds = finetune(options, load())
    out.write_text(json.dumps([seconds, [p.as_dict() for p in predictions]]))
