"""Records to be predicted: what a model reads, without what it is to say."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from ownlm.data.faults import Bad
from ownlm.data.sources import Source, discover, shown
from ownlm.data.tasks.choose import Columns
from ownlm.data.tasks.config import Task, TaskDataConfig
from ownlm.data.tasks.conversations import chat
from ownlm.data.tasks.labelled import PAIR, TEXT, text_of
from ownlm.data.tasks.names import PAIRS, SIDES, TEXTS, WORDS
from ownlm.data.tasks.notes import Notes
from ownlm.data.tasks.recognise import KINDS, read_parts
from ownlm.data.tasks.records import (
    Conversation,
    Labelled,
    Message,
    Origin,
    Parallel,
    Question,
    Record,
    Scored,
    Tagged,
)
from ownlm.data.tasks.rows import Row, read_lines
from ownlm.errors import DataError

SOURCES = (*TEXTS, "source", "src", "dialogue", "document", "article", "instruction")
Build = Callable[[Row], Record]


def read_inputs(config: TaskDataConfig, task: Task) -> Iterator[Record]:
    """The records of a file or folder: rows of a table or of JSON, or lines of plain text.

    DataError for what cannot be read, with its path and line.
    """
    plain = [s for s in discover(Path(config.path), config.files, KINDS).sources if is_plain(s)]
    if plain and task != "span":
        for source in plain:
            yield from _lines(source, task, config)
        return
    parts, faults = read_parts(config, task)
    faults += [fault for part in parts for fault in part.reading.faults]
    if faults:
        raise DataError(faults[0].reason, where=faults[0].where)
    rows = [row for part in parts for row in part.reading.rows]
    if not rows:
        raise DataError("no records", where=shown(config.path))
    columns = Columns(list(rows[0].fields), rows, parts[0].name)
    build = _builder(columns, config, task)
    for row in rows:
        try:
            yield build(row)
        except Bad as bad:
            fault = bad.at(*row.origin)
            raise DataError(fault.reason, where=fault.where) from None


def is_plain(source: Source) -> bool:
    """Whether a file is text without columns."""
    return source.kind == ".txt"


def typed(text: str, other: str, task: Task, origin: Origin) -> Record:
    """The record of a text that someone typed, and of a second one: a pair's, or the context of
    a question. Bad for a blank one."""
    if not text.strip():
        raise Bad("empty-text", "the text is empty")
    if task == "tag":
        words = tuple(text.split())
        return Tagged(origin=origin, words=words, tags=())
    if task == "span":
        return Question(origin=origin, context=other, question=text, answers=())
    if task == "seq2seq":
        return Parallel(origin=origin, source=text, target="")
    if task == "chat":
        return Conversation(origin=origin, messages=(Message("user", text),))
    if task == "regress":
        return Scored(origin=origin, text=text, pair=other or None, score=math.nan)
    return Labelled(origin=origin, text=text, pair=other or None, labels=())


def _lines(source: Source, task: Task, config: TaskDataConfig) -> Iterator[Record]:
    for number, text, _ in read_lines(source, source.name, config, []):
        if text.strip():
            yield typed(text.rstrip("\r"), "", task, Origin(source.name, str(number)))


def _builder(columns: Columns, config: TaskDataConfig, task: Task) -> Build:
    if task == "chat":
        return chat(columns, config, Notes())
    if task == "tag":
        words = columns.need("words", config.text_column, WORDS, TEXT)
        return lambda row: _tagged(row, words)
    if task == "span":
        context = columns.need("context", config.text_column, ("context",), TEXT)
        question = columns.need("question", "", ("question",), TEXT)
        return lambda row: typed(text_of(row, question), text_of(row, context), task, row.origin)
    _choose(columns, config, task)
    used = dict(columns.used)
    return lambda row: typed(
        text_of(row, used["text"]),
        text_of(row, used["pair"]) if "pair" in used else "",
        task,
        row.origin,
    )


def _choose(columns: Columns, config: TaskDataConfig, task: Task) -> None:
    """The columns that are read; of files as they are learned from, not the answers."""
    asked = config.text_column or config.source_column
    if not asked and task == "seq2seq":
        texts = columns.texts()
        if columns.pair(("text", "target"), SIDES):
            return
        if len(texts) == 2:  # a source and its target
            columns.used["text"] = texts[0]
            return
    if not asked and columns.pair(("text", "pair"), PAIRS):
        return
    if not columns.find("text", asked, SOURCES, TEXT):
        columns.only("text", columns.texts(), TEXT)
    if config.pair_column:
        columns.find("pair", config.pair_column, (), PAIR)


def _tagged(row: Row, name: str) -> Tagged:
    words = row.fields.get(name)
    if not isinstance(words, list) or not words:
        raise Bad("missing-field", f"field {name!r} is no list of words")
    return Tagged(
        origin=row.origin,
        words=tuple(map(str, words)),
        tags=(),
        predicate=row.fields.get("predicate"),
    )
