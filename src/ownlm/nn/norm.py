"""Normalisation over the last axis, computed in float32 whatever the parameters' type."""

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm import native
from ownlm.nn.config import NormKind

SOURCE = Path(__file__).parent / "kernels" / "norm.cpp"
BLOCKS = 64
"""Parts of the rows whose gradients of the weight are summed apart."""


class RMSNorm(nn.Module):
    """x / rms(x) * (weight + offset) (Zhang & Sennrich 2019, arXiv:1910.07467).

    With `offset` 1 the weight is stored around zero, as Gemma does: adding the one on loading
    would round a bfloat16 weight.
    """

    def __init__(self, dim: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.eps, self.offset = eps, offset
        self.weight = nn.Parameter(torch.full((dim,), 1.0 - offset))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that ends in dim, to the same shape and type."""
        if not self.offset and x.dtype == self.weight.dtype:
            if usable(x, self.weight):
                y: Tensor = _Norm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
                return y
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        weight = self.weight.float() + self.offset
        return F.rms_norm(x.float(), weight.shape, weight, self.eps).to(x.dtype)


def make_norm(kind: NormKind, dim: int, eps: float) -> nn.Module:
    """A norm of the wanted kind; LayerNorm follows Ba et al. 2016 (arXiv:1607.06450)."""
    if kind.startswith("rms"):
        return RMSNorm(dim, eps, offset=1.0 if kind == "rms_offset" else 0.0)
    return nn.LayerNorm(dim, eps, bias=kind == "layer")


def usable(x: Tensor, weight: Tensor) -> bool:
    """Whether the native form can take these and is worth it: in bf16 training on a CPU, where
    torch makes six passes over the rows; a compiler makes one of them itself. float32 stays
    torch's, the reference that parity is held against."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.bfloat16
        and torch.is_grad_enabled()
        and x.requires_grad
        and not torch.compiler.is_compiling()
        and native.library(SOURCE) is not None
    )


class _Norm(torch.autograd.Function):
    """y = x r w with r = 1 / rms(x); dx = r g w - x r^3 mean(g w x); dw sums g x r."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        y, inverse = torch.empty_like(x), torch.empty(x.numel() // len(weight))
        _call("ownlm_norm", (x, weight, eps, y, inverse), len(inverse), len(weight))
        ctx.save_for_backward(x, weight, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        dx, sums = torch.empty_like(x), torch.zeros(BLOCKS, len(weight))
        given = (grad.contiguous(), x, weight, inverse, dx, sums)
        _call("ownlm_norm_back", given, BLOCKS, len(inverse), len(weight))
        return dx, sums.sum(dim=0).to(weight.dtype), None


def _call(name: str, given: tuple[Tensor | float, ...], *sizes: int) -> None:
    library = native.library(SOURCE)
    assert library is not None, "callers ask `usable`"
    pointers = (
        ctypes.c_void_p(g.data_ptr()) if isinstance(g, Tensor) else ctypes.c_float(g) for g in given
    )
    getattr(library, name)(*pointers, *map(ctypes.c_int64, sizes))
