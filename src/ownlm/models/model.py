"""Models as modules: what families have in common once their data is read.

Shapes: B batch, T tokens, S tokens of the encoder, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ownlm.models.family import Architecture, Family
from ownlm.nn.cache import Cache
from ownlm.nn.embedding import Embedding
from ownlm.nn.experts import imbalance
from ownlm.nn.head import Head, Output
from ownlm.nn.mask import first_span
from ownlm.nn.stack import Memory, Stack
from ownlm.nn.task import TaskHead

PREFIX_LM = "prefix_lm"
"""Key of config.json, of ours: true for a decoder that was taught to read its prompt both ways."""


class Model(nn.Module):
    """What all models have: an embedding, a stack, heads, and the data they were made from.

    `config` is the content of config.json; it is what a saved folder will say.
    `stack` stands in for a stack of blocks where a family has another.
    """

    def __init__(
        self,
        architecture: Architecture,
        family: Family,
        config: dict[str, Any],
        stack: Any = None,
    ) -> None:
        super().__init__()
        self.architecture, self.family, self.config = architecture, family, config
        self.embed = Embedding(architecture.embed)
        self.stack: Stack = Stack(architecture.stack) if stack is None else stack
        self.head = Head(architecture.head)
        self.task = TaskHead(architecture.task) if architecture.task else None

    def output(self, hidden_BTD: Tensor, mask_BT: Tensor | None) -> Output:
        """What the heads make of hidden states: the vocabulary's first, where there is one."""
        output: Output = self.head(hidden_BTD, self.embed.tokens.weight)
        if self.task is None:
            return output
        task: Output = self.task(hidden_BTD, mask_BT)
        return output._replace(task=task) if self.head.config.vocab else task

    def new_cache(self, batch: int = 1, length: int | None = None) -> Cache:
        """An empty cache; `length` reserves room for that many tokens at once."""
        return self.stack.new_cache(length or 0)

    def new_memory(self, batch: int = 1) -> Cache | None:
        """What segments of a text pass on, to be given as `cache` with each one in training and
        evaluation; None where a model reads every segment by itself."""
        return self.stack.new_memory()

    @property
    def writer(self) -> Any:
        """The model as one that predicts the next token; None for one that continues no text."""
        return None

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


class SingleStack(Model):
    """GPT, LLaMA, BERT: whether it decodes or encodes is `StackConfig.causal`."""

    def __init__(
        self,
        architecture: Architecture,
        family: Family,
        config: dict[str, Any],
        stack: Any = None,
    ) -> None:
        super().__init__(architecture, family, config, stack)
        if family.adapt is not None:
            family.adapt(self)

    def forward(
        self,
        ids_BT: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        types: Tensor | None = None,
        *,
        prefix: Tensor | None = None,
    ) -> Output:
        """Ids (B, T) to hidden states and, on demand, logits (B, T, V), or those of the task.

        `mask` (B, T): None, or integers: 0 is padding, equal positive numbers see each other.
        With a cache the ids continue what it holds, and so may the mask. `types` (B, T): the
        sentence each token belongs to, where the family tells them apart. `prefix` (B, T) is true
        for the first tokens of sequences that a decoder is to read both ways.
        """
        mask = numbers(mask)
        span = first_span(ids_BT, mask) if cache is None else cache.advance(ids_BT, mask)
        span = span if prefix is None else span.both_ways(prefix)
        x_BTD = self.embed(ids_BT, span.positions, types)
        experts = self.architecture.stack.experts
        routes: list[Tensor] = []
        output = self.output(self.stack(x_BTD, span, cache, routes=routes), mask)
        if experts is None or not self.training:
            return output
        return output._replace(balance=experts.balance * imbalance(routes, experts.chosen, mask))

    @property
    def writer(self) -> Any:
        """The model as one that predicts the next token; None when it sees what comes, or
        says nothing about the vocabulary."""
        a = self.architecture
        return self if a.stack.causal and a.head.vocab else None


class EncoderDecoder(Model):
    """The 2017 Transformer, T5, BART: a stack that reads, and one that writes and reads it.

    `embed`, `stack` and `head` are the decoder's; both sides look up one table of tokens.
    """

    def __init__(self, architecture: Architecture, family: Family, config: dict[str, Any]) -> None:
        super().__init__(architecture, family, config)
        assert architecture.source is not None and architecture.encoder is not None
        self.source = Embedding(architecture.source)
        self.source.tokens = self.embed.tokens
        self.encoder = Stack(architecture.encoder)
        if family.adapt is not None:
            family.adapt(self)

    def forward(
        self,
        ids_BS: Tensor,
        decoder_ids_BT: Tensor,
        mask: Tensor | None = None,
        decoder_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Output:
        """Ids (B, S) to read and ids (B, T) written so far, to logits (B, T, V) of the next.

        Masks as in `SingleStack.forward`; a number in both lets those tokens read each other,
        and without `decoder_mask` all written tokens read what `mask` numbers 1.
        """
        return self.decode(decoder_ids_BT, self.encode(ids_BS, mask), decoder_mask, cache)

    def encode(self, ids_BS: Tensor, mask: Tensor | None = None) -> Memory:
        """What the decoder will read; made once for a text that is generated."""
        mask = numbers(mask)
        span = first_span(ids_BS, mask)
        hidden_BSD: Tensor = self.encoder(self.source(ids_BS, span.positions), span)
        return Memory(hidden_BSD, mask)

    def decode(
        self,
        ids_BT: Tensor,
        memory: Memory | None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Output:
        """The output for ids (B, T); with a cache they continue what it holds.

        The cache keeps the keys and values of the memory too: it serves one only, which need
        not be given again.
        """
        mask = numbers(mask)
        span = first_span(ids_BT, mask) if cache is None else cache.advance(ids_BT, mask)
        x_BTD = self.embed(ids_BT, span.positions)
        return self.output(self.stack(x_BTD, span, cache, memory), mask)


def make_model(architecture: Architecture, family: Family, config: dict[str, Any]) -> Model:
    """The class that an architecture needs; nothing is filled yet."""
    if family.make is not None:
        made: Model = family.make(architecture, family, config)
        return made
    kind = SingleStack if architecture.encoder is None else EncoderDecoder
    return kind(architecture, family, config)


def numbers(mask: Tensor | None) -> Tensor | None:
    """A mask as integers."""
    return mask.long() if mask is not None and mask.dtype == torch.bool else mask
