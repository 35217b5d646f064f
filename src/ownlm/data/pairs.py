"""Parallel text: a pair a line, its two sides in columns, or in two files line by line."""

import itertools
import os
from collections.abc import Iterator
from typing import BinaryIO

from ownlm.data.config import DataConfig
from ownlm.data.faults import Bad, Fault
from ownlm.data.fields import Row, paired
from ownlm.data.readers import utf8
from ownlm.data.sources import Found, Source, shown, source
from ownlm.data.streams import Line, chunks, lines
from ownlm.errors import ConfigError, DataError

ALIGNED = ".aligned"
"""The kind of a file whose lines are the sources of another's."""
PAIR_KINDS = (".tsv", ".txt", ".jsonl", ".csv", ".parquet")
"""Files that pairs are read from."""


def read_tsv(file: BinaryIO, source: Source, config: DataConfig) -> Iterator[Row | Fault]:
    """Lines of columns between tabs; blank lines are passed over, more columns than asked for not
    read. Where columns are asked for by name the first line names them."""
    asked = (config.source_field or "1", config.target_field or "2")
    columns = None if not all(map(str.isdecimal, asked)) else [int(name) - 1 for name in asked]
    stream = chunks(file, source.compression, config.max_expansion)
    for line in lines(stream, config.max_record_bytes):
        try:
            cells = utf8(line, config.max_record_bytes).rstrip("\r").split("\t")
            if columns is None:
                columns = _named(cells, asked)
            elif any(cell.strip() for cell in cells):
                yield Row(line.number, _pair(cells, columns))
        except Bad as bad:
            yield bad.at(source.name, line.number)
            if columns is None:
                return  # nothing can be read without the names


def _named(cells: list[str], asked: tuple[str, str]) -> list[int]:
    for name in asked:
        if cells.count(name) != 1:
            listed = ", ".join(map(repr, cells[:8]))
            raise Bad("missing-field", f"no one column {name!r} among {listed}")
    return [cells.index(name) for name in asked]


def _pair(cells: list[str], columns: list[int]) -> str:
    if max(columns) >= len(cells):
        count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
        wanted = " and ".join(str(column + 1) for column in columns)
        raise Bad("missing-field", f"{count}; a pair is in columns {wanted}, with a tab between")
    return paired(*(cells[column].strip() for column in columns))


def find_aligned(path: str, other: str) -> Found:
    """The file at `path` as one source, once the other is known to be there too."""
    both = []
    for name in (path, other):
        real = os.path.realpath(name)
        if not os.path.isfile(real):
            raise DataError(
                "no such file",
                where=shown(name),
                next_command="name two files of equally many lines: --data FILE and "
                "--data.target-path FILE",
            )
        both.append(source(real, shown(name), (ALIGNED, _compression(real)), os.stat(real)))
    both[0].other = both[1]
    return Found(sources=both[:1])


def read_aligned(file: BinaryIO, one: Source, config: DataConfig) -> Iterator[Row | Fault]:
    """Line n of `file` and line n of the other file; Bad where one has more lines."""
    other, longest = one.other, config.max_record_bytes
    assert other is not None, "made together"
    with other.open() as second:
        streams = (
            lines(chunks(opened, kind.compression, config.max_expansion), longest)
            for opened, kind in ((file, one), (second, other))
        )
        number = 0
        for number, sides in enumerate(itertools.zip_longest(*streams), start=1):
            try:
                yield Row(number, paired(*_sides(sides, longest, other.name)))
            except Bad as bad:
                yield bad.at(one.name, number)
                if bad.kind == "not-aligned":
                    return


def _sides(sides: tuple[Line | None, ...], longest: int, other: str) -> Iterator[str]:
    if None in sides:
        place = "this file ends before it" if sides[0] is None else f"{other} ends before it"
        raise Bad("not-aligned", f"line without its other side: {place}")
    for line in sides:
        assert line is not None
        yield utf8(line, longest).strip()


def _compression(path: str) -> str:
    ending = os.path.splitext(path)[1].lower()
    return ending if ending in (".gz", ".zst") else ""


def require_fit(config: DataConfig) -> None:
    """ConfigError for options of pairs without pairs, and for pairs that would be torn."""
    given = [name for name in ("source_field", "target_field", "target_path")
             if getattr(config, name)]  # fmt: skip
    if given and not config.pairs:
        raise ConfigError(
            f"{given[0]} is for pairs", where=f"data.{given[0]}",
            next_command="--objective.kind seq2seq; of `ownlm prepare` --data.pairs",
        )  # fmt: skip
    if config.pairs and config.split == "tail":
        raise ConfigError(
            "the end of every pair cannot be kept for validation", where="data.split",
            next_command="--data.split documents, or leave it out",
        )  # fmt: skip
    if config.pairs and config.codes:
        raise ConfigError(
            "pairs have no control codes", where="data.codes", next_command="leave out --data.codes"
        )
    if config.pairs and config.text_field:
        raise ConfigError(
            "a pair has two fields", where="data.text_field",
            next_command="--data.source-field and --data.target-field",
        )  # fmt: skip
