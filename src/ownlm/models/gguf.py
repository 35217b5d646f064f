"""GGUF files (llama.cpp's one-file models): the header, read and checked before anything trusts it.

Format, versions 2 and 3, little-endian: "GGUF", a version, how many tensors and how many metadata
entries; the entries (key, type, value); then of each tensor its name, dimensions, type and
offset; padding; and the tensors. Only what the header needs is read; tensors stay mapped.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ownlm.errors import CheckpointError
from ownlm.models.gguf_blocks import FORMATS, OTHERS, Bytes, Format

VERSIONS = (2, 3)
LARGEST_HEADER = 256 << 20  # bytes; a vocabulary of 262,144 tokens takes about 10 MB
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_TEXT, _ARRAY, _BOOL = 8, 9, 7
_LEAST_ENTRY, _LEAST_TENSOR = 13, 32  # bytes
_DIMENSIONS = 4


class Stored(NamedTuple):
    """One tensor of a file; its shape as torch has it, the slowest axis first."""

    form: Format
    shape: tuple[int, ...]
    begin: int
    """Byte of the file."""
    end: int


@dataclass(frozen=True)
class GGUF:
    """The header of a file."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    _map: Bytes = field(repr=False)

    def data(self, name: str) -> Bytes:
        """The raw bytes of a tensor, mapped from disk."""
        stored = self.tensors[name]
        return self._map[stored.begin : stored.end]


def is_gguf(path: Path) -> bool:
    """Whether a path is meant as a GGUF file."""
    return path.suffix == ".gguf" and path.is_file()


def read_gguf(path: Path) -> GGUF:
    """The checked header of a GGUF file; CheckpointError names the fault and where it is."""
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise CheckpointError("is empty", where=str(path)) from None
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path)) from None
    view = np.frombuffer(mapped, np.uint8)
    try:
        metadata, tensors = _read(_Cursor(mapped))
    except _Damage as damage:
        raise CheckpointError(str(damage), where=str(path)) from None
    return GGUF(path, metadata, tensors, view)


class _Damage(Exception):
    """What is wrong, before the file's name is added."""


class _Cursor:
    """A place in the header that never leaves it."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place, self.size = data, 0, len(data)

    def left(self) -> int:
        return min(self.size, LARGEST_HEADER) - self.place

    def number(self, code: str) -> Any:
        size = struct.calcsize(code)
        self.need(size)
        value = struct.unpack_from("<" + code, self.data, self.place)[0]
        self.place += size
        return value

    def numbers(self, code: str, count: int) -> list[Any]:
        self.need(count * struct.calcsize(code))
        values = list(struct.unpack_from(f"<{count}{code}", self.data, self.place))
        self.place += count * struct.calcsize(code)
        return values

    def text(self) -> str:
        length = self.number("Q")
        self.need(length)
        raw = self.data[self.place : self.place + length]
        self.place += length
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            at = self.place - length + error.start
            raise _Damage(f"byte {at}: not UTF-8 text: {error.reason}") from None

    def need(self, size: int) -> None:
        if size > self.left():
            raise _Damage(
                f"damaged: at byte {self.place} {size:,} bytes are needed, {self.left():,} are left"
            )


def _read(cursor: _Cursor) -> tuple[dict[str, Any], dict[str, Stored]]:
    magic, version = cursor.numbers("B", 4), cursor.number("I")
    if bytes(magic) != b"GGUF":
        raise _Damage("is no GGUF file: it begins otherwise")
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
        kind = "big-endian" if swapped else f"version {version}"
        raise _Damage(f"is {kind}; little-endian versions 2 and 3 can be read")
    tensors, entries = cursor.number("Q"), cursor.number("Q")
    if tensors * _LEAST_TENSOR + entries * _LEAST_ENTRY > cursor.left():
        raise _Damage(
            f"damaged: {cursor.size:,} bytes cannot hold {tensors:,} tensors and {entries:,} "
            "metadata entries"
        )
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key = cursor.text()
        if key in metadata:
            raise _Damage(f"the metadata key {key!r:.80} is there twice")
        metadata[key] = _value(cursor, key)
    return metadata, _tensors(cursor, tensors, metadata.get("general.alignment", 32))


def _value(cursor: _Cursor, key: str) -> Any:
    kind = cursor.number("I")
    if kind == _ARRAY:
        inner, count = cursor.number("I"), cursor.number("Q")
        if inner == _TEXT:
            cursor.need(8 * count)
            return [cursor.text() for _ in range(count)]
        return cursor.numbers(_code(inner, key), count)
    return cursor.text() if kind == _TEXT else cursor.number(_code(kind, key))


def _code(kind: int, key: str) -> str:
    if kind not in _NUMBERS:
        raise _Damage(f"metadata {key!r:.80}: values of type {kind} are unknown here")
    return _NUMBERS[kind]


def _tensors(cursor: _Cursor, count: int, alignment: Any) -> dict[str, Stored]:
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
        raise _Damage(f"general.alignment: {alignment!r:.40} is no alignment")
    found: dict[str, tuple[Format, tuple[int, ...], int, int]] = {}
    for _ in range(count):
        name = cursor.text()
        if name in found:
            raise _Damage(f"tensor {name!r:.80} is there twice")
        found[name] = _tensor(cursor, name)
    start = -(-cursor.place // alignment) * alignment
    tensors = {
        name: Stored(form, shape, start + offset, start + offset + size)
        for name, (form, shape, offset, size) in found.items()
    }
    _check_layout(tensors, alignment, start, cursor.size)
    return tensors


def _tensor(cursor: _Cursor, name: str) -> tuple[Format, tuple[int, ...], int, int]:
    dimensions = cursor.number("I")
    if dimensions > _DIMENSIONS:
        raise _Damage(f"tensor {name!r:.80}: {dimensions} dimensions, at most {_DIMENSIONS}")
    shape = tuple(reversed(cursor.numbers("Q", dimensions)))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in FORMATS:
        known = ", ".join(form.name for form in FORMATS.values())
        shown = OTHERS.get(kind, f"number {kind}")
        raise _Damage(f"tensor {name!r:.80}: type {shown} cannot be read; known: {known}")
    form = FORMATS[kind]
    count = math.prod(shape)
    if count % form.numbers or (shape and shape[-1] % form.numbers):
        raise _Damage(
            f"tensor {name!r:.80}: rows of {shape[-1] if shape else 1} numbers are no whole "
            f"blocks of {form.numbers} ({form.name})"
        )
    return form, shape, offset, count // form.numbers * form.bytes


def _check_layout(tensors: Mapping[str, Stored], alignment: int, start: int, size: int) -> None:
    place, before = start, "the header"
    for name, stored in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if (stored.begin - start) % alignment:
            raise _Damage(f"tensor {name!r:.80}: is not at a multiple of {alignment} bytes")
        if stored.begin < place:
            raise _Damage(f"tensor {name!r:.80}: overlaps {before!r:.80}")
        if stored.end > size:
            raise _Damage(
                f"tensor {name!r:.80}: ends at byte {stored.end:,}, the file has {size:,}"
            )
        place, before = stored.end, name
