"""A model measured on a task: one that was taught it, or a decoder that is told what to do."""

from pathlib import Path

import numpy as np

from ownlm import runtime
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.load import TaskData, load_task
from ownlm.data.tasks.records import Record
from ownlm.evaluation.tasks.baselines import baselines
from ownlm.evaluation.tasks.judge import judge, require
from ownlm.inference.language_model import LM, load
from ownlm.inference.prompted import Prompted
from ownlm.objectives.tasks.config import TaskKind
from ownlm.recipes.judged import Judged, judged_split, write_predictions
from ownlm.recipes.lessons import encoded, read_as
from ownlm.recipes.tuned import fluent, load_tuned


def examine(
    model: str,
    kind: TaskKind,
    data: TaskDataConfig,
    *,
    shots: int | None = None,
    told: str = "",
    most: int = 0,
    out: str = "",
    device: str = "",
) -> Judged:
    """Judge a model on the test records of labelled data, beside what is simple.

    `shots` None: the model does the task as it was taught; else a decoder is told what to do and
    shown so many training records. `told` replaces our words for it. `most` limits the records.
    Raises ConfigError, DataError and CheckpointError as loading and recognising do.
    """
    require(kind)
    found = load_task(data, read_as(kind))
    split = judged_split(found)
    records = found.of(split)[: most or None]
    if shots is None:
        tuned = load_tuned(model, runtime.pick_device(device), kind)
        said = tuned.task.predict(tuned.model, encoded(records, tuned.task), records)
    else:
        lm = load(model, device or None)
        lm.require_writer()
        lm = LM(fluent(lm.model, "seq2seq"), lm.tokenizer, lm.folder)
        said = Prompted(lm, kind, found.labels, chosen(found, shots), told).predict(records)
    if out:
        write_predictions(Path(out), records, said)
    others = baselines(kind, found.train, records, found.labels)
    return Judged(
        split,
        judge(kind, records, said, found.labels),
        {name: judge(kind, records, one, found.labels) for name, one in others.items()},
    )


def chosen(data: TaskData, count: int) -> list[Record]:
    """Training records that are shown: by seed, labels in turn as far as there are."""
    order = np.random.default_rng(data.config.seed).permutation(len(data.train))
    by_label: dict[str, list[Record]] = {}
    for number in order:
        record = data.train[number]
        by_label.setdefault(next(iter(record.counted()), ""), []).append(record)
    found: list[Record] = []
    while len(found) < count and any(by_label.values()):
        for waiting in by_label.values():
            if waiting and len(found) < count:
                found.append(waiting.pop())
    return found
