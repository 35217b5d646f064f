"""Tables: .csv and .tsv, their delimiter, quotes and header recognised from their content.

A comma stands inside quotes; a tab rarely does, and a file of tabs may hold quotes that are
text. So quotes mean something between tabs only where reading them makes the table even.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from ownlm.data.faults import Fault
from ownlm.data.sources import Source
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.names import KNOWN
from ownlm.data.tasks.records import Origin
from ownlm.data.tasks.rows import COUNTED, Reading, Row, Text, read_lines
from ownlm.errors import DataError

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|"}
OWN = {".csv": "comma", ".tsv": "tab"}
_SAMPLE = 500  # rows from which a delimiter is recognised
_EVEN = 0.9  # share of rows that must have the same number of cells
_SHORT = 40  # characters: a longer cell is no name of a column
_FEW = 5  # rows per value, at least, of a column of few values


class Cells(NamedTuple):
    """One row of a table and the line where it starts."""

    line: int
    cells: list[str]


def read_table(source: Source, name: str, config: TaskDataConfig) -> Reading:
    """All rows of a table by the names of its columns, or by their numbers without a header.

    Raises DataError where the delimiter cannot be told.
    """
    faults: list[Fault] = []
    lines = read_lines(source, name, config, faults)
    word = recognise_delimiter(lines, source.kind, name, config)
    quoted = word != "tab" or _quoted_tabs(lines)
    rows = list(_rows(lines, DELIMITERS[word], quoted, name, faults))
    headed = bool(rows) and _is_header(rows, config)
    width = len(rows[0].cells) if headed else _width(rows)
    header = [cell.strip() for cell in rows[0].cells] if headed else []
    names = [cell if cell and header.count(cell) == 1 else str(number) for number, cell in
             enumerate(header or [""] * width, start=1)]  # fmt: skip
    told = f"{word}-separated" + (", quotes are text" if not quoted else "")
    told += ", the first row names the columns" if headed else ", no header: columns by number"
    reading = Reading("table", told, names, faults=faults)
    if twice := sorted({cell for cell in header if cell and header.count(cell) > 1}):
        reading.described += f" ({', '.join(map(repr, twice))} twice: known by number only)"
    for line, cells in rows[headed:]:
        if len(cells) == width:
            reading.rows.append(Row(Origin(name, str(line)), dict(zip(names, cells))))
        elif len(faults) < COUNTED:
            reason = (
                f"{len(cells)} cells where the table has {width}; quote the delimiter in a cell"
            )
            faults.append(Fault("uneven", name, str(line), reason))
    return reading


def recognise_delimiter(lines: list[Text], kind: str, name: str, config: TaskDataConfig) -> str:
    """The delimiter in a word: the one stated, the one of the ending, or the one that fits."""
    if config.delimiter != "auto":
        return config.delimiter
    even = [word for word in DELIMITERS if is_even(lines[:_SAMPLE], word)]
    own = OWN.get(kind, "tab")
    if own in even or not even:
        return own
    if len(even) > 1:
        raise DataError(
            f"columns could be divided by {' or '.join(even)}",
            where=name,
            next_command=f"--data.delimiter {even[0]}, or another of these",
        )
    return even[0]


def is_even(lines: list[Text], word: str) -> bool:
    """Whether nearly all rows have the same number of cells, more than one."""
    quoted = word != "tab" or _quoted_tabs(lines)
    widths = Counter(len(cells) for _, cells in _rows(lines, DELIMITERS[word], quoted, "", []))
    if not widths:
        return False
    width, count = max(widths.items(), key=lambda item: item[1])
    return width > 1 and count >= _EVEN * widths.total()


def _quoted_tabs(lines: list[Text]) -> bool:
    """Whether quotes enclose cells: some column is quoted throughout, or evenness needs it."""
    sample = [line for line in lines[:_SAMPLE] if line.text.strip()]
    if not any('"' in line.text for line in sample):
        return False
    plain = [cells for _, cells in _rows(sample, "\t", False, "", [])]
    faults: list[Fault] = []
    read = [cells for _, cells in _rows(sample, "\t", True, "", faults)]
    if len(set(map(len, plain))) == 1:
        columns = zip(*plain[1:]) if len(plain) > 1 else zip(*plain)
        return any(all(_enclosed(cell) for cell in column) for column in columns)
    return len(set(map(len, read))) == 1 and not faults


def _enclosed(cell: str) -> bool:
    return len(cell) > 1 and cell.startswith('"') and cell.endswith('"')


def _rows(
    lines: list[Text], delimiter: str, quoted: bool, name: str, faults: list[Fault]
) -> Iterator[Cells]:
    """Rows that are not blank; what quotes break becomes a fault."""
    if not quoted:
        for number, text, _ in lines:
            if text.strip():
                yield Cells(number, text.removesuffix("\r").split(delimiter))
        return
    csv.field_size_limit(max([1 << 17, *(len(line.text) + 1 for line in lines)]) * 2)
    reader = csv.reader((line.text + "\n" for line in lines), delimiter=delimiter, strict=True)
    read = 0
    while True:
        start = lines[read].number if read < len(lines) else 0
        try:
            cells = next(reader)
            if any(cell.strip() for cell in cells):
                yield Cells(start, cells)
        except StopIteration:
            return
        except csv.Error as error:
            reason = f"{error}: a quote that is text is written twice, inside a quoted cell"
            faults.append(Fault("bad-csv", name, str(start), reason))
        read = reader.line_num


def _width(rows: list[Cells]) -> int:
    """The number of cells that most rows have."""
    return Counter(len(row.cells) for row in rows).most_common(1)[0][0] if rows else 0


def _is_header(rows: list[Cells], config: TaskDataConfig) -> bool:
    """Whether the first row names the columns: as stated, by known names, or by being unlike."""
    if config.header != "auto":
        return config.header == "yes"
    first = [cell.strip() for cell in rows[0].cells]
    asked = {config.text_column, config.pair_column, config.label_column, config.score_column,
             config.source_column, config.target_column}  # fmt: skip
    if any(name in first and not name.isdecimal() for name in asked):
        return True
    if any(len(cell) > _SHORT or _is_number(cell) for cell in first):
        return False
    if any(cell.lower() in KNOWN for cell in first):
        return True
    rest = [row.cells for row in rows[1:] if len(row.cells) == len(first)]
    return bool(rest) and any(
        _unlike(cell, [cells[column] for cells in rest]) for column, cell in enumerate(first)
    )


def _unlike(cell: str, below: list[str]) -> bool:
    """Whether a cell names its column: no number above numbers, no value of a few values."""
    if all(map(_is_number, below)):
        return bool(cell) and not _is_number(cell)
    values = set(below)
    few = len(values) * _FEW <= len(below)
    return few and cell not in values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
