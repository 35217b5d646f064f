"""Blocks in a row; whether they encode or decode is `StackConfig.causal`.

Shapes: B batch, T tokens, D width, H heads, S keys.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ownlm.nn.block import Block, Context, ExpertBlock, ParallelBlock
from ownlm.nn.cache import Cache
from ownlm.nn.config import StackConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.mask import Mask, MemoryMask, Span, distances
from ownlm.nn.norm import make_norm
from ownlm.nn.position import Rotation, rotation
from ownlm.nn.relative import RelativeBias


class Memory(NamedTuple):
    """An encoder's output as a decoder reads it."""

    hidden: Tensor
    """(B, S, D)."""
    segments: Tensor | None = None
    """(B, S), as in a mask; None: all of it."""


class Stack(nn.Module):
    """The blocks and the norm after the last one (post-norm blocks end with their own)."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        c = self.config = config
        kind = ExpertBlock if c.experts else ParallelBlock if c.parallel else Block
        self.blocks = nn.ModuleList(kind(c) for _ in range(c.layers))
        self.norm = nn.Identity() if c.norm_at == "post" else make_norm(c.norm, c.dim, c.norm_eps)
        self.drop_last = Dropout(c.dropout_last)
        self.relative = RelativeBias(c) if c.buckets else None
        self.recompute = False
        """Keep only what enters each block, and compute the rest again in the backward pass
        (Chen et al. 2016, arXiv:1604.06174)."""

    def forward(
        self,
        x_BTD: Tensor,
        span: Span,
        cache: Cache | None = None,
        memory: Memory | None = None,
        routes: list[Tensor] | None = None,
    ) -> Tensor:
        """(B, T, D) to (B, T, D); masks and rotary tables are made once a kind of layer.

        Routers of experts add their probabilities to `routes`.
        """
        masks, tables = self.masks(span), self.tables(span, x_BTD.dtype)
        hidden = memory.hidden if memory is not None else None
        memory_mask = None
        if memory is not None:
            memory_mask = MemoryMask(span, memory.segments, memory.hidden.shape[1])
        for layer, block in enumerate(self.blocks):
            kind = self.config.kind(layer)
            held = cache.layers[layer] if cache is not None else None
            table = tables.get(kind.rope)
            context = Context(masks[kind.sight], table, held, hidden, memory_mask, routes)
            # A block with a cache would write to it twice.
            if self.recompute and held is None and torch.is_grad_enabled():
                x_BTD = checkpoint(block, x_BTD, context, use_reentrant=False)
            else:
                x_BTD = block(x_BTD, context)
        y_BTD: Tensor = self.drop_last(self.norm(x_BTD))
        return y_BTD

    def new_cache(self, reserve: int = 0) -> Cache:
        """An empty cache with room for `reserve` tokens."""
        return Cache(self.config.windows, reserve)

    def new_memory(self) -> Cache | None:
        """Nothing is passed from segment to segment."""
        return None

    def masks(self, span: Span) -> dict[object, Mask]:
        """The mask of each window and pattern that some layer has."""
        c = self.config
        bias = self.relative(distances(span)) if self.relative is not None else None
        return {
            (window, pattern): Mask(
                span, causal=c.causal, window=window, bias=bias, pattern=pattern
            )
            for window, pattern in {c.kind(layer).sight for layer in range(c.layers)}
        }

    def tables(self, span: Span, dtype: torch.dtype) -> dict[object, Rotation]:
        """The rotary tables of each kind of layer that rotates."""
        ropes = {kind.rope for kind in self.config.kinds if kind.rope is not None}
        width = self.config.head_dim
        return {rope: rotation(rope, span.positions, width, dtype) for rope in ropes}


def recompute(model: nn.Module) -> bool:
    """Let all blocks of a model keep only what enters them; False where segments pass on a
    memory, which a second pass would change, and where there are no blocks."""
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    if not stacks or any(stack.new_memory() is not None for stack in stacks):
        return False
    for stack in stacks:
        stack.recompute = True
    return True
