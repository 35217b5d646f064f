"""The logit lens: what a model would say if it stopped after each layer (nostalgebraist 2020,
"interpreting GPT: the logit lens").

The last norm and the head are put on the stream behind every layer; behind the last one that is
the model's own prediction.

Shapes: L layers, T tokens, D width, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM
from ownlm.inspection.attention_maps import run
from ownlm.inspection.given import Given, Piece, pieces
from ownlm.inspection.watch import watched
from ownlm.models.model import EncoderDecoder, Model

LAST = 48
"""Places that are looked at unless more are asked for: each costs a product with the vocabulary
a layer."""


class Guess(NamedTuple):
    """A token that a layer would say."""

    token: Piece
    probability: float


class Lens(NamedTuple):
    """What would be said at some places of a text, after each layer."""

    first: int
    """The first place that is looked at."""
    tokens: list[Piece]
    """What is read there."""
    layers: list[list[list[Guess]]]
    """Guesses, likeliest first, by layer (0: before the first one) and place."""


@torch.inference_mode()
def logit_lens(lm: LM, read: Given, *, top: int = 5, last: int = LAST) -> Lens:
    """The likeliest `top` tokens at the last places of a text (of what was written, where there
    are two). Raises ConfigError for a model that says no words, or is no stack of blocks."""
    ids = read.written or read.reads
    first = max(0, len(ids) - last)
    streams = residual_streams(lm.model, read)
    if not lm.model.architecture.head.vocab or streams is None:
        raise ConfigError(f"{lm.model.family.name} has no layers that could say a word")
    layers = []
    for stream_TD in streams:
        logits_TV = read_off(lm.model, stream_TD[first:])[:, : lm.tokenizer.vocab_size]
        shares, chosen = logits_TV.float().softmax(dim=-1).topk(min(top, logits_TV.shape[-1]))
        layers.append([
            [*map(Guess, pieces(lm.tokenizer, line), line_shares)]
            for line, line_shares in zip(chosen.tolist(), shares.tolist(), strict=True)
        ])  # fmt: skip
    return Lens(first, pieces(lm.tokenizer, ids[first:]), layers)


@torch.inference_mode()
def residual_streams(model: Model, read: Given) -> list[Tensor] | None:
    """The stream before the first layer and behind each, (T, D); None where layers are no blocks
    of a stack."""
    blocks = [*getattr(model.stack, "blocks", ())]
    kept: list[Tensor] = []
    if not blocks:
        return None
    before = {blocks[0]: lambda _, given: kept.append(given[0][0])}
    after = {block: lambda _, __, out: kept.append(out[0]) for block in blocks}
    with watched(before, after):
        run(model, read)
    return kept if len(kept) == len(blocks) + 1 else None


def read_off(model: Model, stream_TD: Tensor) -> Tensor:
    """Logits (T, V) of a stream, as if its layer were the last."""
    hidden_TD = model.stack.norm(stream_TD)
    logits_1TV: Tensor = model.head(hidden_TD[None], model.embed.tokens.weight).logits
    return logits_1TV[0]


def decodes(model: Model) -> bool:
    """Whether what is said at a place is the token that follows there; else it is the one that
    stands there."""
    return isinstance(model, EncoderDecoder) or model.architecture.stack.causal
