"""Hostile and damaged safetensors files (ACCEPTANCE C1, C2)."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from ownlm.errors import CheckpointError
from ownlm.models.tensors import TensorFiles, find_files, read_header


def pack(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    begin = time.perf_counter()
    with pytest.raises(CheckpointError, match=words) as caught:
        read_header(path)
    assert time.perf_counter() - begin < 0.1
    assert str(path) in str(caught.value)


HOSTILE = {
    "empty": (b"", "cannot hold"),
    "seven bytes": (b"\0" * 7, "cannot hold"),
    "header of 0": (pack(b"", length=0), "cannot hold"),
    "header beyond the file": (pack({}, length=1000), "cannot hold"),
    "header over 100 MB": (pack({}, length=100_000_001), "cannot hold"),
    "length overflows": (b"\xff" * 8 + b"{}", "cannot hold"),
    "not UTF-8": (pack(b'{"\xff": 1}'), "header"),
    "not JSON": (pack(b"{not json}"), "header"),
    "a list": (pack([1]), "not an object"),
    "deep": (pack(b"[" * 200_000), "header"),
    "long number": (pack(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b"]}}"), "header"),
    "no offsets": (pack({"a": {"dtype": "F32", "shape": [2]}}), "needs dtype"),
    "entry is a number": (pack({"a": 3}), "needs dtype"),
    "type unknown": (pack({"a": entry(0, 8, dtype="F31")}, b"\0" * 8), "unknown type"),
    "type is a list": (pack({"a": entry(0, 8, dtype=["F32"])}, b"\0" * 8), "needs dtype"),
    "negative shape": (pack({"a": entry(0, 8, [-1, -2])}, b"\0" * 8), "whole numbers"),
    "negative offset": (pack({"a": entry(-8, 0)}, b"\0" * 8), "whole numbers"),
    "boolean shape": (pack({"a": entry(0, 4, [True])}, b"\0" * 4), "whole numbers"),
    "fraction": (pack({"a": entry(0, 8, [2.0])}, b"\0" * 8), "whole numbers"),
    "overflowing shape": (pack({"a": entry(0, 8, [2**62, 4])}, b"\0" * 8), "needs"),
    "shape and size differ": (pack({"a": entry(0, 8, [3])}, b"\0" * 8), "needs 12"),
    "overlap": (pack({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12), "overlaps"),
    "same place": (pack({"a": entry(0, 8), "b": entry(0, 8)}, b"\0" * 8), "overlaps"),
    "gap": (pack({"a": entry(0, 8), "b": entry(12, 20)}, b"\0" * 20), "gap"),
    "gap at the start": (pack({"a": entry(4, 12)}, b"\0" * 12), "gap"),
    "trailing bytes": (pack({"a": entry(0, 8)}, b"\0" * 9), "take 8 bytes"),
    "beyond the end": (pack({"a": entry(0, 8)}, b"\0" * 4), "take 8 bytes"),
    "duplicate keys": (
        pack(b'{"a":%b,"a":%b}' % ((json.dumps(entry(0, 8)).encode(),) * 2), b"\0" * 8),
        "same key",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_header_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, words = HOSTILE[name]
    refused(tmp_path / "model.safetensors", content, words)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_escape_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_header(path)


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(0, 4), "c": torch.tensor(1.0)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    files = find_files(tmp_path)
    assert {name: e.shape for name, e in files.entries.items()} == {
        "a": (2, 3), "b": (0, 4), "c": (),
    }  # fmt: skip
    assert all(torch.equal(files.read(name), tensors[name]) for name in tensors)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4)}, path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            read_header(path)


def test_shards_are_one_folder(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert set(find_files(tmp_path).entries) == {"a", "b"}
    with pytest.raises(CheckpointError, match=r"also in one\.safetensors"):
        TensorFiles([tmp_path / "one.safetensors"] * 2)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "a\\b.safetensors", "model.bin", 3, "sub/a"]
)
def test_index_cannot_point_elsewhere(name: Any, tmp_path: Path) -> None:
    index = {"weight_map": {"a": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"index\.json"):
        find_files(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickles_are_refused_with_the_way_out(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(CheckpointError, match=r"(?s)pickled.*save_pretrained"):
        find_files(tmp_path)


def test_no_weights_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.safetensors: missing"):
        find_files(tmp_path)


def test_a_tensor_is_mapped_once(tmp_path: Path) -> None:
    """An output matrix that stands in for the token table must not be the same memory."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(2, 3), "b": torch.zeros(4, 3)}, path)
    files = TensorFiles([path])
    both = files.mapped(["a", "b"], torch.float32)
    assert both is not None and torch.equal(both, torch.cat([torch.ones(2, 3), torch.zeros(4, 3)]))
    assert files.mapped(["a"], torch.float32) is None
    assert files.mapped(["b"], torch.float32) is None
    again = TensorFiles([path])
    assert again.mapped(["b", "a"], torch.float32) is None  # not in the order of the disk
    assert again.mapped(["b"], torch.float32) is not None
    assert again.mapped(["a"], torch.bfloat16) is None
