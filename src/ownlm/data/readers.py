"""One reader a format: an open source in, texts or faults out, one row held at a time."""

import csv
import functools
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO, NamedTuple

from ownlm.data.config import DataConfig
from ownlm.data.faults import Bad, Fault
from ownlm.data.sources import Source
from ownlm.data.streams import Line, chunks, lines
from ownlm.errors import ConfigError

FIELDS = ("text", "content", "document", "body", "article", "story", "sentence", "raw_content")
_BATCH = 32 << 20  # bytes of a parquet column held at a time
_DIGITS = 4300  # longest integer in JSON that is read: longer ones take quadratic time


class Row(NamedTuple):
    """The text of one row and its line, both as found."""

    line: int
    text: str


class Column:
    """Which field holds the text: the one asked for, or the first known name met, then kept."""

    def __init__(self, asked: str) -> None:
        self.name = asked

    def choose(self, names: Collection[str]) -> str:
        """The field to read from a row that has `names`; Bad lists them when there is none."""
        self.name = self.name or next((name for name in FIELDS if name in names), "")
        if self.name in names:
            return self.name
        wanted = repr(self.name) if self.name else "of text"
        listed = ", ".join(map(repr, list(names)[:8])) or "nothing"
        raise Bad("missing-field", f"no field {wanted} among {listed}; see --data.text-field")


def read_jsonl(file: BinaryIO, source: Source, config: DataConfig) -> Iterator[Row | Fault]:
    """JSON lines, strictly: duplicate keys, NaN and lone surrogates are faults; blank lines not."""
    column = Column(config.text_field)
    stream = chunks(file, source.compression, config.max_expansion)
    for line in lines(stream, config.max_record_bytes):
        try:
            content = _utf8(line, config.max_record_bytes)
            if content.strip(" \t\r"):
                yield Row(line.number, _text_of(_parse(content, line.ended), column))
        except Bad as bad:
            yield bad.at(source.name, line.number)


def read_csv(file: BinaryIO, source: Source, config: DataConfig) -> Iterator[Row | Fault]:
    """Comma-separated rows after a header line; cells may hold line ends inside quotes."""
    csv.field_size_limit(config.max_record_bytes)
    stream = lines(chunks(file, source.compression, config.max_expansion), config.max_record_bytes)
    # map, not a generator: it goes on after a line that raises.
    decode = functools.partial(_utf8, longest=config.max_record_bytes, end="\n")
    rows = csv.reader(map(decode, stream), strict=True)
    column, header, line = Column(config.text_field), [""], 1
    while True:
        try:
            cells = next(rows)
            if line == 1:
                header = cells
                _choose_once(column, header)
            elif cells:
                yield Row(line, _cell(cells, header, column))
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
    """One column of a parquet file, in batches whose size follows the size of its rows."""
    pyarrow = _pyarrow()
    try:
        handle = pyarrow.PythonFile(file, mode="r")
        metadata = pyarrow.parquet.read_metadata(handle)
        schema = metadata.schema.to_arrow_schema()
        name = Column(config.text_field).choose(schema.names)
        if str(schema.field(name).type) not in ("string", "large_string"):
            raise Bad("not-a-string", f"column {name!r} holds {schema.field(name).type}, not text")
        rows, repeated = _batching(metadata, name, config)
        table = pyarrow.parquet.ParquetFile(
            handle,
            read_dictionary=[name] if repeated else None,
            buffer_size=1 << 20,
            pre_buffer=False,
        )
        batches = table.iter_batches(rows, columns=[name])
        cells = (cell for batch in batches for cell in batch.column(0))
        for number, cell in enumerate(cells, start=1):
            try:
                yield Row(number, _sound(_value(cell, config.max_record_bytes), name))
            except Bad as bad:
                yield bad.at(source.name, number)
    except (pyarrow.ArrowException, OSError) as error:
        raise Bad("bad-parquet", f"not sound parquet data: {error}") from None


READERS: dict[str, Callable[[BinaryIO, Source, DataConfig], Iterator[Row | Fault]]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
}


def _utf8(line: Line, longest: int, end: str = "") -> str:
    if line.data is None:
        raise Bad("long-line", f"a line of more than {longest:,} bytes")
    try:
        return line.data.decode("utf-8") + end
    except UnicodeDecodeError as error:
        reason = (
            f"not UTF-8 (byte 0x{line.data[error.start]:02X} at byte {error.start} of the line)"
        )
        raise Bad("encoding", reason) from None


def _parse(content: str, ended: bool) -> Any:
    """One JSON value; Bad says which rule it breaks."""
    try:
        return _DECODER.decode(content)
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


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)


def _text_of(value: Any, column: Column) -> str:
    if not isinstance(value, dict):
        raise Bad("not-an-object", f"a JSON {type(value).__name__} instead of an object")
    name = column.choose(value)
    return _sound(value[name], name)


def _sound(value: Any, name: str) -> str:
    """`value` when it is text that UTF-8 can hold."""
    if value is None:
        raise Bad("null-text", f"field {name!r} is null")
    if not isinstance(value, str):
        raise Bad("not-a-string", f"field {name!r} is of type {type(value).__name__}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        lone = f"\\u{ord(value[error.start]):04x}"
        raise Bad("lone-surrogate", f"{lone} without its other half in field {name!r}") from None
    return value


def _choose_once(column: Column, header: list[str]) -> None:
    if header.count(column.choose(header)) > 1:
        raise Bad("duplicate-key", f"column {column.name!r} twice in the header")


def _cell(cells: list[str], header: list[str], column: Column) -> str:
    if len(cells) != len(header):
        raise Bad("bad-csv", f"{len(cells)} cells, the header has {len(header)}")
    return cells[header.index(column.name)]


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
    if value is not None and len(value) > longest:
        raise Bad("long-line", f"a cell of more than {longest:,} characters")
    return value
