"""Bytes of an open source as a stream: decompressed, decoded, cut into lines, always bounded.

Nothing here holds more than a few chunks, whatever the file contains: a bomb, a line of a
gigabyte, a member that ends too early.
"""

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from ownlm.data.encoding import BOM, explain, require_text
from ownlm.data.faults import Bad
from ownlm.errors import ConfigError

CHUNK = 1 << 20  # bytes read or decompressed at a time
_HARMLESS = 16 << 20  # bytes a compressed file may always grow to
_ZSTD_SLICE = 1024  # compressed bytes at a time: at most 32 MB of text, even from a bomb
_ZSTD_WINDOW = 1 << 27  # memory a zstd frame may ask for


class Line(NamedTuple):
    """One line without its line end; `data` is None when it was longer than allowed."""

    number: int
    data: bytes | None
    ended: bool  # False for a last line without its line end


def chunks(file: BinaryIO, compression: str, max_expansion: int) -> Iterator[bytes]:
    """The content of an open file, decompressed, in chunks of CHUNK bytes or somewhat more."""
    total = 0
    for chunk in _OPENERS[compression](file):
        if total == 0:
            require_text(chunk)
        total += len(chunk)
        if compression and total > max(_HARMLESS, max_expansion * file.tell()):
            reason = f"grows more than {max_expansion}-fold: a decompression bomb"
            raise Bad("bomb", f"{reason}, or raise --data.max-expansion", file.tell())
        yield chunk


def text(parts: Iterator[bytes], longest: int) -> Iterator[str]:
    """Decode UTF-8 strictly, without its byte order mark.

    Bad names the offset of the first wrong byte, or the number of a line over `longest` bytes.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    done, line, run = 0, 1, 0  # bytes decoded, number and length of the line being read
    for part in parts:
        chunk = part if done else part.removeprefix(BOM)
        sizes = [len(piece) for piece in chunk.split(b"\n")]
        sizes[0] += run
        if max(sizes) > longest:
            line += next(number for number, size in enumerate(sizes) if size > longest)
            raise Bad("long-line", f"a line of more than {longest:,} bytes", line)
        line, run = line + len(sizes) - 1, sizes[-1]
        held = decoder.getstate()[0]
        try:
            decoded = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            start = done + len(part) - len(chunk) - len(held)
            raise _undecodable(held + chunk, error.start, start) from None
        done += len(part)
        yield decoded
    if held := decoder.getstate()[0]:
        reason = "ends inside a UTF-8 character: cut off, or in another encoding"
        raise Bad("encoding", reason, done - len(held))


def lines(parts: Iterator[bytes], longest: int) -> Iterator[Line]:
    """Split at \\n only (a U+2028 inside is text), holding at most `longest` bytes of a line.

    A byte order mark before the first line is dropped.
    """
    held: list[bytes] = []
    number, size = 1, 0
    for chunk in parts:
        start = chunk.removeprefix(BOM) if number == 1 and not size else chunk
        first, *rest = start.split(b"\n")
        for piece in rest:
            yield _line(number, [*held, first], size + len(first), longest, ended=True)
            held, size, first, number = [], 0, piece, number + 1
        size += len(first)
        held = [*held, first] if size <= longest else []
    if size:
        yield _line(number, held, size, longest, ended=False)


def _line(number: int, pieces: list[bytes], size: int, longest: int, ended: bool) -> Line:
    return Line(number, b"".join(pieces) if size <= longest else None, ended)


def _undecodable(data: bytes, at: int, start: int) -> Bad:
    """`data` begins `start` bytes into the text and cannot be decoded at its byte `at`."""
    return explain(data[max(0, at - 2000) : at + 2000], data[at], start + at)


def _full(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at least CHUNK; what came before a fault still comes out."""
    ready, trouble = bytearray(), None
    try:
        for piece in pieces:
            ready += piece
            if len(ready) >= CHUNK:
                yield bytes(ready)
                ready.clear()
    except Bad as bad:
        trouble = bad
    if ready:
        yield bytes(ready)
    if trouble:
        raise trouble


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    """All members of a gzip file, one after the other."""
    unpacked = gzip.GzipFile(fileobj=file, mode="rb")
    try:
        while chunk := unpacked.read1(CHUNK):
            yield chunk
    except EOFError:
        raise Bad("truncated", "gzip data cut off before its end", file.tell()) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Bad("compression", f"not sound gzip data: {error}", file.tell()) from None


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    """All frames of a zstd file, one after the other."""
    try:
        import zstandard
    except ImportError:
        raise ConfigError(
            ".zst files need zstandard", next_command="pip install 'ownlm[data]'"
        ) from None
    decoder = None
    try:
        while part := file.read(_ZSTD_SLICE):
            while part:
                if decoder is None:
                    decoder = zstandard.ZstdDecompressor(
                        max_window_size=_ZSTD_WINDOW
                    ).decompressobj()
                yield decoder.decompress(part)
                part = decoder.unused_data if decoder.eof else b""
                decoder = None if decoder.eof else decoder
    except zstandard.ZstdError as error:
        raise Bad("compression", f"not sound zstd data: {error}", file.tell()) from None
    if decoder is not None:
        raise Bad("truncated", "zstd data cut off before its end", file.tell())


_OPENERS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "": _plain,
    ".gz": lambda file: _full(_gzip(file)),
    ".zst": lambda file: _full(_zstd(file)),
}
