"""Cross entropy as (sum, count): the division happens once, at the optimizer step.

Shapes: N tokens, D width, V vocabulary, C tokens of one chunk.
"""

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm import native
from ownlm.nn import fused, linear

Loss = Callable[[Tensor, Tensor, Tensor | None, Tensor, int, float, float], tuple[Tensor, Tensor]]

LARGE = 1 << 24
"""Logits beyond this count (64 MB in float32) are never held at once."""
SOME = 1 << 20
"""Logits from which on the native path, where there is one, is faster than the plain one."""
CHUNK = 1 << 23
"""Logits of one chunk, 32 MB in float32: measured best on a CPU at 32,000 ids."""
ROWS = {"cpu": 256}
"""At least so many tokens a chunk: each chunk reads the whole output matrix."""
NATIVE_CHUNK = 1 << 26
"""Logits of one chunk of the native path, 128 MB in bfloat16: GPT-2's for 1,024 tokens."""
SOURCE = Path(__file__).parent / "kernels" / "entropy.cpp"


def cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    *,
    ignore: int = -100,
    softcap: float = 0.0,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Summed cross entropy in nats (float32), and how many targets were not `ignore`.

    Logits are hidden weight^T + bias, squashed into (-softcap, softcap) when that is set. A target
    has a probability of 1 - `smoothing`, the rest is spread evenly over all V.
    """
    limit = SOME if _able(hidden_ND, weight_VD, softcap, smoothing) else LARGE
    many = len(targets_N) * len(weight_VD) > limit
    # Gradients made in forward are nothing for torch.compile: the large case stays eager.
    compute: Loss = torch.compiler.disable(chunked) if many else plain
    return compute(hidden_ND, weight_VD, bias_V, targets_N, ignore, softcap, smoothing)


def plain(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    ignore: int,
    softcap: float,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """All logits at once: the reference, and the faster way for small vocabularies."""
    logits_NV = F.linear(hidden_ND, weight_VD, bias_V).float()
    if softcap:
        logits_NV = softcap * torch.tanh(logits_NV / softcap)
    total = F.cross_entropy(
        logits_NV, targets_N, ignore_index=ignore, reduction="sum", label_smoothing=smoothing
    )
    return total, (targets_N != ignore).sum()


def chunked(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    ignore: int,
    softcap: float,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """A few tokens at a time; ignored ones never reach the output matrix.

    (torch's own `linear_cross_entropy` does the same, but on a CPU it took three to five times
    as long as the plain way and returned its sum rounded to bfloat16.)
    """
    kept_N = (targets_N != ignore).nonzero().squeeze(1)
    learn = torch.is_grad_enabled()
    inputs = (hidden_ND[kept_N], weight_VD, bias_V, targets_N[kept_N], softcap, smoothing, learn)
    function = _Native if _able(inputs[0], weight_VD, softcap, smoothing) else _Chunked
    total: Tensor = function.apply(*inputs)  # type: ignore[no-untyped-call]
    return total, torch.tensor(len(kept_N), device=targets_N.device)


def _able(hidden_ND: Tensor, weight_VD: Tensor, softcap: float, smoothing: float) -> bool:
    """Whether the native path can take these."""
    simple = torch.is_grad_enabled() and not softcap and not smoothing
    return simple and linear.usable(hidden_ND, weight_VD) and available()


class _Chunked(torch.autograd.Function):
    """Gradients are made with the loss, while a chunk's logits exist; backward scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        softcap: float,
        smoothing: float,
        learn: bool,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        wanted = ctx.needs_input_grad
        sums = _Gradients(hidden_ND, weight_VD, bias_V, wanted) if learn else None
        rows = max(ROWS.get(hidden_ND.device.type, 1024), CHUNK // len(weight_VD))
        for begin in range(0, len(targets_N), rows):
            part = slice(begin, begin + rows)
            logits_CV = F.linear(hidden_ND[part], weight_VD, bias_V).float()
            if softcap:
                logits_CV = softcap * torch.tanh(logits_CV / softcap)
            logs_CV = logits_CV.log_softmax(dim=-1)
            total -= (1 - smoothing) * logs_CV.gather(1, targets_N[part, None]).sum()
            if smoothing:
                total -= smoothing * logs_CV.mean(dim=-1).sum()
            if sums is not None:
                slopes_CV = _slopes(logs_CV, targets_N[part], smoothing)
                if softcap:
                    slopes_CV *= 1 - (logits_CV / softcap) ** 2
                sums.add(part, slopes_CV.to(hidden_ND.dtype))
        ctx.sums = sums
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.sums.scaled(grad)
        return hidden, weight, bias, None, None, None, None


class _Native(_Chunked):
    """The same by kernels/product.cpp and kernels/entropy.cpp: logits exist in bfloat16 only."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        softcap: float,
        smoothing: float,
        learn: bool,
    ) -> Tensor:
        if len(targets_N) and not 0 <= int(targets_N.min()) <= int(targets_N.max()) < len(
            weight_VD
        ):
            raise IndexError(f"a target is out of bounds of {len(weight_VD):,} ids")
        rows = max(ROWS["cpu"], NATIVE_CHUNK // len(weight_VD))
        wanted = ctx.needs_input_grad
        sums = ctx.sums = _NativeGradients(hidden_ND, weight_VD, bias_V, wanted, rows)
        total = torch.zeros(())
        for begin in range(0, len(targets_N), rows):
            part = slice(begin, begin + rows)
            slopes_CV = linear.product(hidden_ND[part], weight_VD.T, bias_V)
            total += entropy_(slopes_CV, targets_N[part])
            sums.add(part, slopes_CV)
        return total


def entropy_(logits_CV: Tensor, targets_C: Tensor) -> Tensor:
    """Summed nats; the bf16 logits become the loss's derivative by them."""
    library = kernel()
    assert library is not None, "callers ask"
    targets_C, nats_C = targets_C.contiguous(), torch.empty(len(targets_C))
    pointers = (ctypes.c_void_p(t.data_ptr()) for t in (logits_CV, targets_C, nats_C))
    library.ownlm_entropy(*pointers, *map(ctypes.c_int64, logits_CV.shape))
    return nats_C.sum()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def available() -> bool:
    """Whether there is a native path here; a constant to torch.compile."""
    return kernel() is not None


def kernel() -> ctypes.CDLL | None:
    """The native loss, where the native products run; it knows the same processors."""
    found = fused.flags()
    return native.library(SOURCE, found) if found and linear.available() else None


def _slopes(logs_CV: Tensor, targets_C: Tensor, smoothing: float) -> Tensor:
    """Derivative of the loss by the logits: probabilities, less those that are wanted."""
    slopes_CV = logs_CV.exp_()
    if smoothing:
        slopes_CV -= smoothing / slopes_CV.shape[1]
    wanted = slopes_CV.new_full((len(targets_C), 1), smoothing - 1.0)
    return slopes_CV.scatter_add_(1, targets_C[:, None], wanted)


class _Gradients:
    """Sums over chunks; the weight's in float32, for it receives many small parts.

    What is frozen has none: of a head that does not train that is a third of the work.
    """

    def __init__(
        self,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        wanted: Sequence[bool],
    ) -> None:
        """`wanted` says of each of the three, and what follows, whether it needs a gradient."""
        self.inputs = hidden_ND, weight_VD
        for_hidden, for_weight, for_bias, *_ = wanted
        self.hidden = self.new_hidden() if for_hidden else None
        self.weight = self.new_weight() if for_weight else None
        self.bias = None
        if for_bias and bias_V is not None:
            self.bias = torch.zeros_like(bias_V, dtype=torch.float32)

    def new_hidden(self) -> Tensor:
        """Where the gradient of hidden states is written."""
        return torch.empty_like(self.inputs[0])

    def new_weight(self) -> Tensor:
        """Where that of the weight is summed."""
        return torch.zeros_like(self.inputs[1], dtype=torch.float32)

    def add(self, part: slice, slopes_CV: Tensor) -> None:
        """One chunk's contribution."""
        hidden_ND, weight_VD = self.inputs
        if self.hidden is not None:
            torch.mm(slopes_CV, weight_VD, out=self.hidden[part])
        if self.weight is not None:
            self.weight += slopes_CV.T @ hidden_ND[part]
        if self.bias is not None:
            self.bias += slopes_CV.sum(dim=0)

    def scaled(self, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients for a loss that was scaled by `grad`, in their tensors' types."""
        hidden, weight, bias = self.hidden, self.weight, self.bias
        dtype = self.inputs[0].dtype
        if not (grad.device.type == "cpu" and grad == 1):  # as a rule it need not be applied
            hidden = None if hidden is None else hidden * grad.to(dtype)
            weight, bias = (None if sums is None else sums * grad for sums in (weight, bias))
        hidden, weight, bias = (
            None if sums is None else sums.to(dtype) for sums in (hidden, weight, bias)
        )
        return hidden, weight, bias


class _NativeGradients(_Gradients):
    """One chunk's gradient of the weight is made in bfloat16 at once, several add up in float32."""

    def __init__(
        self,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        wanted: Sequence[bool],
        rows: int,
    ) -> None:
        self.several = len(hidden_ND) > rows
        super().__init__(hidden_ND, weight_VD, bias_V, wanted)

    def new_hidden(self) -> Tensor:
        """In float32: parts of the vocabulary add to it."""
        return torch.zeros_like(self.inputs[0], dtype=torch.float32)

    def new_weight(self) -> Tensor:
        """In float32 only where several chunks add to it."""
        weight_VD = self.inputs[1]
        return torch.empty_like(weight_VD, dtype=torch.float32 if self.several else None)

    def add(self, part: slice, slopes_CV: Tensor) -> None:
        """One chunk's contribution."""
        hidden_ND, weight_VD = self.inputs
        if self.hidden is not None:
            for begin in range(0, len(weight_VD), linear.DEEP):
                deep, to = slice(begin, begin + linear.DEEP), self.hidden[part]
                linear.product_into(to, slopes_CV[:, deep], weight_VD[deep], add=True)
        if self.weight is not None:
            more = self.several and part.start > 0
            linear.product_into(self.weight, slopes_CV.T, hidden_ND[part], add=more)
        if self.bias is not None:
            self.bias += slopes_CV.sum(dim=0)
