"""Token after token: the plain decoder that reads everything again, and the one with a cache.

Both are tested to give the same tokens. When the context is full, the window slides: the
last half of it is encoded anew and generation goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ownlm.nn.cache import Cache
from ownlm.nn.head import Output

Choose = Callable[[Tensor], int]
"""Logits (V,) to a token."""


class Decoder(Protocol):
    """What generation needs of a model."""

    @property
    def context(self) -> int:
        """Tokens it can see at once."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def new_cache(self, batch: int = 1, length: int | None = None) -> Cache:
        """An empty cache."""

    def __call__(
        self,
        ids_BT: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        *,
        prefix: Tensor | None = None,
    ) -> Output:
        """Ids to an output with logits; `prefix` marks what is read both ways."""


def window(begin: int, end: int, context: int) -> int:
    """Where the visible tokens begin: they slide to half a context when it would overflow."""
    return begin if end - begin <= context else end - max(1, context // 2)


@torch.inference_mode()
def decode(
    model: Decoder,
    prompt: Sequence[int],
    choose: Choose,
    tokens: int,
    *,
    both_ways: bool = False,
) -> Iterator[int]:
    """Continue `prompt` (at least one id) by up to `tokens` ids, each computed once.

    `both_ways`: the prompt is read as a prefix, and so is what a window that slides begins with.
    """
    ids, begin, read, cache = list(prompt), 0, 0, model.new_cache()
    for _ in range(tokens):
        moved, prefix = window(begin, len(ids), model.context), 0
        if moved != begin or not cache.length:
            begin = read = moved
            cache = model.new_cache(1, min(model.context, len(ids) - begin + tokens))
            prefix = len(ids) - begin if both_ways else 0
        logits_V = _last_logits(model, ids[read:], cache, prefix)
        read = len(ids)
        ids.append(choose(logits_V))
        yield ids[-1]


@torch.inference_mode()
def decode_plainly(
    model: Decoder,
    prompt: Sequence[int],
    choose: Choose,
    tokens: int,
    *,
    both_ways: bool = False,
) -> Iterator[int]:
    """The reference: every token reads the whole window again."""
    ids, begin, end = list(prompt), 0, len(prompt)
    for _ in range(tokens):
        moved = window(begin, len(ids), model.context)
        begin, end = moved, end if moved == begin else len(ids)
        ids.append(choose(_last_logits(model, ids[begin:], None, (end - begin) * both_ways)))
        yield ids[-1]


def _last_logits(model: Decoder, ids: Sequence[int], cache: Cache | None, prefix: int) -> Tensor:
    row = torch.tensor([ids], device=model.device)
    if not prefix:
        return model(row, cache=cache).last_logits[0]
    return model(
        row, cache=cache, prefix=(torch.arange(len(ids), device=row.device) < prefix)[None]
    ).last_logits[0]
