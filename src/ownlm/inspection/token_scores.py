"""How likely a model finds each token of a text, and what it would rather have said.

Decoders say each token from those before it; encoders that hide words say each from all others,
hidden in its turn (Salazar et al. 2020, arXiv:1910.14659).

Shapes: T tokens, V vocabulary.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM
from ownlm.inspection.attention_maps import run
from ownlm.inspection.given import Given, Piece, pieces
from ownlm.models.model import EncoderDecoder

AT_ONCE = 16
"""Copies of a text with one token hidden that are read together."""


class Alternative(NamedTuple):
    """A token that could stand at a place."""

    token: Piece
    logprob: float

    @property
    def probability(self) -> float:
        """As a share."""
        return math.exp(self.logprob)


class Scored(NamedTuple):
    """A token of a text."""

    token: Piece
    logprob: float | None
    """Natural logarithm; None where nothing comes before that could tell."""
    rank: int = 0
    """1: the likeliest of all."""
    alternatives: tuple[Alternative, ...] = ()
    """The likeliest tokens at this place."""


@torch.inference_mode()
def token_scores(lm: LM, read: Given, *, top: int = 5) -> list[Scored]:
    """Every token of a text (of what was written, where there are two).

    Raises ConfigError for a model that says no words.
    """
    if isinstance(lm.model, EncoderDecoder) and lm.answers:
        return _following(lm, read.written, run(lm.model, read).logits[0], top)
    if lm.writer is not None:
        ids = torch.tensor([read.reads], device=lm.model.device)
        return _following(lm, read.reads, lm.writer(ids).logits[0], top)
    if not lm.model.architecture.head.vocab:
        raise ConfigError(f"{lm.model.family.name} under this head says no words")
    return _hidden(lm, read, top)


def _following(lm: LM, ids: tuple[int, ...], logits_TV: Tensor, top: int) -> list[Scored]:
    """Each token by what was said before it; the first has nothing before it."""
    tokens = pieces(lm.tokenizer, ids)
    scored = _scored(lm, tokens[1:], logits_TV[:-1], top)
    return [Scored(tokens[0], None), *scored] if tokens else []


def _hidden(lm: LM, read: Given, top: int) -> list[Scored]:
    """Each token by what is said where it is hidden; marks are not."""
    tokens = pieces(lm.tokenizer, read.reads)
    places = [place for place, token in enumerate(tokens) if not token.control]
    found = [Scored(token, None) for token in tokens]
    for start in range(0, len(places), AT_ONCE):
        part = places[start : start + AT_ONCE]
        rows = [read.hiding(place, lm.tokenizer).reads for place in part]
        ids = torch.tensor(rows, device=lm.model.device)
        types = None if read.types is None else torch.tensor([read.types]).expand_as(ids)
        output = lm.model(ids, types=types)
        features = output.features[torch.arange(len(part)), torch.tensor(part)]
        logits = output._replace(features=features).logits
        scored = _scored(lm, [tokens[place] for place in part], logits, top)
        for place, one in zip(part, scored, strict=True):
            found[place] = one
    return found


def _scored(lm: LM, tokens: list[Piece], logits_TV: Tensor, top: int) -> list[Scored]:
    shares_TV = logits_TV[:, : lm.tokenizer.vocab_size].float().log_softmax(dim=-1)
    ids = torch.tensor([[token.id] for token in tokens], device=shares_TV.device).view(-1, 1)
    own_T1 = shares_TV.gather(1, ids)
    ranks = (shares_TV > own_T1).sum(dim=-1) + 1
    best, chosen = shares_TV.topk(min(top, shares_TV.shape[-1]))
    return [
        Scored(token, own, rank, tuple(map(Alternative, pieces(lm.tokenizer, line), values)))
        for token, own, rank, line, values in zip(
            tokens, own_T1[:, 0].tolist(), ranks.tolist(), chosen.tolist(), best.tolist()
        )
    ]
