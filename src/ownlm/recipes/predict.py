"""Use of models that do tasks: predictions for a file of records, or for a text that was typed."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from ownlm.data.faults import Bad
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Origin, Record
from ownlm.data.tasks.unlabelled import read_inputs, typed
from ownlm.errors import DataError
from ownlm.recipes.lessons import encoded, read_as
from ownlm.recipes.tuned import Tuned

AT_ONCE = 256
"""Records whose predictions are made, and written, together."""


class Said(NamedTuple):
    """A record and what a model says of it."""

    record: Record
    prediction: Prediction


def predict(tuned: Tuned, records: Iterable[Record], at_once: int = AT_ONCE) -> Iterator[Said]:
    """Predictions in order, some records at a time. DataError names a record that does not fit."""
    waiting = iter(records)
    while part := list(islice(waiting, at_once)):
        found = tuned.task.predict(tuned.model, encoded(part, tuned.task), part)
        yield from map(Said, part, found)


def inputs(tuned: Tuned, data: TaskDataConfig) -> Iterator[Record]:
    """The records of a file or folder that a model is to say something of."""
    return read_inputs(data, read_as(tuned.kind))


def asked(tuned: Tuned, text: str, other: str = "") -> Record:
    """The record of a typed text. DataError for a blank one."""
    try:
        return typed(text, other, read_as(tuned.kind), Origin("the command line"))
    except Bad as bad:
        raise DataError(bad.reason, where="the command line") from None
