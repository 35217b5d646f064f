"""The native attention of kernels/attention.cpp as a torch operator.

It needs bf16 on a processor with AMX or AVX-512's bf16; `usable` says whether a call can take it.
Everything it computes, dropout mask included, `attention.attend_plainly` computes too.

Shapes: B batch, T queries, S keys, H query heads, G key/value heads, K head width.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ownlm import native
from ownlm.nn.dropout import threshold
from ownlm.runtime import cpu_flags

SOURCE = Path(__file__).parent / "kernels" / "attention.cpp"
WIDE = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16")
TILES = ("-mamx-tile", "-mamx-bf16")
NO_TILES = ("-mno-amx-tile", "-mno-amx-bf16")


class _Problem(ctypes.Structure):
    """The C++ side's `Problem`, field by field."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "queries", "keys", "heads", "kv_heads")),
        *((name, ctypes.c_int64) for name in ("width", "q_row", "q_batch", "kv_row", "kv_batch")),
        ("lo", ctypes.c_void_p),
        ("hi", ctypes.c_void_p),
        ("scale", ctypes.c_float),
        ("threshold", ctypes.c_uint32),
        ("seed", ctypes.c_uint32),
        ("bias", ctypes.c_void_p),
        ("dbias", ctypes.c_void_p),
    )


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def available() -> bool:
    """Whether the kernel can run here; a constant to torch.compile."""
    return kernel() is not None


@functools.cache
def flags() -> tuple[str, ...] | None:
    """What every kernel that multiplies in bf16 is built with: AMX where processor, system and
    compiler allow it, else the dot products of AVX-512; None where there is neither."""
    known = cpu_flags()
    if "avx512_bf16" not in known:
        return None
    ways: list[tuple[str, ...]] = [WIDE]
    if "amx_bf16" in known:  # which the system may refuse, and an old compiler not know
        ways = [(*WIDE, *TILES), (*WIDE, *NO_TILES), WIDE]
    for way in ways:
        library = native.library(SOURCE, way)
        if library is not None and library.ownlm_attention_available():
            return way
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def instructions() -> Literal["", "AMX", "AVX-512"]:
    """What multiplies in the kernels, empty without them; a constant to torch.compile."""
    found = flags()
    if found is None:
        return ""
    return "AMX" if set(TILES) <= set(found) else "AVX-512"


def kernel() -> ctypes.CDLL | None:
    """The compiled kernel when this processor can run it."""
    found = flags()
    return None if found is None else native.library(SOURCE, found)


def usable(q: Tensor, k: Tensor) -> bool:
    """Whether `attention` can take these: bf16 on a CPU made for it, heads of at most 256."""
    return (
        q.dtype == k.dtype == torch.bfloat16
        and q.device.type == "cpu"
        and q.shape[-1] % 16 == 0
        and q.shape[-1] <= 256
        and available()
    )


def attention(
    q_BTHK: Tensor,
    k_BSGK: Tensor,
    v_BSGK: Tensor,
    lo_BT: Tensor,
    hi_BT: Tensor,
    scale: float,
    p: float,
    seed: Tensor,
    bias_HTS: Tensor | None = None,
) -> Tensor:
    """softmax(q k^T scale + bias) v, (B, T, H, K), where query t reads keys lo[t] to hi[t] - 1.

    A query with lo == hi gives zeros. `lo` and `hi` are int32; `p` drops probabilities.
    """
    bias = None if bias_HTS is None else bias_HTS.float()
    out: Tensor = _attention(q_BTHK, k_BSGK, v_BSGK, lo_BT, hi_BT, scale, p, seed, bias)[0]
    return out


def _rows(x: Tensor) -> Tensor:
    """Heads must follow each other without gaps; positions and sequences may be strided."""
    return x if x.stride(-1) == 1 and x.stride(-2) == x.shape[-1] else x.contiguous()


class _Call(NamedTuple):
    """Inputs as the kernel wants them."""

    tensors: tuple[Tensor, Tensor, Tensor]
    """Queries, keys, values."""
    held: tuple[Tensor | None, ...]
    """`lo`, `hi` and biases, which the problem points to."""
    problem: _Problem


def _call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lo: Tensor,
    hi: Tensor,
    scale: float,
    p: float,
    seed: Tensor,
    *biases: Tensor | None,
) -> _Call:
    q, k, v = _rows(q), _rows(k), _rows(v)
    if v.stride() != k.stride():
        k, v = k.contiguous(), v.contiguous()
    lo, hi = lo.contiguous(), hi.contiguous()
    (B, T, H, K), (_, S, G, _) = q.shape, k.shape
    steps = (q.stride(1), q.stride(0), k.stride(1), k.stride(0))
    ends = (lo.data_ptr(), hi.data_ptr())
    added = (None if bias is None else bias.data_ptr() for bias in biases)
    numbers = (scale, threshold(p), int(seed))
    problem = _Problem(B, T, S, H, G, K, *steps, *ends, *numbers, *added)
    return _Call((q, k, v), (lo, hi, *biases), problem)


def _run(name: str, problem: _Problem, *tensors: Tensor) -> None:
    library = kernel()
    assert library is not None, "callers ask `usable`"
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors)
    getattr(library, name)(ctypes.byref(problem), *pointers)


@torch.library.custom_op("ownlm::attention", mutates_args=())
def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lo: Tensor,
    hi: Tensor,
    scale: float,
    p: float,
    seed: Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor]:
    held = None if bias is None else bias.contiguous()
    call = _call(q, k, v, lo, hi, scale, p, seed, held)
    B, T, H, _ = q.shape
    out, lse = q.new_empty(q.shape), torch.empty(B, H, T)
    _run("ownlm_attention_forward", call.problem, *call.tensors, out, lse)
    return out, lse


@_attention.register_fake
def _(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    B, T, H, _ = q.shape
    return q.new_empty(q.shape), q.new_empty((B, H, T), dtype=torch.float32)


@torch.library.custom_op("ownlm::attention_backward", mutates_args=())
def _attention_backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lo: Tensor,
    hi: Tensor,
    out: Tensor,
    lse: Tensor,
    grad: Tensor,
    scale: float,
    p: float,
    seed: Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    turned = None if bias is None else bias.mT.contiguous()
    sums = None if turned is None else torch.zeros_like(turned)
    call = _call(q, k, v, lo, hi, scale, p, seed, turned, sums)
    grads = q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)
    given = (*call.tensors, out, lse, grad.contiguous())
    _run("ownlm_attention_backward", call.problem, *given, *grads)
    return *grads, torch.empty(0) if sums is None else sums.mT.contiguous()


@_attention_backward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    bias = rest[-1]
    sums = torch.empty(0 if bias is None else bias.shape, dtype=torch.float32)
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape), sums


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, lo, hi, ctx.scale, ctx.p, seed, bias = inputs
    ctx.save_for_backward(q, k, v, lo, hi, *output, seed, bias)


def _gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    *tensors, seed, bias = ctx.saved_tensors
    *grads, for_bias = _attention_backward(*tensors, grad, ctx.scale, ctx.p, seed, bias)
    return (*grads, None, None, None, None, None, None if bias is None else for_bias)


_attention.register_autograd(_gradients, setup_context=_remember)
