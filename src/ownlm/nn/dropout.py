"""Dropout whose mask is a pure function of (seed, place), so that no mask is ever stored.

torch's dropout on a CPU draws its bits one after the other and takes 80 times as long as the
arithmetic it guards. Here the bit of place i is a hash of i and the seed: any number of
threads computes it, the backward pass computes it again, and a step repeated with the same
seed drops the same places. Srivastava et al. 2014 (JMLR 15) is dropout itself.
"""

import ctypes
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm import native

SOURCE = Path(__file__).parent / "kernels" / "dropout.cpp"
_FUNCTIONS = {torch.float32: "ownlm_dropout_fp32", torch.bfloat16: "ownlm_dropout_bf16"}


class Dropout(nn.Module):
    """Zero a share `p` of the numbers in training and scale the rest by 1 / (1 - p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; in evaluation, or with p = 0, the input itself."""
        if not self.training or self.p == 0:
            return x
        if x.device.type == "cpu" and x.dtype in _FUNCTIONS and available():
            y: Tensor = hashed_dropout(x, draw_seed(), self.p)
            return y
        return F.dropout(x, self.p)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"p={self.p}"


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def available() -> bool:
    """Whether the native form can run here; a constant to torch.compile."""
    return native.library(SOURCE) is not None


def draw_seed() -> Tensor:
    """A seed from torch's generator: what `torch.manual_seed` fixes, it fixes too."""
    return torch.randint(2**31, ())


def threshold(p: float) -> int:
    """Hashes below this are dropped."""
    return int(p * 2**32)


def mix(x: Tensor) -> Tensor:
    """Hash of 32-bit words held in int64 (C. Wellons, lowbias32), as in kernels/*.cpp."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & 0xFFFFFFFF
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


def kept(places: Tensor, mixed_seed: Tensor, p: float) -> Tensor:
    """True where dropout lets a number pass; the plain form of what the kernels compute."""
    return mix((places & 0xFFFFFFFF) ^ mixed_seed) >= threshold(p)


@torch.library.custom_op("ownlm::dropout", mutates_args=())
def hashed_dropout(x: Tensor, seed: Tensor, p: float) -> Tensor:
    """Drop a share `p` of x with the mask that `seed` (a scalar) names."""
    library = native.library(SOURCE)
    assert library is not None, "callers check"
    x = x.contiguous()
    y = torch.empty_like(x)
    call = getattr(library, _FUNCTIONS[x.dtype])
    call(
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_void_p(y.data_ptr()),
        ctypes.c_int64(x.numel()),
        ctypes.c_uint32(int(seed)),
        ctypes.c_uint32(threshold(p)),
    )
    return y


@hashed_dropout.register_fake
def _(x: Tensor, seed: Tensor, p: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _remember(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:  # type: ignore[type-arg]
    _, seed, p = inputs
    ctx.save_for_backward(seed)
    ctx.p = p  # type: ignore[attr-defined]


def _again(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
    (seed,) = ctx.saved_tensors  # type: ignore[attr-defined]
    return hashed_dropout(grad, seed, ctx.p), None, None  # type: ignore[attr-defined]


hashed_dropout.register_autograd(_again, setup_context=_remember)
