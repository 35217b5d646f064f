"""Tensors between our modules and their names on disk: one table, both directions, strict.

Every mismatch is collected before anything is raised, and nothing is allocated before all
names and shapes agree.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ownlm.errors import CheckpointError
from ownlm.models.family import Names, Row
from ownlm.models.tensors import Tensors, is_finite

_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SHOWN = 20
"""Faults that a refusal tells one by one."""


@dataclass(frozen=True)
class Piece:
    """One tensor on disk and the rows of our parameter that it holds."""

    theirs: str
    shape: tuple[int, ...]
    """On disk."""
    begin: int
    end: int
    transpose: bool
    lead: bool = False
    heads: int = 0
    spread: int = 0

    @property
    def as_it_is(self) -> bool:
        """Rows on disk are our rows, in the same order."""
        return not (self.transpose or self.lead or self.heads or self.spread)

    def rows(self, whole: Tensor) -> Tensor:
        """Our rows that the piece fills."""
        return whole[self.begin : self.end]

    def to_disk(self, part: Tensor) -> Tensor:
        """Our rows as they are kept on disk."""
        if self.heads:  # (3, H, K) to (H, 3, K)
            part = part.unflatten(0, (3, self.heads, -1)).transpose(0, 1).flatten(0, 2)
        part = part.T if self.transpose else part
        part = part.unflatten(-1, (self.spread, -1)) if self.spread else part
        return part[None] if self.lead else part

    def from_disk(self, part: Tensor) -> Tensor:
        """The other way."""
        part = part[0] if self.lead else part
        part = part.flatten(-2) if self.spread else part
        part = part.T if self.transpose else part
        if self.heads:
            part = part.unflatten(0, (self.heads, 3, -1)).transpose(0, 1).flatten(0, 2)
        return part


@dataclass(frozen=True)
class Item:
    """One of our parameters and its pieces on disk."""

    ours: str
    pieces: tuple[Piece, ...]
    zeros: bool
    """The model has no such parameter: the pieces are zeros."""


def plan(model: nn.Module, names: Names) -> list[Item]:
    """The table applied to a model (it may be on the meta device)."""
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    items = [
        _item(row, layer, shapes) for row in names.rows for layer in _layers(row, model, shapes)
    ]
    assert {i.ours for i in items if not i.zeros} == set(shapes), "a table must name every tensor"
    return items


def _layers(row: Row, model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    """The layers a row speaks of: those of its stack that have such a parameter."""
    blocks, numbered, _ = row.ours.partition(".#.")
    if not numbered:
        return [0]
    layers = range(len(cast("nn.ModuleList", model.get_submodule(blocks))))
    found = [i for i in layers if row.zeros or row.ours.replace("#", str(i)) in shapes]
    assert found, f"no layer has {row.ours}"
    return found


def _item(row: Row, layer: int, shapes: dict[str, tuple[int, ...]]) -> Item:
    ours = row.ours.replace("#", str(layer))
    # A bias that our model lacks is as long as its weight has rows.
    shape = shapes[ours.replace(".bias", ".weight")][:1] if row.zeros else shapes[ours]
    sizes = row.sizes or (shape[0] // len(row.theirs),) * len(row.theirs)
    assert sum(sizes) == shape[0], f"{row} does not fill {ours}"
    pieces, begin = [], 0
    for part, size in zip(row.theirs, sizes, strict=True):
        theirs = (size, *shape[1:])
        transpose = row.transpose and len(theirs) == 2
        pieces.append(
            Piece(
                part.replace("#", str(layer)),
                _on_disk(row, theirs[::-1] if transpose else theirs),
                begin,
                begin + size,
                transpose,
                row.lead,
                row.heads,
                row.spread,
            )
        )
        begin += size
    return Item(ours, tuple(pieces), row.zeros)


def _on_disk(row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
    *before, last = shape
    parted = (row.spread, last // row.spread) if row.spread else (last,)
    return (1,) * row.lead + (*before, *parted)


def export(model: nn.Module, names: Names) -> dict[str, Tensor]:
    """All tensors as they stand on disk; views of the parameters where possible."""
    parameters = dict(model.named_parameters())
    dtype = next(iter(parameters.values())).dtype
    tensors = {}
    for item in plan(model, names):
        for piece in item.pieces:
            if item.zeros:
                tensors[piece.theirs] = torch.zeros(piece.shape, dtype=dtype)
                continue
            part = parameters[item.ours].detach()[piece.begin : piece.end]
            tensors[piece.theirs] = piece.to_disk(part).contiguous().cpu()
    return tensors


def fill(
    model: nn.Module,
    names: Names,
    files: Tensors,
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    where: str,
) -> list[str]:
    """Give a model on the meta device its parameters from disk, piece by piece.

    A parameter that stands on disk as it is used stays there, mapped; any other is allocated
    once, in its final type and place, and read into it: peak memory is the model and one tensor.
    `dtype` None keeps the stored type (the largest tensor's where they differ). CheckpointError
    lists all that does not fit. Returns the stored names of parameters that hold NaN or infinity.
    """
    items = plan(model, names)
    stored = match(items, names, files, where)
    wanted = dtype or stored_type(items, files, stored)
    kept = [item for item in items if not item.zeros]
    return [n for item in kept for n in place(model, item, files, stored, device, wanted)]


def match(items: list[Item], names: Names, files: Tensors, where: str) -> dict[str, str]:
    """Name in our table -> name in the file; CheckpointError lists all that does not fit."""
    stored = _stored_names(items, names, files)
    _check(items, names, files, stored, where)
    for item in items:
        if item.zeros:
            _check_zeros(item, files, stored, where)
    return stored


def place(
    model: nn.Module,
    item: Item,
    files: Tensors,
    stored: Mapping[str, str],
    device: torch.device,
    dtype: torch.dtype,
) -> list[str]:
    """Give a model on the meta device one parameter from disk; returns the stored names of its
    pieces that hold NaN or infinity."""
    whole = None
    if device.type == "cpu" and all(piece.as_it_is for piece in item.pieces):
        whole = files.mapped([stored[piece.theirs] for piece in item.pieces], dtype)
    if whole is None:
        whole = torch.empty(model.get_parameter(item.ours).shape, dtype=dtype, device=device)
        _read(item, files, stored, whole)
    put(model, item.ours, whole)
    broken = [] if is_finite(whole) else item.pieces
    return [stored[piece.theirs] for piece in broken if not is_finite(piece.rows(whole))]


def _read(item: Item, files: Tensors, stored: Mapping[str, str], whole: Tensor) -> None:
    for piece in item.pieces:
        name, rows = stored[piece.theirs], piece.rows(whole)
        if not (piece.as_it_is and files.read_into(name, rows)):
            rows.copy_(piece.from_disk(files.read(name)))


def put(model: nn.Module, name: str, value: Tensor) -> None:
    """Make `value` the parameter of that name."""
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, nn.Parameter(value))


def _stored_names(items: list[Item], names: Names, files: Tensors) -> dict[str, str]:
    """Name in our table -> name in the file, which may leave the prefix off or spell it the
    old way; a name that the table lacks stands for itself."""
    ours = {p.theirs.removeprefix(names.prefix): p.theirs for item in items for p in item.pieces}
    stored = {}
    for name in files.entries:
        short = name.removeprefix(names.prefix)
        for old, new in names.renamed:
            short = short.removesuffix(old) + new if short.endswith(old) else short
        stored[ours.get(short, name)] = name
    for name, stand_in in names.copies:
        if name not in stored and stand_in in stored:
            stored[name] = stored[stand_in]
    return stored


def stored_type(items: list[Item], files: Tensors, stored: Mapping[str, str]) -> torch.dtype:
    """The type of the largest tensor."""
    entries = [files.entries[stored[p.theirs]] for i in items if not i.zeros for p in i.pieces]
    return _TYPES[max(entries, key=lambda entry: entry.end - entry.begin).dtype]


def _check(
    items: list[Item],
    names: Names,
    files: Tensors,
    stored: dict[str, str],
    where: str,
) -> None:
    pieces = {p.theirs: (p, item.zeros) for item in items for p in item.pieces}
    carries_nothing = _pattern(names)
    faults = []
    for name, (piece, zeros) in pieces.items():
        if name not in stored:
            faults += [] if zeros else [f"missing {name}: expected {list(piece.shape)}"]
            continue
        entry = files.entries[stored[name]]
        if entry.shape != piece.shape:
            faults.append(
                f"wrong shape {name}: expected {list(piece.shape)}, found {list(entry.shape)}"
            )
        if entry.dtype not in _TYPES:
            faults.append(f"wrong type {name}: expected floating point, found {entry.dtype}")
    for name, short in stored.items():
        if name not in pieces and not carries_nothing.fullmatch(name):
            faults.append(f"unexpected {short}: found {list(files.entries[short].shape)}")
    if faults:
        raise CheckpointError(
            f"{len(faults)} tensors do not fit config.json:\n  " + "\n  ".join(shortened(faults)),
            where=where,
            next_command="use the config.json that was saved with these weights",
        )


def shortened(faults: list[str]) -> list[str]:
    """Beyond 20, one line for those that differ in the number of a layer or an expert only."""
    if len(faults) <= SHOWN:
        return faults
    alike: dict[str, list[str]] = {}
    for fault in faults:
        alike.setdefault(re.sub(r"\.\d+\.", ".#.", fault), []).append(fault)
    lines = [
        first + (f" (and {len(more):,} like it)" if more else "") for first, *more in alike.values()
    ]
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"and {len(lines) - SHOWN:,} more"]


def _pattern(names: Names) -> re.Pattern[str]:
    """Matches names that are ignored: `#` is a number, `*` anything, the prefix optional."""
    each = [
        re.escape(name.removeprefix(names.prefix)).replace(r"\#", r"\d+").replace(r"\*", ".*")
        for name in names.ignored
    ]
    return re.compile(f"(?:{re.escape(names.prefix)})?(?:{'|'.join(each)})")


def _check_zeros(item: Item, files: Tensors, stored: dict[str, str], where: str) -> None:
    for piece in item.pieces:
        if piece.theirs in stored and files.read(stored[piece.theirs]).count_nonzero():
            raise CheckpointError(
                f"{piece.theirs} is not zero, but config.json says the model has no biases",
                where=where,
                next_command='set "bias": true under "ownlm" in config.json',
            )
