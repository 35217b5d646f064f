"""A model of two streams: content alone, predictions in any order, text from left to right."""

from typing import Any

import torch
from torch import Tensor, nn

from ownlm.models.family import Architecture, Family
from ownlm.models.hf_config import Reader
from ownlm.models.model import SingleStack, numbers
from ownlm.nn.cache import Cache
from ownlm.nn.head import Output
from ownlm.nn.mask import Span, first_span
from ownlm.nn.streams import Order, TwoStreamStack


class TwoStreams(SingleStack):
    """An encoder that can also predict tokens of its input, each before it knows it."""

    stack: TwoStreamStack

    def forward(
        self,
        ids_BT: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        types: Tensor | None = None,
        order: Order | None = None,
        *,
        prefix: Tensor | None = None,
    ) -> Output:
        """With an `order` (`nn.streams.factorise`) the output for its places, (B, P, ...).

        Without one the content stream's, (B, T, ...): good for classes, of no use to predict
        a token that it has seen. `cache` may be a memory; `types` (B, T) tell sentences apart.
        All is read both ways, a `prefix` too.
        """
        mask = numbers(mask)
        x_BTD, span = self.enter(ids_BT, mask, cache)
        if order is None:
            return self.output(self.stack(x_BTD, span, cache, types_BT=types), mask)
        return self.output(self.stack.predict(x_BTD, span, order, cache, types), mask)

    def enter(
        self, ids_BT: Tensor, mask: Tensor | None, cache: Cache | None
    ) -> tuple[Tensor, Span]:
        """Embedded tokens and how they stand to those before."""
        span = first_span(ids_BT, mask) if cache is None else cache.advance(ids_BT, mask)
        return self.embed(ids_BT, span.positions), span

    @property
    def writer(self) -> Any:
        """The same model as one that predicts the next token; None for a classifier."""
        if not self.architecture.head.vocab:
            return None
        return super().writer or LeftToRight(self)


class LeftToRight(nn.Module):
    """A model of two streams that goes through a text in its own order.

    It has the interface of a decoder: the logits after each token are those of the next one.
    """

    def __init__(self, model: TwoStreams) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids_BT: Tensor, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Output:
        """Ids (B, T) to logits (B, T, V) of the token after each."""
        mask = numbers(mask)
        x_BTD, span = self.model.enter(ids_BT, mask, cache)
        return self.model.output(self.model.stack.following(x_BTD, span, cache), mask)

    def new_cache(self, batch: int = 1, length: int | None = None) -> Cache:
        """An empty cache."""
        return self.model.new_cache(batch, length)

    @property
    def context(self) -> int:
        """Tokens the model can see at once."""
        return self.model.context

    @property
    def vocab(self) -> int:
        """Rows of the token table."""
        return self.model.vocab

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.model.device


EVERYTHING = 1 << 30
"""Length of a memory that forgets nothing."""


def two_streams(a: Architecture, family: Family, config: dict[str, Any]) -> TwoStreams:
    """The model that a config.json of XLNet describes."""
    h = Reader(config)
    memory = h.integer("mem_len", "positions") if config.get("mem_len") else EVERYTHING
    clamp = max(0, int(h.number("clamp_len", -1, 1e9, -1)))
    reuse = h.integer("reuse_len", "positions") if config.get("reuse_len") else 0
    return TwoStreams(a, family, config, TwoStreamStack(a.stack, memory, clamp, reuse))
