"""How good a finetuned model is: on records it has not seen, beside simple ways and itself before.

Predictions are made once, kept, and judged by evaluation/tasks.
"""

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ownlm import files, log, runtime
from ownlm.data.encoded import Encoded, EncodedExamples
from ownlm.data.tasks.load import TaskData
from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Record
from ownlm.evaluation.tasks.baselines import baselines
from ownlm.evaluation.tasks.judge import evaluation, judge, write_evaluation
from ownlm.evaluation.tasks.judgement import Judgement
from ownlm.evaluation.tasks.report import write_task_report
from ownlm.models.model import Model
from ownlm.objectives.tasks.config import TaskKind
from ownlm.objectives.tasks.task import Task
from ownlm.recipes.lessons import Lessons
from ownlm.recipes.tuned import fluent, load_tuned
from ownlm.recipes.tuning import WRITERS, FinetuneConfig
from ownlm.training.run import RunFolder

PREDICTIONS = "predictions.jsonl"
LOSS = "validation_loss"
AT_ONCE = 16
"""Sequences whose loss is taken at once."""


@dataclass(frozen=True)
class Judged:
    """A model's figures, and those of what it is held against."""

    split: str
    model: Judgement
    others: dict[str, Judgement]
    """Simple ways by their names, and the model as it was before."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"split": self.split, **evaluation(self.model, self.others)}


class Watch:
    """The evaluation during training: loss and headline figure on the validation records; a
    failure is reported and ends nothing."""

    def __init__(self, config: FinetuneConfig, task: Task, data: TaskData, lessons: Lessons):
        self.kind, self.task, self.labels = config.task, task, data.labels
        self.records, self.encoded = data.validation, lessons.validation

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """validation_loss, and the figure that the task is known by; not for tasks whose answers
        are written, which takes long."""
        try:
            found = {LOSS: loss(model, self.task, self.encoded)}
            if self.kind in WRITERS or self.kind == "embed":
                return found
            predictions = self.task.predict(model, self.encoded, self.records)
            judged = judge(self.kind, self.records, predictions, self.labels, resamples=1)
        except Exception as error:  # noqa: BLE001, whatever fails here must not cost the run
            log.warn(f"evaluation failed, training goes on: {type(error).__name__}: {error}")
            return {}
        name = judged.headline
        return found | {f"validation_{name}": judged.figures[name].value}


def rank(figures: Mapping[str, float]) -> tuple[float, ...]:
    """The headline figure decides which checkpoint is the best, of equal ones the lowest loss: a
    model that grows surer of its few mistakes loses more while it names more. Where the figure
    is not defined (no name is due, all scores are equal), the loss decides."""
    headline = [
        value if math.isfinite(value) else 0.0 for name, value in figures.items() if name != LOSS
    ]
    return (*headline, -figures[LOSS])


def loss(model: nn.Module, task: Task, encoded: Sequence[Encoded]) -> float:
    """Nats a target over all sequences."""
    device, total, count = next(model.parameters()).device, 0.0, 0.0
    with torch.no_grad():
        for examples in portions(encoded):
            batch = task.collate(examples, np.random.default_rng(0))
            found = task.loss(model, {name: t.to(device) for name, t in batch.items()})
            total, count = total + float(found.total), count + float(found.count)
    return total / max(count, 1.0)


def portions(encoded: Sequence[Encoded]) -> Iterator[EncodedExamples]:
    """Some sequences at a time, of like length."""
    order = sorted(range(len(encoded)), key=lambda number: len(encoded[number].ids))
    for first in range(0, len(order), AT_ONCE):
        numbers = order[first : first + AT_ONCE]
        yield EncodedExamples([encoded[n] for n in numbers], np.array(numbers, np.int64))


def judged_split(data: TaskData) -> str:
    """Which records a model is judged by: test, or where there is none validation."""
    return "test" if data.test else "validation"


def untuned(
    run: Path,
    config: FinetuneConfig,
    task: Task,
    data: TaskData,
    lessons: Lessons,
    model: Model,
) -> Judgement | None:
    """What the model does before the first update; None where it would say nothing: a new model
    that is to write, or no record to judge by."""
    if not config.untuned or (config.begins_new and config.task in WRITERS):
        return None
    records, encoded = chosen(config, data, lessons)
    if not records:
        return None
    predictions = task.predict(fluent(model, config.task).eval(), encoded, records)
    return judge(config.task, records, predictions, data.labels)


def chosen(
    config: FinetuneConfig, data: TaskData, lessons: Lessons
) -> tuple[list[Record], list[Encoded]]:
    """The records that a model is judged by, and their sequences."""
    split = judged_split(data)
    records, encoded = data.of(split), getattr(lessons, split)
    most = config.judged or len(records)
    return records[:most], [one for one in encoded if one.record < most]


def conclude(
    run: RunFolder,
    config: FinetuneConfig,
    task: Task,
    data: TaskData,
    lessons: Lessons,
    before: Judgement | None,
) -> Judged | None:
    """Judge the model in `model/`, beside the baselines; write figures, predictions and page."""
    split = judged_split(data)
    records, encoded = chosen(config, data, lessons)
    if not records:
        log.warn("no record is kept to judge by: --data.test takes a share")
        return None
    tuned = load_tuned(run.model_path, runtime.pick_device(config.device))
    predictions = tuned.task.predict(tuned.model, encoded, records)
    found = judge(config.task, records, predictions, data.labels)
    others: dict[str, Judgement] = {}
    if config.baselines:
        for name, simple in baselines(config.task, data.train, records, data.labels).items():
            others[name] = judge(config.task, records, simple, data.labels)
    if before is not None:
        others["before finetuning"] = before
    result = Judged(split, found, others)
    write_evaluation(run.path, found, others)
    write_predictions(run.path / PREDICTIONS, records, predictions)
    told = {"data": {"path": config.data.path, "records": lessons.summary,
                     "judged by": split, "digest": lessons.digest}}  # fmt: skip
    write_task_report(run.path, found, others, told, commands=commands(config.task, run.path))
    return result


def commands(kind: TaskKind, folder: Path) -> list[str]:
    """What makes sense after a finetuning, ready to be pasted."""
    place = shlex.quote(str(folder))
    ask = {
        "classify": f'ownlm classify {place} "TEXT"',
        "pair": f'ownlm classify {place} "TEXT" --pair "OTHER TEXT"',
        "regress": f'ownlm classify {place} "TEXT" --pair "OTHER TEXT"',
        "tag": f'ownlm tag {place} "TEXT"',
        "span": f'ownlm answer {place} "QUESTION" --context FILE',
        "seq2seq": f'ownlm translate {place} "TEXT"',
        "chat": f"ownlm chat {place}",
        "embed": f'ownlm embed {place} "TEXT"',
    }
    return [ask[kind], f"ownlm predict {place} FILE"]


def write_predictions(
    path: Path, records: Sequence[Record], predictions: Sequence[Prediction]
) -> None:
    """A line of JSON a record: what was asked and what was said."""
    lines = [
        json.dumps({"record": one.as_dict(), "prediction": said.as_dict()}, ensure_ascii=False)
        for one, said in zip(records, predictions, strict=True)
    ]
    files.write_text(path, "\n".join(lines) + "\n")
