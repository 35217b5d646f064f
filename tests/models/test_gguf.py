"""Hostile and damaged GGUF files: refused by name, at once, in little memory."""

import resource
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.errors import CheckpointError
from ownlm.models.gguf import GGUF, is_gguf, read_gguf


def text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
    return text(name) + dims + struct.pack("<IQ", kind, offset)


def pack(
    tensors: list[bytes],
    entries: list[bytes] | None = None,
    data: bytes = b"\0" * 64,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    entries = entries or []
    counts = counts or (len(tensors), len(entries))
    header = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(entries + tensors)
    return header + b"\0" * (-len(header) % 32) + data


ARCH = entry("general.architecture", 8, text("llama"))
HUGE = 2**63
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "three bytes": (b"GGU", "4 bytes are needed, 3 are left"),
    "another format": (b"PK\3\4" + b"\0" * 60, "is no GGUF file"),
    "version 1": (pack([], version=1), "is version 1; little-endian versions 2 and 3"),
    "version of the future": (pack([], version=4), "is version 4"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is big-endian"),
    "too many tensors": (pack([], counts=(2**60, 0)), "cannot hold 1,152,921,504,606,846,976 tens"),
    "too many entries": (pack([], counts=(0, 2**61)), "cannot hold"),
    "counts that overflow": (pack([], counts=(2**64 - 1, 2**64 - 1)), "cannot hold"),
    "one tensor too many": (pack([tensor("a")], counts=(2, 0)), "overlaps"),
    "a key twice": (pack([], [ARCH, ARCH]), "'general.architecture' is there twice"),
    "a long key": (pack([], [struct.pack("<Q", HUGE) + b"x" * 40]), "bytes are needed"),
    "a key that is no text": (pack([], [entry("\0", 8, text(b"\xff\xfe"))]), "not UTF-8 text"),
    "an unknown type": (pack([], [entry("k", 13, b"\0" * 30)]), "'k': values of type 13"),
    "an endless list": (pack([], [entry("k", 9, struct.pack("<IQ", 4, HUGE))]), "are needed"),
    "an endless list of texts": (
        pack([], [entry("k", 9, struct.pack("<IQ", 8, 2**60) + b"\0" * 64)]), "are needed",
    ),
    "a list of lists": (pack([], [entry("k", 9, struct.pack("<IQ", 9, 1))]), "values of type 9"),
    "no alignment": (pack([], [entry("general.alignment", 4, b"\0" * 4)]), "0 is no alignment"),
    "an alignment of text": (
        pack([], [entry("general.alignment", 8, text("x"))]), "'x' is no alignment",
    ),
    "a tensor twice": (pack([tensor("a"), tensor("a")]), "'a' is there twice"),
    "nine dimensions": (pack([tensor("a", (1,) * 9)]), "9 dimensions, at most 4"),
    "2**32 dimensions": (
        pack([text("a") + struct.pack("<I", 2**32 - 1) + b"\0" * 60]), "4294967295 dimensions",
    ),
    "an unread type": (pack([tensor("a", (256,), 10)]), "type Q2_K cannot be read; known: F32"),
    "an unknown number": (pack([tensor("a", (4,), 99)]), "type number 99 cannot be read"),
    "half a block": (pack([tensor("a", (40,), 2)]), "rows of 40 numbers are no whole blocks of 32"),
    "rows across blocks": (pack([tensor("a", (4, 8), 2)]), "rows of 8 numbers are no whole"),
    "a shape that overflows": (pack([tensor("a", (2**40, 2**40))]), "ends at byte"),
    "beyond the end": (pack([tensor("a", (17,))]), "ends at byte"),
    "an offset beyond the end": (pack([tensor("a", offset=2**62)]), "ends at byte"),
    "an offset that overflows": (pack([tensor("a", offset=2**64 - 32)]), "ends at byte"),
    "out of line": (pack([tensor("a", offset=4)]), "is not at a multiple of 32"),
    "overlapping": (pack([tensor("a", (12,)), tensor("b", offset=32)]), "'b': overlaps 'a'"),
    "the same place": (pack([tensor("a"), tensor("b")]), "overlaps"),
}  # fmt: skip


def refused(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    with pytest.raises(CheckpointError, match=words) as caught:
        read_gguf(path)
    assert time.process_time() - begin < 0.1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KB
    assert caught.value.where == str(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_header_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, words = HOSTILE[name]
    refused(tmp_path / "x.gguf", content, words)


def sound() -> bytes:
    entries = [
        ARCH,
        entry("n", 4, struct.pack("<I", 7)),
        entry("r", 6, struct.pack("<f", 0.5)),
        entry("b", 7, b"\1"),
        entry("l", 9, struct.pack("<IQ", 5, 2) + struct.pack("<2i", 3, -4)),
        entry("t", 9, struct.pack("<IQ", 8, 2) + text("ä") + text("")),
    ]
    return pack([tensor("a", (2, 4)), tensor("b", (), offset=32)], entries)


def read(path: Path, content: bytes) -> GGUF:
    path.write_bytes(content)
    return read_gguf(path)


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    file = read(tmp_path / "x.gguf", sound())
    assert dict(file.metadata) == {
        "general.architecture": "llama", "n": 7, "r": 0.5, "b": True, "l": [3, -4], "t": ["ä", ""],
    }  # fmt: skip
    shapes: dict[str, Any] = {name: stored.shape for name, stored in file.tensors.items()}
    assert shapes == {"a": (2, 4), "b": ()}
    assert len(file.data("a")) == 32
    assert len(file.data("b")) == 4


def test_version_2_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "x.gguf", pack([tensor("a")], [ARCH], version=2)).tensors


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = sound()
    for length in range(len(content) - 28):  # the file may end with its last tensor
        (tmp_path / "x.gguf").write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            read_gguf(tmp_path / "x.gguf")


@given(st.binary(max_size=200), st.integers(0, 150))
def test_arbitrary_bytes_never_escape_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kept: int
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x.gguf"
    path.write_bytes(sound()[:kept] + content)
    try:
        read_gguf(path)
    except CheckpointError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_only_files_of_that_name_are_meant(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"")
    (tmp_path / "folder.gguf").mkdir()
    assert is_gguf(tmp_path / "x.gguf")
    assert not is_gguf(tmp_path / "folder.gguf")
    assert not is_gguf(tmp_path / "none.gguf")
