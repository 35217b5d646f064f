"""Sparse attention: which keys a query reaches when it does not reach all of them.

    strided            fixed              longformer         bigbird
    x . . . . . . .    x . . . . . . .    x x x x x x x x    x x x x x x x x
    x x . . . . . .    x x . . . . . .    x x x . . . . .    x x x . . x . x
    x x x . . . . .    x x x . . . . .    x x x x . . . .    x x x x . . x x
    x x x x . . . .    x x x x . . . .    x . x x x . . .    x . x x x . x x
    . x x x x . . .    . . . x x . . .    x . . x x x . .    x x . x x x . x
    . . x x x x . .    . . . x x x . .    x . . . x x x .    x . x . x x x x
    x . . x x x x .    . . . x x x x .    x . . . . x x x    x . . x . x x x
    . x . . x x x x    . . . x x x x x    x . . . . . x x    x x x x x x x x

A pattern says nothing about the future: a decoder's causal mask is laid over it.

Shapes: B batch, T queries, S keys.
"""

import torch
from torch import Tensor

from ownlm.nn.config import PatternConfig
from ownlm.nn.dropout import mix


def reached(p: PatternConfig, queries: Tensor, keys: Tensor, ends: Tensor) -> Tensor:
    """Whether each query reaches each key, (T, S) or (B, T, S).

    `queries` (T,) or (B, T) and `keys` (S,) or (B, S) are positions in their documents, `ends`
    the last position of each query's document, or as far as the query knows it.
    """
    q, k = queries[..., :, None], keys[..., None, :]
    query, key, last = q // p.block, k // p.block, ends[..., :, None] // p.block
    seen = (query - key).abs() <= p.near
    if p.stride:
        seen = seen | ((q - k) % p.stride == 0)
    if p.summary:
        seen = seen | (k % p.block >= p.block - p.summary)
    if p.first:
        seen = seen | (query < p.first) | (key < p.first)
    if p.last:
        seen = seen | (query > last - p.last) | (key > last - p.last)
    for number in range(p.random):
        seen = seen | (key == drawn(p, query, last, number))
    return seen


def drawn(p: PatternConfig, query: Tensor, last: Tensor, number: int) -> Tensor:
    """Random block `number` of each query's block; -1 where none is left to draw.

    The blocks that the query does not reach anyway are cut into `p.random` equal runs, and
    one is drawn from each: no block comes twice. The draw is a hash of the pattern's seed and
    the query's block, so that a document is read the same wherever it stands in a row.
    """
    begin = (query - p.near).clamp(min=p.first)
    end = torch.minimum(query + p.near, last - p.last)
    width = (end - begin + 1).clamp(min=0)
    free = (last + 1 - p.first - p.last - width).clamp(min=0)
    low, high = free * number // p.random, free * (number + 1) // p.random
    bits = mix(mix(torch.full_like(query, p.seed * p.random + number)) ^ query)
    block = p.first + low + bits % (high - low).clamp(min=1)
    block = block + torch.where(block >= begin, width, 0)
    return torch.where(free > 0, block, -1)
