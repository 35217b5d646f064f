"""One reader a format: an open source in, texts or faults out, one row held at a time."""

import csv
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from ownlm.data.config import DataConfig
from ownlm.data.faults import Bad, Fault
from ownlm.data.fields import Fields, Row
from ownlm.data.sources import Source
from ownlm.data.streams import Line, chunks, lines
from ownlm.errors import ConfigError

_BATCH = 32 << 20  # bytes of a parquet column held at a time
_DIGITS = 4300  # longest integer in JSON that is read: longer ones take quadratic time


def read_jsonl(file: BinaryIO, source: Source, config: DataConfig) -> Iterator[Row | Fault]:
    """JSON lines, strictly: duplicate keys, NaN and lone surrogates are faults; blank lines not."""
    fields = Fields(config)
    stream = chunks(file, source.compression, config.max_expansion)
    for line in lines(stream, config.max_record_bytes):
        try:
            content = utf8(line, config.max_record_bytes)
            if content.strip(" \t\r"):
                yield _row(line.number, parse_json(content, line.ended), fields)
        except Bad as bad:
            yield bad.at(source.name, line.number)


def read_csv(file: BinaryIO, source: Source, config: DataConfig) -> Iterator[Row | Fault]:
    """Comma-separated rows after a header line; cells may hold line ends inside quotes."""
    csv.field_size_limit(config.max_record_bytes)
    stream = lines(chunks(file, source.compression, config.max_expansion), config.max_record_bytes)
    # map, not a generator: it goes on after a line that raises.
    decode = functools.partial(utf8, longest=config.max_record_bytes, end="\n")
    rows = csv.reader(map(decode, stream), strict=True)
    fields, header, names, line = Fields(config), [""], [""], 1
    while True:
        try:
            cells = next(rows)
            if line == 1:
                header = cells
                names = _choose_once(fields, header)
            elif cells:
                yield fields.row(line, _cells(cells, header, names))
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault("bad-csv", source.name, str(line), str(error))
        except Bad as bad:
            yield bad.at(source.name, line)
            if line == 1:
                return  # nothing can be read without a header
        line = rows.line_num + 1


def read_parquet(file: BinaryIO, source: Source, config: DataConfig) -> Iterator[Row | Fault]:
    """Columns of a parquet file, in batches whose size follows the size of their rows."""
    pyarrow = _pyarrow()
    try:
        handle = pyarrow.PythonFile(file, mode="r")
        metadata = pyarrow.parquet.read_metadata(handle)
        schema = metadata.schema.to_arrow_schema()
        fields = Fields(config)
        names = fields.choose(schema.names)
        texts = _text_columns(names, schema, coded=fields.coded)
        plans = {name: _batching(metadata, name, config) for name in texts}
        table = pyarrow.parquet.ParquetFile(
            handle,
            read_dictionary=[name for name, plan in plans.items() if plan[1]] or None,
            buffer_size=1 << 20,
            pre_buffer=False,
        )
        batches = table.iter_batches(
            min(rows for rows, _ in plans.values()), columns=[*dict.fromkeys(names)]
        )
        rows = (row for batch in batches for row in zip(*map(batch.column, names)))
        for number, cells in enumerate(rows, start=1):
            try:
                values = [_value(cell, config.max_record_bytes) for cell in cells]
                yield fields.row(number, values)
            except Bad as bad:
                yield bad.at(source.name, number)
    except (pyarrow.ArrowException, OSError) as error:
        raise Bad("bad-parquet", f"not sound parquet data: {error}") from None


def utf8(line: Line, longest: int, end: str = "") -> str:
    """The text of a line; Bad for one that is too long or no UTF-8."""
    if line.data is None:
        raise Bad("long-line", f"a line of more than {longest:,} bytes")
    try:
        return line.data.decode("utf-8") + end
    except UnicodeDecodeError as error:
        reason = (
            f"not UTF-8 (byte 0x{line.data[error.start]:02X} at byte {error.start} of the line)"
        )
        raise Bad("encoding", reason) from None


def parse_json(content: str, ended: bool) -> Any:
    """One JSON value; Bad says which rule it breaks."""
    try:
        return DECODER.decode(content)
    except json.JSONDecodeError as error:
        if not ended:
            raise Bad("torn-line", "the last line is cut off and has no line end") from None
        raise Bad("bad-json", f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise Bad("deep-json", "JSON nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Bad("duplicate-key", f"key {twice!r} twice in one object")
    return value


def _constant(name: str) -> None:
    raise Bad("nan", f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise Bad("huge-number", f"an integer of {len(digits):,} digits")
    return int(digits)


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
"""Strict: Bad for a key twice in one object, NaN, and integers that take long to read."""


def _row(line: int, value: Any, fields: Fields) -> Row:
    if not isinstance(value, dict):
        raise Bad("not-an-object", f"a JSON {type(value).__name__} instead of an object")
    return fields.row(line, [value[name] for name in fields.choose(value)])


def _choose_once(fields: Fields, header: list[str]) -> list[str]:
    names = fields.choose(header)
    if twice := [name for name in names if header.count(name) > 1]:
        raise Bad("duplicate-key", f"column {twice[0]!r} twice in the header")
    return names


def _cells(cells: list[str], header: list[str], names: list[str]) -> list[str]:
    if len(cells) != len(header):
        raise Bad("bad-csv", f"{len(cells)} cells, the header has {len(header)}")
    return [cells[header.index(name)] for name in names]


def _text_columns(names: list[str], schema: Any, *, coded: bool) -> list[str]:
    """Those of `names` that hold text: all, but for a control code that is a number."""
    kinds = {name: str(schema.field(name).type) for name in names}
    texts = [name for name in kinds if kinds[name] in ("string", "large_string")]
    numbers = names[-1:] if coded and kinds[names[-1]].startswith(("int", "uint")) else []
    for name in names:
        if name not in texts + numbers:
            raise Bad("not-a-string", f"column {name!r} holds {kinds[name]}, not text")
    return texts


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            ".parquet files need pyarrow", next_command="pip install 'ownlm[data]'"
        ) from None
    return pyarrow


def _batching(metadata: Any, name: str, config: DataConfig) -> tuple[int, bool]:
    """Rows a batch so that it stays near 32 MB, and whether to read values as a dictionary.

    A value that is written once and repeated a million times takes no room in the file. Small
    columns are read as a dictionary then, which holds it once; of large ones few rows at a time,
    since Arrow's dictionary holds all values of a row group. Bad for a column that is a bomb.
    """
    largest, repeated, size = 1, False, 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = map(group.column, range(group.num_columns))
        column = next(c for c in columns if c.path_in_schema == name)
        full, small = column.total_uncompressed_size, max(column.total_compressed_size, 1 << 16)
        if full > config.max_expansion * small:
            raise Bad("bomb", f"column {name!r} grows more than {config.max_expansion}-fold")
        largest = max(largest, full // max(group.num_rows, 1))
        repeated, size = repeated or column.has_dictionary_page, max(size, full)
    rows = max(1, min(1024, _BATCH // largest))
    return (min(rows, 16), False) if repeated and size > 2 * _BATCH else (rows, repeated)


def _value(cell: Any, longest: int) -> Any:
    try:
        value = cell.as_py()
    except UnicodeDecodeError as error:
        raise Bad("encoding", f"not UTF-8 (at byte {error.start} of the cell)") from None
    if isinstance(value, str) and len(value) > longest:
        raise Bad("long-line", f"a cell of more than {longest:,} characters")
    return value


READERS: dict[str, Callable[[BinaryIO, Source, DataConfig], Iterator[Row | Fault]]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
