"""A decoder's steps in native code: some tokens of many texts through all layers in one call.

The C++ side is nn/kernels/decode.cpp; `usable` says which models it covers. Its weights are a copy
of the model's, packed when the runner is made. Keys and values are bf16, in blocks.

Shapes: N tokens, V vocabulary, D width.
"""

import ctypes
import functools
import platform
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ownlm import native
from ownlm.inference.native_model import Description, uncovered
from ownlm.inference.native_weights import Kind, Memory
from ownlm.models.model import Model

SOURCE = Path(native.__file__).parent / "nn" / "kernels" / "decode.cpp"
FLAGS = ("-Wno-psabi", *(("-mprefer-vector-width=512",) if platform.machine() == "x86_64" else ()))
FEW: dict[Kind, int] = {"bf16": 2, "int8": 8, "int4": 8}
"""Rows up to which vectors take a product; more are for tiles, where there are some."""
MOST = 256
"""Tokens of one call: what lies between two products then fits the nearer caches."""


class Work(Protocol):
    """Tokens to read at positions from `start` on; keys and values lie in `blocks`."""

    @property
    def ids(self) -> Sequence[int]: ...
    @property
    def start(self) -> int: ...
    @property
    def blocks(self) -> Sequence[int]: ...
    @property
    def every(self) -> bool: ...


class Step(ctypes.Structure):
    """The C++ side's `Step`, field by field."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "wanted_rows", "longest", "threads")),
        *(
            (name, ctypes.c_void_p)
            for name in ("ids", "positions", "sequence", "blocks", "table", "wanted")
        ),
        *((name, ctypes.c_void_p) for name in ("given", "logits", "cache")),
        *((name, ctypes.c_int64) for name in ("block_size", "block_bytes")),
        ("few", ctypes.c_int32),
    )


@functools.cache
def library(extra_flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The compiled decoder, where one can be built."""
    built = native.library(SOURCE, (*FLAGS, *extra_flags))
    if built is not None:
        built.ownlm_decode_block_bytes.restype = ctypes.c_int64
        built.ownlm_decode_block_bytes.argtypes = (ctypes.c_void_p, ctypes.c_int64)
        built.ownlm_decode_step.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        built.ownlm_decode_step.restype = None
    return built


def usable(model: Model) -> str:
    """Why the native decoder cannot take a model; "" when it can."""
    if why := uncovered(model):
        return why
    return "" if library() is not None else f"native code: {native.why_not(SOURCE)}"


class NativeRunner:
    """Reads the next tokens of texts whose keys and values lie in blocks (a `Runner`)."""

    def __init__(
        self, model: Model, weights: Kind = "int8", *, extra_flags: tuple[str, ...] = ()
    ) -> None:
        """Packs the weights, which takes about a second per billion bits. `model` is `usable`."""
        built = library(extra_flags)
        assert built is not None and not uncovered(model), "callers ask `usable`"
        self._library, self._model, self.few = built, model, FEW[weights]
        self._parts = Description(model, weights)
        self.weights, self.context, self.device = weights, model.context, model.device
        self.vocab = model.architecture.head.vocab
        self.weight_bytes = self._parts.packer.bytes
        self._cache, self._size, self._block_bytes = torch.empty(0), 0, 0

    @property
    def bytes_per_token(self) -> int:
        """Of keys and values, when blocks hold a multiple of 16 tokens."""
        return self._bytes_of(16) // 16

    def _bytes_of(self, size: int) -> int:
        found: int = self._library.ownlm_decode_block_bytes(ctypes.byref(self._parts.ref), size)
        return found

    def reserve(self, blocks: int, size: int) -> None:
        """Storage for so many blocks of `size` tokens; what was in it is gone."""
        self._size, self._block_bytes = size, self._bytes_of(size)
        self._cache = Memory(blocks * self._block_bytes).take(blocks * self._block_bytes)

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """The second block of each pair gets what the first holds."""
        blocks = self._cache.view(-1, self._block_bytes)
        for source, target in pairs:
            blocks[target] = blocks[source]

    @torch.inference_mode()
    def read(self, work: Sequence[Work]) -> Tensor:
        """Logits (N, V) in float32: of every token of a piece of work, or of its last."""
        parts = [self._step(part) for part in _parts(work)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _step(self, work: Sequence["_Part"]) -> Tensor:
        ids, positions, sequence, blocks, table, wanted = (array("i") for _ in range(6))
        for number, part in enumerate(work):
            wanted.extend(len(ids) + place for place in part.wanted)
            ids.extend(part.ids)
            positions.extend(range(part.start, part.start + len(part.ids)))
            sequence.extend([number] * len(part.ids))
            table.append(len(blocks))
            blocks.extend(part.blocks)
        longest = max(positions) + 1
        assert longest <= self.context, "callers keep to the context"
        given = self._embedded(ids, positions)
        logits_NV = torch.empty(len(wanted), self.vocab)
        lists = (ids, positions, sequence, blocks, table, wanted)
        step = Step(
            len(ids), len(wanted), longest, torch.get_num_threads(),
            *(values.buffer_info()[0] for values in lists),
            None if given is None else given.data_ptr(), logits_NV.data_ptr(),
            self._cache.data_ptr(), self._size, self._block_bytes, self.few,
        )  # fmt: skip
        self._library.ownlm_decode_step(ctypes.byref(self._parts.ref), ctypes.byref(step))
        return logits_NV

    def _embedded(self, ids: "array[int]", positions: "array[int]") -> Tensor | None:
        """Rows of the stream, (N, D), where the C++ side cannot look them up itself."""
        if self._parts.native_embedding:
            return None
        rows = torch.tensor([ids.tolist()]), torch.tensor([positions.tolist()])
        x_ND: Tensor = self._model.embed(*rows)[0].float().contiguous()
        return x_ND


class _Part:
    """Some tokens of one piece of work, and which of them need logits."""

    def __init__(self, work: Work, begin: int, end: int) -> None:
        self.ids, self.start, self.blocks = work.ids[begin:end], work.start + begin, work.blocks
        last = range(end - begin - 1, end - begin) if end == len(work.ids) else range(0)
        self.wanted = range(end - begin) if work.every else last


def _parts(work: Sequence[Work]) -> Iterator[list[_Part]]:
    """The work in calls of at most `MOST` tokens, in order."""
    call: list[_Part] = []
    room = MOST
    for one in work:
        begin = 0
        while begin < len(one.ids):
            end = min(len(one.ids), begin + room)
            call.append(_Part(one, begin, end))
            room -= end - begin
            begin = end
            if room == 0:
                yield call
                call, room = [], MOST
    if call:
        yield call
