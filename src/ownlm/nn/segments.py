"""Segment recurrence: a text is read piece by piece, and each piece sees the one before.

    layer 2    m m m m | x x x x        memory holds what entered each layer for the last
                ^ ^ ^ ^ ^ ^ ^ ^         tokens; its keys and values are computed anew with
    layer 1    m m m m | x x x x        the weights of today, but no gradient enters it

(Transformer-XL, Dai et al. 2019, arXiv:1901.02860, section 3.2.) What is seen reaches back by
one memory a layer.

Shapes: B batch, T new tokens, M remembered tokens, D width.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ownlm.nn.cache import Cache, LayerCache
from ownlm.nn.config import StackConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.mask import Span, count_positions
from ownlm.nn.relative import RelativeAttention, waves
from ownlm.nn.stack import Stack


class LayerMemory(LayerCache):
    """The last inputs of one layer."""

    def __init__(self, length: int, reuse: int = 0) -> None:
        super().__init__()
        self.most, self.reuse = length, reuse
        self.hidden: Tensor | None = None
        """(B, M, D), without gradient."""

    def extend(self, x_BTD: Tensor) -> Tensor:
        """Memory and new tokens, (B, M + T, D); the last of both are remembered."""
        held = x_BTD[:, :0] if self.hidden is None else self.hidden
        new = x_BTD[:, : self.reuse] if self.reuse else x_BTD
        self.hidden = newest(torch.cat((held, new), dim=1), self.most).detach()
        self.length = self.hidden.shape[1]
        return torch.cat((held, x_BTD), dim=1)

    def update(self, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values are of memory and new tokens already."""
        return k_BGTK, v_BGTK

    def reorder(self, rows: Tensor, texts: Tensor | None = None) -> None:
        """Keep the batch rows `rows`, in that order."""
        self.hidden = None if self.hidden is None else self.hidden[rows]

    def move(self, to: Tensor, rows: Tensor) -> None:
        """Let the batch rows `to` remember what the rows `rows` do."""
        if self.hidden is not None:
            self.hidden[to] = self.hidden[rows]


class Memory(Cache):
    """What all layers of a model remember: the last `length` tokens.

    With `reuse` only the first so many tokens of each segment are remembered (XLNet, whose
    training segments overlap). Numbers of a mask must go on from segment to segment: equal
    ones see each other, in memory too.
    """

    def __init__(self, layers: int, length: int, reuse: int = 0) -> None:
        super().__init__(())
        self.layers = [LayerMemory(length, reuse) for _ in range(layers)]
        self.most, self.reuse = length, reuse

    def advance(self, ids_BT: Tensor, segments_BT: Tensor | None) -> Span:
        """The span of the next tokens after those that are remembered."""
        past, length = self.length, ids_BT.shape[1]
        new = min(length, self.reuse or length)
        self.length = min(self.most, past + new)
        if segments_BT is None and self.segments is None:
            return Span(past, length, torch.arange(past, past + length, device=ids_BT.device))
        before = self.segments if self.segments is not None else ids_BT.new_ones(len(ids_BT), past)
        after = segments_BT
        if after is None:
            after = before[:, -1:].expand_as(ids_BT) if past else torch.ones_like(ids_BT)
        self.segments = newest(torch.cat((before, after[:, :new]), dim=1), self.most)
        whole = torch.cat((before, after), dim=1)
        return Span(past, length, count_positions(whole)[:, past:], whole)

    def state(self) -> dict[str, Tensor]:
        """All of it as named tensors, for a checkpoint."""
        held = {f"layer.{n}": m.hidden for n, m in enumerate(self.layers)}  # type: ignore[attr-defined]
        return {k: v for k, v in (held | {"segments": self.segments}).items() if v is not None}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The other way."""
        self.segments = state.get("segments")
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, LayerMemory), "a memory has no other layers"
            layer.hidden = state.get(f"layer.{number}")
            layer.length = 0 if layer.hidden is None else layer.hidden.shape[1]
        self.length = len(self.layers[0])


def newest(x_BT: Tensor, most: int) -> Tensor:
    """The last `most` places, or all there are."""
    return x_BT[:, max(0, x_BT.shape[1] - most) :]


class RelativeStack(Stack):
    """Blocks whose attention sees distances, and a memory between segments.

    Dropout stands on the sinusoids too, as in the reference.
    """

    def __init__(self, config: StackConfig, memory: int, clamp: int = 0, reuse: int = 0) -> None:
        super().__init__(config)
        self.memory, self.clamp, self.reuse = memory, clamp, reuse
        for block in self.blocks:
            block.attn.body = RelativeAttention(config)  # type: ignore[union-attr]
        self.drop = Dropout(config.dropout)

    def tables(self, span: Span, dtype: torch.dtype) -> dict[object, Any]:
        """Sinusoids of the distances, once for all layers."""
        c = self.config
        made = waves(span, c.dim, causal=c.causal, clamp=self.clamp)
        return {None: self.drop(made.to(dtype))}

    def new_memory(self) -> Memory:
        """An empty memory, as long as a layer of it can be seen."""
        window = self.config.kind(0).window
        most = min(self.memory, window - 1) if window else self.memory
        return Memory(self.config.layers, most, self.reuse)
