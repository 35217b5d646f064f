"""Relative positions: T5's learned bias of the scores, and Transformer-XL's attention to distance.

Shapes: B batch, T queries, S keys, P distances, H heads, K head width, D width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.attention import to_heads
from ownlm.nn.cache import LayerCache
from ownlm.nn.config import StackConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.mask import Mask, Span
from ownlm.nn.position import sinusoids


class RelativeBias(nn.Module):
    """One number a head for each bucket of distances, shared by all layers of a stack.

    (T5, Raffel et al. 2020, arXiv:1910.10683.)
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        assert config.buckets is not None, "a stack without buckets has no relative bias"
        (self.count, self.farthest), self.causal = config.buckets, config.causal
        self.weight = nn.Parameter(torch.zeros(self.count, config.heads))

    def forward(self, distance_TS: Tensor) -> Tensor:
        """Key place minus query place, (..., T, S), to (..., H, T, S)."""
        places = bucket(distance_TS, self.count, self.farthest, self.causal)
        return self.weight[places].movedim(-1, -3)


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


class RelativeScores(nn.Module):
    """Attention whose scores see content and distance (Dai et al. 2019, arXiv:1901.02860, 3.3).

    score(i, j) = (q_i + u) k_j + (q_i + v) r_(i - j), times scale, where r is a projection of
    the sinusoids of the distance: the same everywhere, so that keys of an earlier segment can
    be read on. `qkv` holds the rows of all query heads, then key heads, then value heads.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        c = config
        self.head_dim, self.widths = c.head_dim, c.qkv
        self.scale = c.head_dim**-0.5 if c.scale is None else c.scale
        self.qkv = nn.Linear(c.dim, sum(self.widths), bias=False)
        self.r = nn.Linear(c.dim, self.widths[0], bias=False)
        self.o = nn.Linear(self.widths[0], c.dim, bias=False)
        self.drop = Dropout(c.dropout_attention)
        self.content_bias = nn.Parameter(torch.zeros(c.heads, c.head_dim))
        self.distance_bias = nn.Parameter(torch.zeros(c.heads, c.head_dim))

    def read(self, x_BSD: Tensor, cache: LayerCache | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values of what a cache or memory holds and of `x_BSD`, (B, H, S, K)."""
        source = x_BSD if cache is None else cache.extend(x_BSD)
        rows = self.qkv.weight[self.widths[0] :]
        k, v = F.linear(source, rows).split(self.widths[1:], dim=-1)
        k_BHSK, v_BHSK = to_heads(k, self.head_dim), to_heads(v, self.head_dim)
        return (k_BHSK, v_BHSK) if cache is None else cache.update(k_BHSK, v_BHSK)

    def ask(self, x_BTD: Tensor) -> Tensor:
        """Queries, (B, H, T, K)."""
        return to_heads(F.linear(x_BTD, self.qkv.weight[: self.widths[0]]), self.head_dim)

    def distances(self, waves_PD: Tensor) -> Tensor:
        """Keys of distances, (H, P, K)."""
        r_HPK: Tensor = to_heads(self.r(waves_PD)[None], self.head_dim)[0]
        return r_HPK

    def content_scores(self, q_BHTK: Tensor, k_BHSK: Tensor) -> Tensor:
        """(q + u) k, (B, H, T, S)."""
        return (q_BHTK + self.content_bias[:, None]) @ k_BHSK.mT

    def distance_scores(self, q_BHTK: Tensor, r_HPK: Tensor) -> Tensor:
        """(q + v) r, (B, H, T, P): a column a distance, not yet a key."""
        return (q_BHTK + self.distance_bias[:, None]) @ r_HPK.mT

    def answer(self, scores_BHTS: Tensor, v_BHSK: Tensor, mask: Mask) -> Tensor:
        """What queries read, (B, T, D); one that sees nothing reads zeros."""
        exact = torch.promote_types(scores_BHTS.dtype, torch.float32)
        weights = masked_softmax(scores_BHTS.to(exact) * self.scale, mask).to(v_BHSK.dtype)
        y_BTD: Tensor = self.o((self.drop(weights) @ v_BHSK).transpose(1, 2).flatten(2))
        return y_BTD


class RelativeAttention(RelativeScores):
    """The same as a part of a block: each query stands where its key stands."""

    def forward(
        self, x_BTD: Tensor, mask: Mask, waves_PD: Tensor, cache: LayerCache | None = None
    ) -> Tensor:
        """(B, T, D) to (B, T, D); `waves_PD` as `waves` makes them for the whole span."""
        k_BHSK, v_BHSK = self.read(x_BTD, cache)
        q_BHTK, r_HPK = self.ask(x_BTD), self.distances(waves_PD)[:, mask.first :]
        moved = by_distance(self.distance_scores(q_BHTK, r_HPK), k_BHSK.shape[2])
        return self.answer(self.content_scores(q_BHTK, k_BHSK) + moved, v_BHSK, mask)


def masked_softmax(scores_BHTS: Tensor, mask: Mask) -> Tensor:
    """Weights over the keys that are seen; zeros in rows that see none."""
    seen = mask.built
    lowest = torch.finfo(scores_BHTS.dtype).min
    weights = scores_BHTS.masked_fill(~seen, lowest).softmax(dim=-1)
    return weights.masked_fill(~seen, 0.0)


def by_distance(scores_BHTP: Tensor, keys: int) -> Tensor:
    """Scores a distance to scores a key, (B, H, T, S), for queries at the last T places.

    Column 0 is the distance of the last query and the first key; distances fall by one a
    column. Laid end to end and cut again with an offset, each row comes to its keys:

        query 0   2 1 0             1 0 .
        query 1   2 1 0     ->      2 1 0      (three keys, the last two are the queries)
    """
    padded = F.pad(scores_BHTP, (1, 0))
    rows, columns = padded.shape[-2:]
    shifted = padded.flatten(-2)[..., rows:].unflatten(-1, (rows, columns - 1))
    moved: Tensor = shifted[..., :keys]
    return moved


def waves(span: Span, dim: int, *, causal: bool, clamp: int = 0, ahead: int = 0) -> Tensor:
    """Sinusoids (P, D) of all distances between queries and keys, falling from the farthest.

    `clamp` makes all farther ones alike; with `ahead` queries stand so many places later.
    """
    nearest = 0 if causal else 1 - span.length
    farthest = span.past + span.length - 1 + ahead
    distance = torch.arange(farthest, nearest - 1, -1, device=span.positions.device)
    return sinusoids(distance.clamp(-clamp, clamp) if clamp else distance, dim)
