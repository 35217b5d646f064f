"""Relative positions as a learned bias of the scores (T5, Raffel et al. 2020, arXiv:1910.10683).

Shapes: T queries, S keys, H heads.
"""

import math

import torch
from torch import Tensor, nn

from ownlm.nn.config import StackConfig


class RelativeBias(nn.Module):
    """One number a head for each bucket of distances, shared by all layers of a stack."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        assert config.buckets is not None, "a stack without buckets has no relative bias"
        (self.count, self.farthest), self.causal = config.buckets, config.causal
        self.weight = nn.Parameter(torch.zeros(self.count, config.heads))

    def forward(self, distance_TS: Tensor) -> Tensor:
        """Key place minus query place, (T, S), to (H, T, S)."""
        places = bucket(distance_TS, self.count, self.farthest, self.causal)
        return self.weight[places].permute(2, 0, 1)


def bucket(distance: Tensor, count: int, farthest: int, causal: bool) -> Tensor:
    """The bucket of each distance (key minus query): near ones have their own, then they widen.

    Half of the buckets are exact; the rest grow by a constant ratio up to `farthest`, beyond
    which all share the last one. Without causality keys before and after the query each take
    half of `count`.
    """
    base = torch.zeros_like(distance)
    if causal:
        distance = (-distance).clamp(min=0)
    else:
        count //= 2
        base, distance = (distance > 0) * count, distance.abs()
    exact = count // 2
    ratio = torch.log(distance.float().clamp(min=1) / exact) / math.log(farthest / exact)
    wide = (exact + (ratio * (count - exact)).long()).clamp(max=count - 1)
    return base + torch.where(distance < exact, distance, wide)
