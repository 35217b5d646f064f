"""Words for gaps: what a model that was taught to guess hidden words says where one is left out.

    fill(lm, "The capital of France is [MASK].")    gap 1: Paris 0.42, Lyon 0.07, ...

Every gap is guessed by itself, from all that is not hidden (BERT, Devlin et al. 2019).
"""

import re

import torch

from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM
from ownlm.inspection.attention_maps import run
from ownlm.inspection.given import Given, among_marks, pieces
from ownlm.inspection.token_scores import Alternative
from ownlm.objectives.vocabulary import CUSTOMARY, roles

GAP = re.compile("|".join(map(re.escape, CUSTOMARY["mask"])))
"""How a gap is written: [MASK], <mask> or <|mask|>, whichever the tokenizer has."""


def fills(lm: LM) -> bool:
    """Whether a model fills gaps: it says words, reads both ways, and has a token that hides."""
    reads_only = lm.writer is None and not lm.answers and lm.model.architecture.head.vocab > 0
    return reads_only and "mask" in roles(lm.tokenizer.special)


def with_gaps(lm: LM, text: str) -> tuple[Given, list[int]]:
    """What the model reads of a text with gaps, and where these are.

    ConfigError for a text without a gap, and for one that the model cannot read whole.
    """
    between = GAP.split(text)
    mask = roles(lm.tokenizer.special)["mask"]
    parts = [part for some in between for part in (some, mask)][:-1]
    read = among_marks(lm, lm.tokenizer.encode_parts([parts])[0])
    gaps = [place for place, id in enumerate(read.reads) if id == mask]
    if len(between) == 1:
        raise ConfigError("the text has no gap: write [MASK] where a word is missing")
    if len(gaps) < len(between) - 1:
        raise ConfigError(
            f"the text is longer than the {lm.model.context} tokens that the model reads",
            next_command="take a part of it",
        )
    return read, gaps


@torch.inference_mode()
def fill(lm: LM, text: str, *, top: int = 8) -> list[list[Alternative]]:
    """The likeliest tokens for each gap of a text, in order; raises as `with_gaps`."""
    read, gaps = with_gaps(lm, text)
    output = run(lm.model, read)
    logits_GV = output._replace(features=output.features[0, gaps]).logits
    shares_GV = logits_GV[:, : lm.tokenizer.vocab_size].float().log_softmax(dim=-1)
    best, chosen = shares_GV.topk(min(top, shares_GV.shape[-1]))
    return [
        [*map(Alternative, pieces(lm.tokenizer, ids), logprobs)]
        for ids, logprobs in zip(chosen.tolist(), best.tolist(), strict=True)
    ]


def filled(text: str, words: list[str]) -> str:
    """A text with its gaps filled.

    >>> filled("[MASK] is [MASK].", ["Bread", "good"])
    'Bread is good.'
    """
    said = iter(words)
    return GAP.sub(lambda gap: next(said, gap.group()), text)
