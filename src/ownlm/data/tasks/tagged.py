"""Rows to words with tags. Chunks become B-X and I-X whatever the scheme they came in."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from ownlm.data.faults import Bad
from ownlm.data.fields import sound
from ownlm.data.tasks.choose import Columns
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.names import TAGS, WORDS
from ownlm.data.tasks.notes import Notes
from ownlm.data.tasks.records import Tagged
from ownlm.data.tasks.rows import Row

_CHUNK = re.compile(r"O|[BIESLU]-.+")
_AS_BIO = {"E": "I", "L": "I", "S": "B", "U": "B"}


def tag(columns: Columns, config: TaskDataConfig, notes: Notes) -> Callable[[Row], Tagged]:
    """Words and their tags; chunks without a beginning get one, which is noted."""
    words = columns.need("words", "", WORDS, "--data.text-column")
    tags = columns.need("tags", "", TAGS, "--data.label-column")
    chunks = is_chunks(one for values in columns.values(tags) for one in values or ())

    def build(row: Row) -> Tagged:
        found = _list(row, words), _list(row, tags)
        if len(found[0]) != len(found[1]):
            raise Bad("uneven", f"{len(found[0])} words and {len(found[1])} tags")
        if not found[0]:
            raise Bad("empty-text", "no words")
        for number, (word, one) in enumerate(zip(*found), start=1):
            if not word or not one:
                what = f"word {number}, {word!r}, has no tag" if word else f"word {number} is empty"
                raise Bad("no-label", what)
        read = found[1]
        if chunks:
            read, mended = as_bio(read)
            if mended:
                what = "chunks that began with I-, read as B-"
                notes.add(what, row.origin.where, mended)
        return Tagged(
            origin=row.origin, group=row.group, words=tuple(found[0]), tags=tuple(read),
            predicate=row.fields.get("predicate"),
        )  # fmt: skip

    return build


def is_chunks(tags: Iterable[Any]) -> bool:
    """Whether all tags are O or a chunk's (B-, I-, and of BIOES and BILOU the others)."""
    kinds = set(map(str, tags))
    return bool(kinds - {"O"}) and all(_CHUNK.fullmatch(one) for one in kinds)


def as_bio(tags: list[str]) -> tuple[list[str], int]:
    """The same chunks with B- at each beginning and I- inside, and how many had begun with I-.

    >>> as_bio(["I-LOC", "E-LOC", "O", "S-PER"])
    (['B-LOC', 'I-LOC', 'O', 'B-PER'], 1)
    """
    read, mended, before = [], 0, "O"
    for one in tags:
        if one != "O":
            one = _AS_BIO.get(one[0], one[0]) + one[1:]
            if one[0] == "I" and before[2:] != one[2:]:
                one, mended = "B" + one[1:], mended + 1
        read.append(one)
        before = one
    return read, mended


def _list(row: Row, name: str) -> list[str]:
    values = row.fields.get(name)
    if not isinstance(values, list):
        raise Bad("missing-field", f"field {name!r} is no list of texts")
    return [str(one) if isinstance(one, int) else sound(one, name) for one in values]
