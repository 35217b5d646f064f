"""What a finetuning learns from: records, checked and turned into what the model reads."""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from ownlm.data.encoded import Encoded
from ownlm.data.faults import Bad
from ownlm.data.report import counted
from ownlm.data.tasks.config import Task as DataTask
from ownlm.data.tasks.load import TaskData, load_task
from ownlm.data.tasks.records import Conversation, Parallel, Question, Record
from ownlm.errors import ConfigError, DataError
from ownlm.log import say
from ownlm.objectives.tasks.config import TaskKind
from ownlm.objectives.tasks.task import Task
from ownlm.recipes.tuning import FinetuneConfig

LABELLED: tuple[TaskKind, ...] = ("classify", "pair", "tag")
"""Tasks that choose among the labels of their data."""


def read_as(kind: TaskKind) -> DataTask:
    """The kind of records that a task learns from: embedding needs two texts that belong
    together."""
    return "seq2seq" if kind == "embed" else kind


class Lessons(NamedTuple):
    """The sequences of each split, and what they come to."""

    train: list[Encoded]
    validation: list[Encoded]
    test: list[Encoded]
    digest: str
    """SHA-256 of the records and their splits."""
    summary: str

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(len(one.ids) for one in [*self.train, *self.validation, *self.test])


def read_records(config: FinetuneConfig) -> TaskData:
    """The records that a configuration names; what was recognised is said.

    Raises ConfigError where no data are named, DataError that lists the faults.
    """
    if not config.data.path:
        raise ConfigError(
            "no data to learn from", where="data.path", next_command="--data FILE_OR_FOLDER"
        )
    data = load_task(config.data, read_as(config.task))
    if config.task in LABELLED and not data.labels:
        raise DataError(
            "no record has a label",
            where=config.data.path,
            next_command=f"ownlm data show {config.data.path} --task {config.task}",
        )
    for line in data.notes.lines():
        say(f"note: {line}")
    if data.overlaps:
        say(f"note: {counted(len(data.overlaps), 'overlap')} between splits; see ownlm data show")
    return data


def lessons(data: TaskData, task: Task) -> Lessons:
    """All splits as the task encodes them. DataError names the first record that does not fit."""
    splits = {name: encoded(data.of(name), task) for name in ("train", "validation", "test")}
    words = [
        f"{counted(len(data.of(name)), 'record')} to {what}"
        for name, what in (("train", "learn from"), ("validation", "watch"), ("test", "judge by"))
    ]
    digest = hashlib.sha256()
    for record, split in zip(data.records, data.splits, strict=True):
        line = json.dumps([split, record.as_dict()], sort_keys=True, default=str)
        digest.update(line.encode())
    return Lessons(**splits, digest=digest.hexdigest(), summary=", ".join(words))


def encoded(records: Sequence[Record], task: Task) -> list[Encoded]:
    """The sequences of some records, numbered from 0."""
    found: list[Encoded] = []
    for number, record in enumerate(records):
        try:
            found += task.encode(record, number)
        except Bad as bad:
            fault = bad.at(*record.origin)
            raise DataError(
                fault.reason,
                where=fault.where,
                next_command="mend it, or leave such records out: --data.bad skip",
            ) from None
    return found


def texts_of(record: Record) -> tuple[str, ...]:
    """What a new model's tokenizer learns from: all that is read or written."""
    if isinstance(record, Parallel):
        return record.source, record.target
    if isinstance(record, Conversation):
        return tuple(message.content for message in record.messages)
    if isinstance(record, Question):
        return record.question, record.context
    return (record.inputs,)
