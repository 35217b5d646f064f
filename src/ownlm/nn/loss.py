"""Cross entropy as (sum, count): the division happens once, at the optimizer step.

Shapes: N tokens, D width, V vocabulary, C tokens of one chunk.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor, Tensor | None, Tensor, int, float, float], tuple[Tensor, Tensor]]

LARGE = 1 << 24
"""Logits beyond this count (64 MB in float32) are never held at once."""
CHUNK = 1 << 23
"""Logits of one chunk, 32 MB in float32: measured best on a CPU at 32,000 ids."""
ROWS = {"cpu": 256}
"""At least so many tokens a chunk: each chunk reads the whole output matrix."""


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
    many = len(targets_N) * len(weight_VD) > LARGE
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
    total: Tensor = _Chunked.apply(*inputs)  # type: ignore[no-untyped-call]
    return total, torch.tensor(len(kept_N), device=targets_N.device)


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
        sums = _Gradients(hidden_ND, weight_VD, bias_V) if learn else None
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


def _slopes(logs_CV: Tensor, targets_C: Tensor, smoothing: float) -> Tensor:
    """Derivative of the loss by the logits: probabilities, less those that are wanted."""
    slopes_CV = logs_CV.exp_()
    if smoothing:
        slopes_CV -= smoothing / slopes_CV.shape[1]
    wanted = slopes_CV.new_full((len(targets_C), 1), smoothing - 1.0)
    return slopes_CV.scatter_add_(1, targets_C[:, None], wanted)


class _Gradients:
    """Sums over chunks; the weight's in float32, for it receives many small parts."""

    def __init__(self, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> None:
        self.inputs = hidden_ND, weight_VD
        self.hidden = torch.empty_like(hidden_ND)
        self.weight = torch.zeros_like(weight_VD, dtype=torch.float32)
        self.bias = None if bias_V is None else torch.zeros_like(bias_V, dtype=torch.float32)

    def add(self, part: slice, slopes_CV: Tensor) -> None:
        """One chunk's contribution."""
        hidden_ND, weight_VD = self.inputs
        torch.mm(slopes_CV, weight_VD, out=self.hidden[part])
        self.weight += slopes_CV.T @ hidden_ND[part]
        if self.bias is not None:
            self.bias += slopes_CV.sum(dim=0)

    def scaled(self, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The gradients for a loss that was scaled by `grad`, in their tensors' types."""
        dtype = self.hidden.dtype
        bias = None if self.bias is None else (self.bias * grad).to(dtype)
        return self.hidden * grad.to(dtype), (self.weight * grad).to(dtype), bias
