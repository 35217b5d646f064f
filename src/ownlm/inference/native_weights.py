"""Weights as the native decoder reads them: in bf16, 8 or 4 bits, in panels of 16 outputs.

    bf16   rounded to the nearest
    int8   a row is whole numbers from -127 to 127 times its largest absolute number / 127
    int4   32 numbers that follow each other in a row are whole numbers from -8 to 7 times a scale
           in bf16, so that the largest of them becomes -8: 4.5 bits a number in all
What multiplies them is rounded too: to bf16, or to 8 bits with a scale for 64 (int8) or 32 (int4)
numbers. nn/kernels/decode_few.h draws the panels.

Shapes: O outputs, I inputs (padded to 16 and 64), P panels, G groups of a row.
"""

import ctypes
import mmap
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["bf16", "int8", "int4"]
KINDS: tuple[Kind, ...] = ("bf16", "int8", "int4")
"""Their places are the numbers of the C++ side's `Kind`."""
LANES, DEPTH, GROUP = 16, 64, 32
"""Outputs of a panel, inputs that all kinds are padded to, numbers of 4 bits that share a scale."""
_HUGE = 2 << 20


class Packed(NamedTuple):
    """A weight in panels."""

    data: Tensor
    """Bytes."""
    scale_O: Tensor | None = None
    """Of each output, float32, padded; 8 bits only."""


def pack(weight_OI: Tensor, kind: Kind) -> Packed:
    """A matrix, (O, I), in panels."""
    outputs, inputs = weight_OI.shape
    padded_OI = F.pad(weight_OI.float(), (0, -inputs % DEPTH, 0, -outputs % LANES))
    return _PACK[kind](padded_OI)


def rounded(weight_OI: Tensor, kind: Kind) -> Tensor:
    """The float32 matrix that a packed one stands for."""
    if kind == "bf16":
        return weight_OI.bfloat16().float()
    if kind == "int8":
        codes_OI, scale_O = _codes_8(weight_OI.float())
        return codes_OI * scale_O[:, None]
    padded_OI = F.pad(weight_OI.float(), (0, -weight_OI.shape[1] % DEPTH))
    codes_OGn, scale_OG = _codes_4(padded_OI)
    return (codes_OGn * scale_OG[:, :, None].float()).flatten(1)[:, : weight_OI.shape[1]]


def alternating(rows: Tensor) -> Tensor:
    """Gate's rows and up's, (2 F, ...), in turn: 16 of gate, 16 of up, each padded with zeros."""
    half = len(rows) // 2
    short = -half % LANES
    gate, up = (torch.cat((x, x.new_zeros(short, *x.shape[1:]))) for x in rows.split(half))
    both = torch.stack((gate.unflatten(0, (-1, LANES)), up.unflatten(0, (-1, LANES))), dim=1)
    return both.flatten(0, 2)


def packed_bytes(outputs: int, inputs: int, kind: Kind) -> int:
    """Bytes of the panels of a matrix."""
    numbers = (outputs + -outputs % LANES) * (inputs + -inputs % DEPTH)
    return numbers * 9 // 16 if kind == "int4" else numbers * (2 if kind == "bf16" else 1)


class Memory:
    """Zeros on pages of 2 MB, taken piece by piece. With small pages the processor looks up
    addresses so often that weights do not stream at the speed of memory."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size + _HUGE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = torch.frombuffer(self._map, dtype=torch.uint8)
        self._used = -self._bytes.data_ptr() % _HUGE

    def take(self, size: int) -> Tensor:
        """The next `size` bytes, as uint8; the piece after them begins at a line."""
        piece = self._bytes[self._used : self._used + size]
        assert len(piece) == size, "the size was counted beforehand"
        self._used += size + -size % 64
        return piece


def _panels(words_OW: Tensor) -> Tensor:
    """Words of 32 bits, output by output, to lines of 16 outputs, as bytes."""
    panels_PLW: Tensor = words_OW.unflatten(0, (-1, LANES))
    return panels_PLW.transpose(1, 2).contiguous().view(torch.uint8).flatten()


def _pack_bf16(weight_OI: Tensor) -> Packed:
    return Packed(_panels(weight_OI.bfloat16().view(torch.int32)))


def _codes_8(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    scale_O = _nonzero(weight_OI.abs().amax(dim=1)) / 127
    return (weight_OI / scale_O[:, None]).round(), scale_O


def _pack_8(weight_OI: Tensor) -> Packed:
    codes_OI, scale_O = _codes_8(weight_OI)
    return Packed(_panels(codes_OI.to(torch.int8).view(torch.int32)), scale_O)


def _codes_4(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers from -8 to 7 and bf16 scales, of groups."""
    groups_OGn = weight_OI.unflatten(1, (-1, GROUP))
    largest_OG = groups_OGn.gather(2, groups_OGn.abs().argmax(dim=2, keepdim=True))[:, :, 0]
    scale_OG = _nonzero((largest_OG / -8).bfloat16())
    return (groups_OGn / scale_OG[:, :, None].float()).round().clamp(-8, 7), scale_OG


def _pack_4(weight_OI: Tensor) -> Packed:
    """Blocks of 64 inputs: eight lines of numbers (the first 32 in the low halves of the bytes),
    then a line of scales."""
    codes_OGn, scale_OG = _codes_4(weight_OI)
    low_OBn, high_OBn = ((codes_OGn[:, half::2] + 8).to(torch.uint8) for half in (0, 1))
    blocks_OBW = (low_OBn | high_OBn << 4).view(torch.int32)
    scales_OB1 = scale_OG.contiguous().view(torch.int32)[:, :, None]
    return Packed(_panels(torch.cat((blocks_OBW, scales_OB1), dim=2).flatten(1)))


_PACK: dict[Kind, Callable[[Tensor], Packed]] = {
    "bf16": _pack_bf16,
    "int8": _pack_8,
    "int4": _pack_4,
}


def _nonzero(scales: Tensor) -> Tensor:
    """1 for a row or group of zeros."""
    return torch.where(scales == 0, 1.0, scales)


class Weight(ctypes.Structure):
    """The C++ side's `Weight`, field by field."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("data", "scale", "bias")),
        *((name, ctypes.c_int64) for name in ("outputs", "inputs")),
        ("kind", ctypes.c_int32),
    )


class Packer:
    """Packs the matrices of a model one after the other, and keeps what the C++ side points to."""

    def __init__(self, kind: Kind, sizes: Sequence[tuple[int, int]]) -> None:
        """`sizes` are the outputs and inputs of all matrices to come."""
        self.kind = kind
        self.bytes = sum(packed_bytes(*size, kind) for size in sizes)
        self._memory = Memory(self.bytes + 64 * len(sizes))
        self._held: list[Tensor] = []

    def weight(self, weight_OI: Tensor, bias_O: Tensor | None) -> Weight:
        """One matrix and its bias."""
        outputs, inputs = weight_OI.shape
        packed = pack(weight_OI.detach(), self.kind)
        data = self._memory.take(len(packed.data))
        data.copy_(packed.data)
        place = KINDS.index(self.kind)
        scale, bias = self.numbers(packed.scale_O), self.numbers(bias_O)
        return Weight(data.data_ptr(), scale, bias, outputs, inputs, place)

    def numbers(self, x: Tensor | None) -> int | None:
        """Where the float32 numbers of x are, with zeros behind them up to a whole panel."""
        if x is None:
            return None
        return self.hold(F.pad(x.detach().float(), (0, -x.shape[-1] % LANES)).contiguous())

    def hold(self, x: Tensor) -> int:
        """Where x is, which stays."""
        self._held.append(x)
        return x.data_ptr()
