"""Frozen weights in 4 or 8 bits, for training additions of low rank on top of them (QLoRA).

    8   a row is whole numbers from -127 to 127 times its largest absolute number / 127:
        |w - w'| <= max |row| / 254
    4   NormalFloat (Dettmers et al. 2023, arXiv:2305.14314): of 64 numbers that follow each other
        in a row, each is one of 16 levels times the largest absolute one. The levels are the
        quantiles of a normal distribution, which pretrained weights resemble; the widest gap
        between two is 0.304, so |w - w'| <= 0.152 max |block|
Scales are float32: 8 bits and 4.5 bits a number in all.

A product makes the weight again, in the inputs' type, forward and backward; it never stays.

Shapes: N tokens, I inputs, O outputs, K blocks of a row.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.linear import Linear, frozen, linear

BLOCK = 64
"""Numbers of a row that share a scale in 4 bits."""

LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip
"""NormalFloat's 16 levels, as the paper's appendix E gives them."""


class Packed(NamedTuple):
    """A weight in few bits."""

    codes: Tensor
    """8 bits: (O, I) int8; 4 bits: two numbers a byte, the first in the high half."""
    scales: Tensor
    """8 bits: (O, 1); 4 bits: (O, K)."""


class QuantizedLinear(nn.Module):
    """A frozen `Linear` that keeps its weight in few bits."""

    codes: Tensor
    scales: Tensor

    def __init__(self, layer: Linear, bits: Literal[4, 8]) -> None:
        super().__init__()
        self.out_features, self.in_features = layer.weight.shape
        self.bits, self.bias = bits, layer.bias
        packed = pack(layer.weight.detach(), bits)
        self.register_buffer("codes", packed.codes)
        self.register_buffer("scales", packed.scales)

    @property
    def weight(self) -> Tensor:
        """(O, I) in float32, made at each access."""
        return unpack(Packed(self.codes, self.scales), self.in_features, torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return self.product(x, self.bias)

    def product(self, x: Tensor, bias_O: Tensor | None) -> Tensor:
        """x W^T + a bias of the caller's."""
        y: Tensor = _Product.apply(x, self.codes, self.scales, bias_O)  # type: ignore[no-untyped-call]
        return y

    def plain(self, dtype: torch.dtype) -> Linear:
        """A layer with the weight that this one computes with."""
        return frozen(self.weight.to(dtype), self.bias)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"{self.in_features}, {self.out_features}, bits={self.bits}"


class _Product(torch.autograd.Function):
    """y = x W^T + b with W made from its codes; dx = dy W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(codes, scales)
        ctx.inputs = x.shape[-1]
        return linear(x, unpack(Packed(codes, scales), x.shape[-1], x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight_OI = unpack(Packed(*ctx.saved_tensors), ctx.inputs, grad.dtype)
        return linear(grad, weight_OI.T), None, None, None


def pack(weight_OI: Tensor, bits: Literal[4, 8]) -> Packed:
    """A matrix in few bits."""
    return _pack_8(weight_OI.float()) if bits == 8 else _pack_4(weight_OI.float())


def unpack(packed: Packed, inputs: int, dtype: torch.dtype) -> Tensor:
    """The matrix again, (O, inputs)."""
    if packed.codes.dtype == torch.int8:
        return (packed.codes * packed.scales).to(dtype)
    levels = torch.tensor(LEVELS, device=packed.codes.device)
    pairs = torch.stack((levels.repeat_interleave(16), levels.repeat(16)), dim=1)  # of each byte
    numbers_OI = F.embedding(packed.codes.int(), pairs).flatten(1)
    blocks_OKB = numbers_OI.unflatten(1, (-1, BLOCK)) * packed.scales[:, :, None]
    weight_OI: Tensor = blocks_OKB.flatten(1)[:, :inputs].to(dtype)
    return weight_OI


def _pack_8(weight_OI: Tensor) -> Packed:
    scales_O1 = _nonzero(weight_OI.abs().amax(dim=1, keepdim=True)) / 127
    return Packed((weight_OI / scales_O1).round().to(torch.int8), scales_O1)


def _pack_4(weight_OI: Tensor) -> Packed:
    short = -weight_OI.shape[1] % BLOCK
    blocks_OKB = F.pad(weight_OI, (0, short)).unflatten(1, (-1, BLOCK))
    scales_OK = _nonzero(blocks_OKB.abs().amax(dim=2))
    levels = torch.tensor(LEVELS, device=weight_OI.device)
    borders = (levels[1:] + levels[:-1]) / 2
    nearest = torch.bucketize(blocks_OKB / scales_OK[:, :, None], borders).to(torch.uint8)
    codes_OI = nearest.flatten(1)
    return Packed(codes_OI[:, 0::2] * 16 + codes_OI[:, 1::2], scales_OK)


def _nonzero(scales: Tensor) -> Tensor:
    """1 for a row or block of zeros."""
    return torch.where(scales > 0, scales, 1.0)
