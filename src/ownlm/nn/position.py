"""Positions: rotary tables, their stretching to longer inputs, and sinusoids.

Shapes: B batch, T tokens, H heads, K head width, R rotated half-width.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.nn.config import RopeConfig, RopeScaling


class Rotation(NamedTuple):
    """Cosines and sines of every position, (T, R) or (B, 1, T, R), made once per forward."""

    cos: Tensor
    sin: Tensor


def rotation(rope: RopeConfig, positions: Tensor, head_dim: int, dtype: torch.dtype) -> Rotation:
    """Tables for `positions` (T,) or (B, T): float32 angles, then cast to the stream's type.

    bfloat16 angles would be useless: at position 1000 its steps are 4 radians wide.
    """
    frequencies_R = rope_frequencies(rope, head_dim, positions).to(positions.device)
    angles = positions.float()[..., None] * frequencies_R
    if positions.ndim == 2:
        angles = angles[:, None]
    amplitude = rope.scaling.amplitude if rope.scaling else 1.0
    return Rotation((angles.cos() * amplitude).to(dtype), (angles.sin() * amplitude).to(dtype))


def rotate(x_BHTK: Tensor, table: Rotation) -> Tensor:
    """Turn each pair (i, i + R) of the first 2 R values; the rest passes unchanged."""
    half = table.cos.shape[-1]
    a, b, rest = x_BHTK.split((half, half, x_BHTK.shape[-1] - 2 * half), dim=-1)
    turned = (a * table.cos - b * table.sin, b * table.cos + a * table.sin)
    whole = torch.cat((*turned, rest) if rest.shape[-1] else turned, dim=-1)
    return whole.to(x_BHTK.dtype)  # a mixed run has its tables in float32


def rope_frequencies(rope: RopeConfig, head_dim: int, positions: Tensor | None = None) -> Tensor:
    """Radians per position of each rotated pair, (R,) float32; some depend on how far they go."""
    width = int(head_dim * rope.share)
    frequencies_R = rope.theta ** -(torch.arange(0, width, 2).float() / width)
    if rope.scaling is None:
        return frequencies_R
    if rope.scaling.kind == "longrope":
        return _longrope(frequencies_R, rope.scaling, positions)
    return _STRETCH[rope.scaling.kind](frequencies_R, rope.scaling, rope.theta, width)


def _linear(frequencies_R: Tensor, scaling: RopeScaling, theta: float, width: int) -> Tensor:
    """Position interpolation (Chen et al. 2023, arXiv:2306.15595)."""
    return frequencies_R / scaling.factor


def _llama3(frequencies_R: Tensor, scaling: RopeScaling, theta: float, width: int) -> Tensor:
    """Slow pairs are stretched in full, fast ones not, those between in proportion."""
    turns = scaling.original * frequencies_R / (2 * math.pi)
    keep = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    return frequencies_R / scaling.factor * (1 - keep) + frequencies_R * keep


def _yarn(frequencies_R: Tensor, scaling: RopeScaling, theta: float, width: int) -> Tensor:
    """NTK-by-parts of YaRN (Peng et al. 2023, arXiv:2309.00071)."""

    def dimension(turns: float) -> float:
        return width * math.log(scaling.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = dimension(scaling.fast), dimension(scaling.slow)
    if scaling.rounded:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    ramp = (torch.arange(width // 2).float() - first) / max(last - first, 0.001)
    stretched = ramp.clamp(0, 1)
    return frequencies_R / scaling.factor * stretched + frequencies_R * (1 - stretched)


def _longrope(frequencies_R: Tensor, scaling: RopeScaling, positions: Tensor | None) -> Tensor:
    """Searched factors of LongRoPE (Ding et al. 2024, arXiv:2402.13753), two sets of them."""
    short_R, long_R = (torch.tensor(f) for f in (scaling.short_factors, scaling.long_factors))
    if positions is None:
        return frequencies_R / short_R
    far = (positions >= scaling.original).any()
    return frequencies_R.to(far.device) / torch.where(
        far, long_R.to(far.device), short_R.to(far.device)
    )


_STRETCH = {"linear": _linear, "llama3": _llama3, "yarn": _yarn}


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """The fixed vectors of the 2017 Transformer, (..., dim) float32: sines, then cosines."""
    steps = torch.arange(0, dim, 2, device=positions.device).float() / dim
    angles = positions.float()[..., None] / 10_000**steps
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
