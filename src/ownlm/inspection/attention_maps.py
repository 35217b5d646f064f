"""Who reads whom: the attention weights of every layer and head for a text.

Fused kernels never hold the weights, so each layer's are worked out again from what enters it,
step by step (nn.attention.weigh); the pass itself takes whatever kernel it takes.

Shapes: L layers, H heads, T tokens that read, S tokens that are read, B = 1 batch.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM
from ownlm.inspection.given import Given, Piece, pieces
from ownlm.inspection.watch import Hook, watched
from ownlm.models.model import PREFIX_LM, EncoderDecoder, Model
from ownlm.nn.attention import CrossAttention, SelfAttention
from ownlm.nn.relative import RelativeScores

MOST = 1 << 26
"""Weights of one kind of attention that are held at once: 256 MiB."""


class AttentionMap(NamedTuple):
    """One kind of attention of a model."""

    kind: str
    """self, or of an encoder-decoder: encoder, decoder, cross."""
    queries: list[Piece]
    """The tokens that read: T."""
    keys: list[Piece]
    """The tokens that are read: S."""
    weights: Tensor
    """(L, H, T, S), float32 on the CPU; what a token reads sums to 1."""


def attention_maps(lm: LM, read: Given) -> list[AttentionMap]:
    """All kinds of attention of a model to a text.

    Raises ConfigError for a model without attention, and for a text whose weights take more
    than 256 MiB.
    """
    reads, written = (pieces(lm.tokenizer, ids) for ids in (read.reads, read.written))
    sides = {"self": (reads, reads), "encoder": (reads, reads), "decoder": (written, written),
             "cross": (written, reads)}  # fmt: skip
    found = attention_weights(lm.model, read)
    return [AttentionMap(kind, *sides[kind], weights) for kind, weights in found.items()]


@torch.inference_mode()
def attention_weights(model: Model, read: Given) -> dict[str, Tensor]:
    """Weights (L, H, T, S) by the kind of attention; raises as `attention_maps`."""
    _check_size(model, max(len(read.reads), len(read.written)))
    kept: dict[nn.Module, Tensor] = {}
    kinds = _attentions(model)
    if not any(kinds.values()):
        raise ConfigError(f"{model.family.name} has no attention to look at")
    modules = [module for found in kinds.values() for module in found]
    before: dict[nn.Module, Hook] = {}
    after: dict[nn.Module, Hook] = {}
    for module in modules:
        if isinstance(module, RelativeScores):  # never fused: the weights pass its dropout
            after[module.drop] = lambda _, given, __, at=module: kept.update({at: given[0]})
        else:
            before[module] = lambda module, given: kept.update({module: module.weights(*given[:3])})
    with watched(before, after):
        run(model, read)
    return {
        kind: torch.stack([kept[module][0].float().cpu() for module in found])
        for kind, found in kinds.items()
        if found
    }


def run(model: Model, read: Given) -> Any:
    """A pass over what a model is given, as it reads a prompt; its output."""
    reads = torch.tensor([read.reads], device=model.device)
    if isinstance(model, EncoderDecoder):
        return model(reads, torch.tensor([read.written], device=model.device))
    types = None if read.types is None else torch.tensor([read.types], device=model.device)
    if model.config.get(PREFIX_LM) is True:
        return model(reads, types=types, prefix=torch.ones_like(reads))
    return model(reads, types=types)


def _attentions(model: Model) -> dict[str, list[nn.Module]]:
    """The attention of each layer, first layer first, by kind."""
    own = _of(model.stack, SelfAttention, RelativeScores)
    if not isinstance(model, EncoderDecoder):
        return {"self": own}
    cross = _of(model.stack, CrossAttention)
    return {"encoder": _of(model.encoder, SelfAttention), "decoder": own, "cross": cross}


def _of(stack: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in stack.modules() if isinstance(module, kinds)]


def _check_size(model: Model, tokens: int) -> None:
    stack = model.architecture.stack
    most = int((MOST / max(1, stack.layers * stack.heads)) ** 0.5)
    if tokens > min(most, model.context):
        raise ConfigError(
            f"{tokens} tokens are too many to look at: at most {min(most, model.context)}",
            next_command="take a shorter part of the text",
        )
