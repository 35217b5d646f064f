"""Normalisation over the last axis, computed in float32 whatever the parameters' type."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.config import NormKind


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
        if not self.offset:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        weight = self.weight.float() + self.offset
        return F.rms_norm(x.float(), weight.shape, weight, self.eps).to(x.dtype)


def make_norm(kind: NormKind, dim: int, eps: float) -> nn.Module:
    """A norm of the wanted kind; LayerNorm follows Ba et al. 2016 (arXiv:1607.06450)."""
    if kind.startswith("rms"):
        return RMSNorm(dim, eps, offset=1.0 if kind == "rms_offset" else 0.0)
    return nn.LayerNorm(dim, eps, bias=kind == "layer")
