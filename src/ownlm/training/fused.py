"""AdamW and the gradient's norm by kernels/adamw.cpp: each number is read once an update.

Used in bf16 runs on a CPU with a compiler at hand. torch's own kernels need the gradient in
float32, go over the parameters once more to round them, and over the gradients once more for
the norm: at a million parameters and few tokens an update that is a tenth of the time.
"""

import ctypes
import math
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from ownlm import native
from ownlm.training.config import OptimizerConfig

SOURCE = Path(__file__).parent / "kernels" / "adamw.cpp"
_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}


class _Rule(ctypes.Structure):
    """The C++ side's `Rule`, field by field."""

    _fields_ = tuple(
        (name, ctypes.c_float)
        for name in ("scale", "beta1", "beta2", "kept", "step", "root", "eps")
    )


def available(device: torch.device) -> bool:
    """Whether the kernels can run here."""
    return device.type == "cpu" and native.library(SOURCE) is not None


def total_norm(gradients: Collection[Tensor]) -> Tensor:
    """The norm of all numbers together, summed in float64."""
    return torch.tensor(math.sqrt(math.fsum(map(_square_sum, gradients))), dtype=torch.float32)


def _square_sum(gradient: Tensor) -> float:
    gradient = gradient.contiguous()
    call = getattr(_library(), f"ownlm_square_sum_{_NAMES[gradient.dtype]}")
    call.restype = ctypes.c_double
    return float(call(ctypes.c_void_p(gradient.data_ptr()), ctypes.c_int64(gradient.numel())))


def rule(config: OptimizerConfig, step: int, lr: float, divisor: float, *, decays: bool) -> _Rule:
    """The numbers of update `step` (from 0)."""
    beta1, beta2 = config.betas
    return _Rule(
        1 / divisor,
        beta1,
        beta2,
        1 - lr * config.weight_decay * decays,
        lr / (1 - beta1 ** (step + 1)),
        1 / math.sqrt(1 - beta2 ** (step + 1)),
        config.eps,
    )


def adamw(
    rule: _Rule, gradient: Tensor, master: Tensor, first: Tensor, second: Tensor, live: Tensor
) -> None:
    """Move `master` and the moments (float32), and round `master` into `live` (bfloat16)."""
    gradient = gradient.contiguous()
    written = (master, first, second, live)
    assert all(tensor.is_contiguous() for tensor in written)
    at = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (gradient, *written))
    call = getattr(_library(), f"ownlm_adamw_{_NAMES[gradient.dtype]}")
    call(ctypes.byref(rule), *at, ctypes.c_int64(master.numel()))


def _library() -> ctypes.CDLL:
    library = native.library(SOURCE)
    assert library is not None, "callers ask `available`"
    return library
