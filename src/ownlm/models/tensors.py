"""model.safetensors files from anywhere: the header is checked before anything trusts it.

Format: 8 bytes little-endian length, a JSON header of {name: {dtype, shape, data_offsets}},
then the tensors end to end. No other weight format is read, pickles least of all.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor

from ownlm.errors import CheckpointError

LARGEST_HEADER = 100_000_000  # bytes, the limit of the format's own library
_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "U16": 2, "U32": 4, "U64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


class Entry(NamedTuple):
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFiles:
    """The tensors of one model folder, in one file or several."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.entries: dict[str, Entry] = {}
        self.paths: dict[str, Path] = {}
        for path in paths:
            for name, entry in read_header(path).items():
                if name in self.entries:
                    raise CheckpointError(
                        f"tensor {name} is also in {self.paths[name].name}", where=str(path)
                    )
                self.entries[name], self.paths[name] = entry, path
        self._open: dict[Path, Any] = {}

    def read(self, name: str) -> Tensor:
        """One tensor, mapped from disk rather than read ahead."""
        path = self.paths[name]
        if path not in self._open:
            self._open[path] = safe_open(path, framework="pt")
        tensor: Tensor = self._open[path].get_tensor(name)
        return tensor


def find_files(folder: Path) -> TensorFiles:
    """The weights of a model folder; CheckpointError says what else is there and the way out."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return TensorFiles([single])
    if index.is_file():
        return TensorFiles(_shards(index))
    pickles = [p.name for p in sorted(folder.glob("*")) if p.suffix in (".bin", ".pt", ".pth")]
    if pickles:
        raise CheckpointError(
            f"only pickled weights here ({', '.join(pickles[:3])}), which can run any code; "
            "ownlm reads safetensors only",
            where=str(folder),
            next_command="convert where you trust the file: transformers' "
            "from_pretrained(FOLDER).save_pretrained(OUT) writes model.safetensors",
        )
    raise CheckpointError(
        "missing", where=str(single), next_command="name a folder with finished weights"
    )


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError("no index of tensors (weight_map)", where=str(index)) from None
    for name in names:
        if not isinstance(name, str) or name != Path(name).name or "\\" in name:
            raise CheckpointError(f"{name!r:.80} is no file of this folder", where=str(index))
        if not name.endswith(".safetensors"):
            raise CheckpointError(f"{name!r:.80} is not a safetensors file", where=str(index))
    return [index.with_name(name) for name in sorted(names)]


def read_header(path: Path) -> dict[str, Entry]:
    """The checked header of a safetensors file; CheckpointError names the fault."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= LARGEST_HEADER or 8 + length > size:
                raise CheckpointError(
                    f"damaged: {size} bytes cannot hold a header of {length}", where=str(path)
                )
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        values = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
        entries = _entries(values)
        _check_layout(entries, size - 8 - length)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"damaged header: {error}", where=str(path)) from None
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key twice")
    return found


def _entries(values: Any) -> dict[str, Entry]:
    if not isinstance(values, dict):
        raise ValueError("not an object")
    values.pop("__metadata__", None)
    return {name: _entry(name, value) for name, value in values.items()}


def _entry(name: str, value: Any) -> Entry:
    try:
        dtype, shape, (begin, end) = value["dtype"], value["shape"], value["data_offsets"]
        numbers = [*shape, begin, end]
        whole = all(type(n) is int and n >= 0 for n in numbers) and len(shape) <= 8
        known = dtype in _BYTES
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name:.80}: needs dtype, shape and data_offsets") from None
    if not known:
        raise ValueError(f"{name:.80}: unknown type {dtype!r:.20}")
    if not whole:
        raise ValueError(f"{name:.80}: shape and offsets must be whole numbers from 0")
    needed = math.prod(shape) * _BYTES[dtype]
    if end - begin != needed:
        raise ValueError(f"{name:.80}: {end - begin} bytes, its shape {shape} needs {needed}")
    return Entry(dtype, tuple(shape), begin, end)


def _check_layout(entries: dict[str, Entry], available: int) -> None:
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != place:
            kind = "overlaps the tensor before" if entry.begin < place else "leaves a gap before"
            raise ValueError(f"{name:.80}: {kind}")
        place = entry.end
    if place != available:
        raise ValueError(f"tensors take {place} bytes, the file has {available}")
