"""model.safetensors files from anywhere: the header is checked before anything trusts it.

Format: 8 bytes little-endian length, a JSON header of {name: {dtype, shape, data_offsets}},
then the tensors end to end. No other weight format is read, pickles least of all.
"""

import json
import math
import mmap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ownlm.errors import CheckpointError

LARGEST_HEADER = 100_000_000  # bytes, the limit of the format's own library
TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


class Entry(NamedTuple):
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Byte of the file."""
    end: int


class Tensors(Protocol):
    """Named tensors on disk, in whatever format."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All of them, by name."""

    def read(self, name: str) -> Tensor:
        """One tensor, in memory of its own."""

    def read_into(self, name: str, to: Tensor) -> bool:
        """Read one straight into `to`, of its shape; False where it must be converted first."""

    def mapped(self, names: Sequence[str], dtype: torch.dtype) -> Tensor | None:
        """Several, rows behind rows, where they lie on disk; None where they must be read."""


class TensorFiles:
    """The tensors of one model folder, in one file or several.

    What `mapped` gives out is read from disk when it is used, and stays in memory only where it
    is written to: the file keeps its content. A file must not be cut or written over in place
    while it is mapped; replacing it, as ownlm does, is safe.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._maps: dict[Path, Tensor | None] = {}
        self._given: set[str] = set()
        self.entries: dict[str, Entry] = {}
        self.paths: dict[str, Path] = {}
        for path in paths:
            for name, entry in read_header(path).items():
                if name in self.entries:
                    raise CheckpointError(
                        f"tensor {name} is also in {self.paths[name].name}", where=str(path)
                    )
                self.entries[name], self.paths[name] = entry, path

    def read(self, name: str) -> Tensor:
        """One tensor in memory of its own: of a map, pages that were only copied would stay."""
        entry = self.entries[name]
        tensor = torch.empty(entry.shape, dtype=TYPES[entry.dtype])
        self._fill(name, tensor)
        return tensor

    def read_into(self, name: str, to: Tensor) -> bool:
        """The same into memory that is there; False where types or places differ."""
        fits = to.dtype == TYPES[self.entries[name].dtype] and to.device.type == "cpu"
        if fits and to.is_contiguous():
            self._fill(name, to)
            return True
        return False

    def mapped(self, names: Sequence[str], dtype: torch.dtype) -> Tensor | None:
        """A part of the map of their file, if they are of that type and end to end.

        Each is given out once: two parameters made of one tensor must not share memory.
        """
        entries, paths = [self.entries[n] for n in names], {self.paths[n] for n in names}
        begin, end, shape = entries[0].begin, entries[-1].end, entries[0].shape
        together = len(paths) == 1 and all(a.end == b.begin for a, b in pairwise(entries))
        fits = all(TYPES[e.dtype] == dtype for e in entries) and begin % dtype.itemsize == 0
        if not (together and fits and begin < end) or self._given.intersection(names):
            return None
        path = paths.pop()
        if path not in self._maps:
            self._maps[path] = _map(path)
        if (whole := self._maps[path]) is None or end > len(whole):
            return None
        self._given.update(names)
        flat = whole[begin:end].view(dtype)
        return flat.view(-1, *shape[1:]) if len(names) > 1 else flat.view(shape)

    def _fill(self, name: str, to: Tensor) -> None:
        entry, path = self.entries[name], self.paths[name]
        left = to.reshape(-1).view(torch.uint8).numpy().data
        with open(path, "rb", buffering=0) as file:
            file.seek(entry.begin)
            while left:
                if not (count := file.readinto(left)):
                    raise CheckpointError("ends early: it changed while it was read",
                                          where=str(path))  # fmt: skip
                left = left[count:]


def _map(path: Path) -> Tensor | None:
    """The bytes of a file, copied where they are written to; None where the system cannot."""
    try:
        with open(path, "rb") as file:
            return torch.frombuffer(
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), dtype=torch.uint8
            )
    except (OSError, ValueError):
        return None


def is_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite, at the cost of one pass that allocates nothing.

    Both survive summing; a sum of finite numbers that overflows is looked at again.
    """
    total = tensor.sum()  # in its own type: asking for float32 takes ten times as long
    return bool(torch.isfinite(total) or torch.isfinite(tensor).all())


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
    start = 8 + length
    return {n: e._replace(begin=start + e.begin, end=start + e.end) for n, e in entries.items()}


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
        known = dtype in TYPES
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name:.80}: needs dtype, shape and data_offsets") from None
    if not known:
        raise ValueError(f"{name:.80}: unknown type {dtype!r:.20}")
    if not whole:
        raise ValueError(f"{name:.80}: shape and offsets must be whole numbers from 0")
    needed = math.prod(shape) * TYPES[dtype].itemsize
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
