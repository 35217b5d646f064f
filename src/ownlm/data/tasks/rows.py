"""Rows: what every format is read into before a task makes records of them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ownlm.data.encoding import explain
from ownlm.data.faults import Bad, Fault
from ownlm.data.readers import utf8
from ownlm.data.sources import Source
from ownlm.data.streams import chunks, lines
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.records import Origin

COUNTED = 1000
"""Faults of a file after which it is not read further."""


class Row(NamedTuple):
    """One example as found: values by the name of their column or field."""

    origin: Origin
    fields: dict[str, Any]
    group: str = ""


@dataclass
class Reading:
    """What one file held."""

    format: str  # in a word: table, json, squad, conll, conllu, lines, folders, aligned
    described: str  # for people: "comma-separated, first row names the columns"
    names: list[str]  # of columns or fields, in order
    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class Text(NamedTuple):
    """A line of a file, from 1, without its \\n; a \\r before it is still there."""

    number: int
    text: str
    ended: bool = True  # False for a last line without its line end


def read_lines(
    source: Source, name: str, config: TaskDataConfig, faults: list[Fault]
) -> list[Text]:
    """All lines of a file; those that are no UTF-8 or too long become faults."""
    found: list[Text] = []
    try:
        with source.open() as file:
            stream = chunks(file, source.compression, config.max_expansion)
            for line in lines(stream, config.max_record_bytes):
                try:
                    text = utf8(line, config.max_record_bytes)
                    found.append(Text(line.number, text, line.ended))
                except Bad as bad:
                    faults.append(_explained(bad, line.data, not faults).at(name, line.number))
                if len(faults) >= COUNTED:
                    break
    except Bad as bad:
        faults.append(bad.at(name))
    except OSError as error:
        faults.append(Fault("unreadable", name, "", f"cannot be read: {error.strerror}"))
    return found


def _explained(bad: Bad, data: bytes | None, first: bool) -> Bad:
    """The first line that is no UTF-8 says which encoding it looks like: asking takes time."""
    if bad.kind != "encoding" or data is None or not first:
        return bad
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        around = data[max(0, error.start - 2000) : error.start + 2000]
        return Bad("encoding", explain(around, data[error.start], error.start).reason)
    return bad
