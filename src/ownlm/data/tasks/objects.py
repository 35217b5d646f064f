"""JSON: lines of objects, one array of them, or the document of SQuAD; read as strictly as text."""

import json
from collections.abc import Iterator
from typing import Any

from ownlm.data.faults import Bad, Fault
from ownlm.data.readers import DECODER, parse_json
from ownlm.data.sources import Source
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.records import Origin
from ownlm.data.tasks.rows import COUNTED, Reading, Row, Text, read_lines

_BLANK = " \t\r\n"
_WRAPPED = ("data", "train", "examples", "records", "rows", "instances")
"""Fields of an object under which an array of the examples may lie."""


def read_json(source: Source, name: str, config: TaskDataConfig) -> Reading:
    """Every object of a file as a row; an array's objects stand at the line they begin on."""
    faults: list[Fault] = []
    lines = read_lines(source, name, config, faults)
    start = next((line.text.lstrip() for line in lines if line.text.strip()), "")
    if source.kind == ".jsonl" or (start.startswith("{") and _is_complete(start)):
        reading = Reading("json", "JSON lines", [], faults=faults)
        items = _lines(lines, name, faults)
    else:
        text = "\n".join(line.text for line in lines)
        reading = Reading("json", "a JSON array", [], faults=faults)
        items = (
            _array(text, name, faults) if start.startswith("[") else _document(text, name, faults)
        )
    for origin, value in items:
        if not isinstance(value, dict):
            faults.append(Fault("not-an-object", *origin, f"{_kind(value)} instead of an object"))
        else:
            reading.rows.append(Row(origin, value))
        if len(faults) >= COUNTED:
            break
    _unfold_squad(reading)
    reading.names = list(dict.fromkeys(key for row in reading.rows for key in row.fields))
    return reading


def _is_complete(line: str) -> bool:
    """Whether a line is a whole JSON value, as in JSON lines; a document begins with less."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return not any(isinstance(value.get(key), list) for key in _WRAPPED)


def _lines(lines: list[Text], name: str, faults: list[Fault]) -> Iterator[tuple[Origin, Any]]:
    for number, text, ended in lines:
        if not text.strip(_BLANK):
            continue
        try:
            yield Origin(name, str(number)), parse_json(text, ended)
        except Bad as bad:
            faults.append(bad.at(name, number))


def _array(text: str, name: str, faults: list[Fault], at: int = 0) -> Iterator[tuple[Origin, Any]]:
    """The items of the array that begins at or after `at`; a fault ends it, since nothing tells
    where the next item begins."""
    at, line, number = text.index("[", at) + 1, text.count("\n", 0, at) + 1, 0
    counted = at
    while True:
        at = _skip(text, at)
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            break
        number += 1
        place = str(line) if "\n" in text.strip() else f"{line}, item {number}"
        try:
            value, at = _item(text, at)
        except Bad as bad:
            reason = f"{bad.reason}; nothing after it is read (item {number} of the array)"
            faults.append(Fault(bad.kind, name, place, reason))
            return
        yield Origin(name, place), value
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "]":
            what = "the array is cut off" if at >= len(text) else "no comma or ] after an item"
            faults.append(Fault("bad-json", name, place, f"{what} after item {number}"))
            return
    if text[at + 1 :].strip(_BLANK + "}") and not text[at + 1 :].lstrip(_BLANK).startswith(","):
        line += text.count("\n", counted, at)
        faults.append(Fault("bad-json", name, str(line), "text after the end of the array"))


def _item(text: str, at: int) -> tuple[Any, int]:
    try:
        return DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise Bad("torn-line", "the file is cut off inside an item") from None
        raise Bad("bad-json", f"not JSON: {error.msg} at line {error.lineno}") from None
    except RecursionError:
        raise Bad("deep-json", "JSON nested too deeply") from None


def _document(text: str, name: str, faults: list[Fault]) -> Iterator[tuple[Origin, Any]]:
    """The objects of one object: those of its field `data` or another known one, else itself."""
    try:
        value = _item(text, _skip(text, 0))[0] if text.strip() else {}
    except Bad as bad:
        faults.append(bad.at(name, "1"))
        return
    key = next(
        (k for k in _WRAPPED if isinstance(value, dict) and isinstance(value.get(k), list)), ""
    )
    if not key:
        if value:
            yield Origin(name, "1"), value
        return
    yield from _array(text, name, faults, text.index(json.dumps(key)))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _kind(value: Any) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "null")


def _unfold_squad(reading: Reading) -> None:
    """Articles of SQuAD become a row a question; answers that a question has in v2 only by guess
    are not read."""
    if not any("paragraphs" in row.fields for row in reading.rows):
        return
    reading.format, reading.described = "squad", "SQuAD: articles, paragraphs, questions"
    articles, reading.rows = reading.rows, []
    for number, (origin, fields, _) in enumerate(articles, start=1):
        title = fields.get("title") or f"article {number}"
        try:
            reading.rows.extend(_questions(origin, fields, str(title)))
        except (KeyError, TypeError) as error:
            reason = f"not an article of SQuAD: {type(error).__name__} {error}"
            reading.faults.append(Fault("bad-squad", *origin, reason))


def _questions(origin: Origin, article: dict[str, Any], title: str) -> Iterator[Row]:
    for paragraph in article["paragraphs"]:
        for asked in paragraph["qas"]:
            place = Origin(origin.path, f"{origin.place}, question {asked.get('id') or '?'}")
            known = {"context": paragraph["context"]} | {
                key: asked[key]
                for key in ("id", "question", "answers", "is_impossible")
                if key in asked
            }
            yield Row(place, known, title)
