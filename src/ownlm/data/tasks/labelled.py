"""Rows to labelled texts, pairs of texts, and scored ones."""

import math
from collections.abc import Callable
from typing import Any

from ownlm.config import nearest
from ownlm.data.faults import Bad
from ownlm.data.fields import sound
from ownlm.data.tasks.choose import Columns, is_number
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.names import LABELS, PAIRS, SCORES, TEXTS
from ownlm.data.tasks.notes import Notes
from ownlm.data.tasks.records import Labelled, Record, Scored
from ownlm.data.tasks.rows import Row

TEXT, PAIR = "--data.text-column", "--data.pair-column"
LABEL, SCORE = "--data.label-column", "--data.score-column"
Build = Callable[[Row], Record]

MANY = ("labels", "tags", "topics", "categories")
"""Columns of lists in which a text may also have no label."""


def classify(columns: Columns, config: TaskDataConfig, notes: Notes) -> Build:
    """A text and its label."""
    _label(columns, config)
    _one_text(columns, config)
    return _labelled(columns, config)


def pair(columns: Columns, config: TaskDataConfig, notes: Notes) -> Build:
    """Two texts and a label for how they stand to each other."""
    _label(columns, config)
    if not _two_texts(columns, config):
        texts = columns.texts()
        if len(texts) != 2:
            columns.refuse("no two columns of text recognised", f"{TEXT} NAME {PAIR}")
        columns.used |= {"text": texts[0], "pair": texts[1]}
    return _labelled(columns, config)


def regress(columns: Columns, config: TaskDataConfig, notes: Notes) -> Build:
    """A text, or two, and a number."""
    if not columns.find("score", config.score_column, SCORES, SCORE):
        columns.only("score", columns.numbers(), SCORE)
    if (config.text_column and not config.pair_column) or not _two_texts(columns, config):
        _one_text(columns, config)
    used = dict(columns.used)

    def build(row: Row) -> Scored:
        value = row.fields.get(used["score"])
        if not is_number(value) or not math.isfinite(score := float(value or 0)):
            raise Bad("no-number", f"{value!r} in {used['score']!r} is no finite number")
        text, other = _texts(row, used)
        return Scored(origin=row.origin, group=row.group, text=text, pair=other, score=score)

    return build


def text_of(row: Row, name: str) -> str:
    """The text in a column; Bad when it is missing, blank or no text."""
    if name not in row.fields:
        raise Bad("missing-field", f"no field {name!r} among {', '.join(map(repr, row.fields))}")
    text = sound(row.fields[name], name)
    if not text.strip():
        raise Bad("empty-text", f"{name!r} is empty: fill it in, or leave the record out")
    return text


def _label(columns: Columns, config: TaskDataConfig) -> None:
    if not columns.find("label", config.label_column, LABELS, LABEL):
        columns.only("label", columns.labelled(), LABEL)


def _one_text(columns: Columns, config: TaskDataConfig) -> None:
    if not columns.find("text", config.text_column, TEXTS, TEXT):
        columns.only("text", columns.texts(), TEXT)


def _two_texts(columns: Columns, config: TaskDataConfig) -> bool:
    """Whether two columns are asked for, or known to be a pair."""
    if not config.text_column and not config.pair_column:
        return columns.pair(("text", "pair"), PAIRS)
    if not config.text_column or not config.pair_column:
        columns.refuse("one column of two is given", f"{TEXT} NAME {PAIR}")
    columns.find("text", config.text_column, (), TEXT)
    columns.find("pair", config.pair_column, (), PAIR)
    return True


def _texts(row: Row, used: dict[str, str]) -> tuple[str, str | None]:
    return text_of(row, used["text"]), text_of(row, used["pair"]) if "pair" in used else None


def _labelled(columns: Columns, config: TaskDataConfig) -> Build:
    used = dict(columns.used)
    many = used["label"] in MANY

    def build(row: Row) -> Labelled:
        text, other = _texts(row, used)
        value = row.fields.get(used["label"])
        labels = () if many and value == [] else _labels(value, config)
        return Labelled(origin=row.origin, group=row.group, text=text, pair=other, labels=labels)

    return build


def _labels(value: Any, config: TaskDataConfig) -> tuple[str, ...]:
    """One label or several as text; Bad for none and for unknown ones."""
    values = value if isinstance(value, list) else [value]
    if isinstance(value, str) and config.label_separator:
        values = value.split(config.label_separator)
    labels = tuple(dict.fromkeys(_name(one) for one in values))
    if not labels or "" in labels:
        raise Bad("no-label", "the label is empty: give one, or leave the record out")
    for label in labels:
        if config.labels and label not in config.labels:
            guess = nearest(label, list(config.labels))
            told = f", nearest is {guess!r}" if guess else ""
            raise Bad("unknown-label", f"label {label!r} is not among --data.labels{told}")
    return labels


def _name(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return sound(value, "label").strip()
