"""Linear layers: torch's, with the three products of training by kernels/product.cpp where it can.

The kernel needs bf16 on a processor with AMX or AVX-512's bf16; `usable` says whether a call can
take it. torch's own products of these sizes leave half of what AMX can do unused, most of all those
for the gradients of inputs and weights.

Shapes: N tokens, I inputs, O outputs of a layer.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm import native
from ownlm.nn import fused

SOURCE = Path(__file__).parent / "kernels" / "product.cpp"
FEWEST = 64
"""Rows of a product worth packing; a decoder's single tokens are better off with torch."""

DEEP = 4096
"""Depth of a product that the caches can still hold."""
MANY = 1 << 15
"""Tokens of one product for a weight's gradient: at most 512 MB are packed."""


class _Problem(ctypes.Structure):
    """The C++ side's `Product`, field by field."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("M", "N", "K", "a_row", "b_row", "c_row")),
        *((name, ctypes.c_int64) for name in ("more_K", "more_a_row", "more_b_row")),
        *((name, ctypes.c_void_p) for name in ("a", "b", "bias", "c", "more_a", "more_b")),
        *((name, ctypes.c_int32) for name in ("a_turned", "b_turned", "wide", "add")),
    )


class Linear(nn.Linear):
    """x W^T + b."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O), in the weight's format (a mixed run's stream is float32)."""
        return linear(x.to(self.weight.dtype), self.weight, self.bias)


def frozen(weight_OI: Tensor, bias_O: nn.Parameter | None) -> Linear:
    """A layer of this weight, which does not train."""
    outputs, inputs = weight_OI.shape
    made = Linear(inputs, outputs, bias=False, device="meta")
    made.weight = nn.Parameter(weight_OI, requires_grad=False)
    made.register_parameter("bias", bias_O)
    return made


def linear(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """`F.linear`, by the kernel where it can take it and pays."""
    alike = bias_O is None or bias_O.dtype == x.dtype
    if not (alike and pays(x, weight_OI)):
        return F.linear(x, weight_OI, bias_O)
    rows_NI = x.reshape(-1, x.shape[-1])
    y_NO: Tensor = _Linear.apply(rows_NI, weight_OI, bias_O)  # type: ignore[no-untyped-call]
    return y_NO.view(*x.shape[:-1], len(weight_OI))


def pays(x: Tensor, weight_OI: Tensor) -> bool:
    """Whether the kernel can take these and is faster than torch: with AMX. Torch's products by
    AVX-512 leave little undone (benchmarks/RESULTS.md), so there it serves the loss alone."""
    return fused.instructions() == "AMX" and usable(x, weight_OI)


def usable(x: Tensor, weight_OI: Tensor) -> bool:
    """Whether the kernel can take these: bf16 on a CPU made for it, and enough rows."""
    return (
        x.dtype == weight_OI.dtype == torch.bfloat16
        and x.device.type == "cpu"
        and x.shape[-1] == weight_OI.shape[1]
        and x.numel() >= FEWEST * x.shape[-1]
        and min(weight_OI.shape) >= FEWEST
        and available()
    )


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def available() -> bool:
    """Whether the kernel can run here; a constant to torch.compile."""
    return kernel() is not None


def kernel() -> ctypes.CDLL | None:
    """The compiled kernel when this processor can run it."""
    found = fused.flags()
    return None if found is None else _built(found)


@functools.cache
def _built(flags: tuple[str, ...]) -> ctypes.CDLL | None:
    library = native.library(SOURCE, flags)
    return library if library is not None and library.ownlm_product_available() else None


class _Linear(torch.autograd.Function):
    """y = x W^T + b; dx = dy W; dW = dy^T x; db sums dy."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_NI, weight_OI)
        y_NO: Tensor = product(x_NI, weight_OI.T, bias_O)
        return y_NO

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        x_NI, weight_OI = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            product(grad_NO, weight_OI) if for_x else None,
            weight_gradient(grad_NO, x_NI) if for_weight else None,
            grad_NO.sum(dim=0) if for_bias else None,
        )


def weight_gradient(grad_NO: Tensor, x_NI: Tensor) -> Tensor:
    """dy^T x. Very many tokens are added up in parts: what is packed at once takes memory."""
    if len(x_NI) <= MANY:
        whole_OI: Tensor = product(grad_NO.T, x_NI)
        return whole_OI
    sums_OI = x_NI.new_zeros(grad_NO.shape[1], x_NI.shape[1], dtype=torch.float32)
    for begin in range(0, len(x_NI), MANY):
        part = slice(begin, begin + MANY)
        sums_OI += product(grad_NO[part].T, x_NI[part])
    return sums_OI.to(x_NI.dtype)


@torch.library.custom_op("ownlm::product", mutates_args=())
def product(a_MK: Tensor, b_KN: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """a b + bias, (M, N), of bf16 matrices; transposed views are read as they lie in memory."""
    c_MN = a_MK.new_empty(a_MK.shape[0], b_KN.shape[1])
    product_into(c_MN, a_MK, b_KN, bias_N)
    return c_MN


@product.register_fake
def _(a_MK: Tensor, b_KN: Tensor, bias_N: Tensor | None = None) -> Tensor:
    return a_MK.new_empty(a_MK.shape[0], b_KN.shape[1])


@torch.library.custom_op("ownlm::product_of_pairs", mutates_args=())
def product_of_pairs(
    a_MK: Tensor, b_KN: Tensor, c_ML: Tensor, d_LN: Tensor, bias_N: Tensor | None = None
) -> Tensor:
    """a b + c d + bias, (M, N), in one pass: `c` lies in memory as `a` does, `d` as `b`."""
    out_MN = a_MK.new_empty(a_MK.shape[0], b_KN.shape[1])
    product_into(out_MN, a_MK, b_KN, bias_N, more=(c_ML, d_LN))
    return out_MN


@product_of_pairs.register_fake
def _(
    a_MK: Tensor, b_KN: Tensor, c_ML: Tensor, d_LN: Tensor, bias_N: Tensor | None = None
) -> Tensor:
    return a_MK.new_empty(a_MK.shape[0], b_KN.shape[1])


def product_into(
    c_MN: Tensor,
    a_MK: Tensor,
    b_KN: Tensor,
    bias_N: Tensor | None = None,
    *,
    add: bool = False,
    more: tuple[Tensor, Tensor] | None = None,
) -> None:
    """c = a b + bias, plus the product of a pair of matrices `more`; a float32 `c` gets sums that
    were not rounded, with `add` on top of its own.

    Deep products are best added up in parts of `DEEP`, which the caches can hold.
    """
    library = kernel()
    assert library is not None, "callers ask `usable`"
    wide = c_MN.dtype == torch.float32
    assert c_MN.stride(1) == 1 and (wide or not add)
    a, a_turned = _lying(a_MK)
    b, b_turned = _lying(b_KN)
    bias = None if bias_N is None else bias_N.contiguous()
    steps = a.stride(0), b.stride(0), c_MN.stride(0)
    at = a.data_ptr(), b.data_ptr(), None if bias is None else bias.data_ptr(), c_MN.data_ptr()
    second, places = (0, 0, 0), (0, 0)
    if more is not None:
        c, d = _turned(more[0], a_turned), _turned(more[1], b_turned)
        second = more[0].shape[1], c.stride(0), d.stride(0)
        places = c.data_ptr(), d.data_ptr()
    problem = _Problem(
        *c_MN.shape, a_MK.shape[1], *steps, *second, *at, *places, a_turned, b_turned, wide, add
    )
    library.ownlm_product(ctypes.byref(problem))


def _lying(x: Tensor) -> tuple[Tensor, bool]:
    """The matrix whose rows lie in memory one number after the other: x itself, or x^T."""
    if x.stride(1) == 1:
        return x, False
    return (x.T, True) if x.stride(0) == 1 else (x.contiguous(), False)


def _turned(x: Tensor, turned: bool) -> Tensor:
    """The matrix, or with `turned` x^T, as rows that lie in memory one number after the other."""
    x = x.T if turned else x
    return x if x.stride(1) == 1 else x.contiguous()
