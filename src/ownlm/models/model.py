"""Models as modules: what families have in common once their data is read.

Shapes: B batch, T tokens, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ownlm.models.family import Architecture, Family
from ownlm.nn.cache import Cache
from ownlm.nn.embedding import Embedding
from ownlm.nn.head import Head, Output
from ownlm.nn.mask import first_span
from ownlm.nn.stack import Stack


class SingleStack(nn.Module):
    """GPT, LLaMA, BERT: whether it decodes or encodes is `StackConfig.causal`.

    `config` is the content of config.json; it is what a saved folder will say.
    """

    def __init__(self, architecture: Architecture, family: Family, config: dict[str, Any]) -> None:
        super().__init__()
        self.architecture, self.family, self.config = architecture, family, config
        self.embed = Embedding(architecture.embed)
        self.stack = Stack(architecture.stack)
        self.head = Head(architecture.head)
        if family.adapt is not None:
            family.adapt(self)

    def forward(
        self,
        ids_BT: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        types: Tensor | None = None,
    ) -> Output:
        """Ids (B, T) to hidden states and, on demand, logits (B, T, V).

        `mask` (B, T): None, or integers: 0 is padding, equal positive numbers see each other.
        With a cache the ids continue what it holds, and so may the mask.
        """
        if mask is not None and mask.dtype == torch.bool:
            mask = mask.long()
        span = first_span(ids_BT, mask) if cache is None else cache.advance(ids_BT, mask)
        x_BTD = self.embed(ids_BT, span.positions, types)
        output: Output = self.head(self.stack(x_BTD, span, cache), self.embed.tokens.weight)
        return output

    def new_cache(self, batch: int = 1, length: int | None = None) -> Cache:
        """An empty cache; `length` reserves room for that many tokens at once."""
        return Cache(self.architecture.stack.windows, length or 0)

    @property
    def context(self) -> int:
        """Tokens the model can see at once."""
        return self.architecture.context

    @property
    def vocab(self) -> int:
        """Rows of the token table."""
        return self.architecture.embed.vocab

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.embed.tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' type, which is also the residual stream's."""
        return self.embed.tokens.weight.dtype
