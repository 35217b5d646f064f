"""Who sees whom: segments, positions and masks of one forward pass.

A mask is given as integers, one a token: 0 is padding, equal positive numbers see each other.
All ones is a plain padding mask; numbering documents packs several into one row without a
leak. Padding counts as a segment of its own, so that no query is left without any key (a
softmax over nothing is not a number).

Shapes: B batch, T query tokens, S key tokens (cached ones first), H heads.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """The tokens of one forward pass and how they stand to the tokens before them."""

    past: int
    """Cached tokens before the first query."""
    length: int
    """T, the queries."""
    positions: Tensor
    """Position of each query in its segment: (T,) when all rows agree, else (B, T)."""
    segments: Tensor | None = None
    """Segment of every key, (B, S); the last T belong to the queries. None: one segment."""


class Mask(NamedTuple):
    """What the attention kernel needs: nothing, its own triangle, or a tensor."""

    tensor: Tensor | None = None
    """Broadcasts to (B, H, T, S): booleans are True where seen, floats are added to scores."""
    causal: bool = False
    """The kernel's triangle; only without a tensor."""


def first_span(ids_BT: Tensor, segments_BT: Tensor | None) -> Span:
    """The span of a pass without a cache."""
    length = ids_BT.shape[1]
    if segments_BT is None:
        return Span(0, length, torch.arange(length, device=ids_BT.device))
    return Span(0, length, count_positions(segments_BT), segments_BT)


def count_positions(segments_BS: Tensor) -> Tensor:
    """Each token's distance from the first token of its segment.

    [0 0 1 1 1] -> [. . 0 1 2] and [1 1 2 2 2] -> [0 1 0 1 2]; padding inside a segment is
    stepped over as if it belonged to it.
    """
    places = torch.arange(segments_BS.shape[1], device=segments_BS.device).expand_as(segments_BS)
    last_real = torch.where(segments_BS > 0, places, 0).cummax(dim=1).values
    filled = segments_BS.gather(1, last_real)
    begins = torch.ones_like(filled, dtype=torch.bool)
    begins[:, 1:] = filled[:, 1:] != filled[:, :-1]
    return places - torch.where(begins, places, 0).cummax(dim=1).values


def distances(span: Span) -> Tensor:
    """Key place minus query place, (T, S): 0 is the query itself, -1 the token before it."""
    keys = torch.arange(span.past + span.length, device=span.positions.device)
    return keys[None, :] - keys[span.past :, None]


def build_mask(span: Span, *, causal: bool, window: int = 0, bias: Tensor | None = None) -> Mask:
    """The mask of self-attention; `bias` (H, T, S) is added to the scores of visible pairs.

    Nothing is built where the kernel's own triangle, or no mask, says the same.
    """
    triangle = causal and span.length > 1
    near = 0 < window < span.past + span.length
    if span.segments is None and bias is None and not near and not (triangle and span.past):
        return Mask(causal=triangle)
    distance = distances(span)
    seen = distance <= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window:
        seen = seen & (distance.abs() < window)
    if span.segments is not None:
        queries = span.segments[:, span.past :, None]
        seen = (seen & (queries == span.segments[:, None, :]))[:, None]
    if bias is None:
        return Mask(seen)
    return Mask(bias.masked_fill(~seen, -torch.inf))
