"""What training costs a token of the text, so that runs of unlike models are drawn over one axis.

A weight that a token passes costs 6 FLOPs: 2 forward, 4 backward (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1). Tables that are looked up cost nothing, the matrix of logits costs
where logits are computed. Left out: attention's products of tokens with tokens, and the second
stream of XLNet. Of a mixture both sides of an encoder-decoder count as if they read all of it.
"""

import functools
import json
import math
from typing import Any

from torch import nn

from ownlm.models.config import ModelConfig
from ownlm.models.families import family_of
from ownlm.models.generator import generator_values
from ownlm.models.load import empty_model, hf_values
from ownlm.models.model import EncoderDecoder
from ownlm.nn.experts import Experts
from ownlm.objectives.config import ObjectiveConfig

A_WEIGHT = 6.0


def flops_per_token(model: ModelConfig, objective: ObjectiveConfig) -> float:
    """Of a run that learns `objective`, whose rate is settled, a token of the text."""
    values = hf_values(model)
    made, table = _empty(values), model.dim * model.vocab
    read, written = sides(objective)
    if isinstance(made, EncoderDecoder):
        encoder = matrices(made.encoder, made.vocab)
        decoder = matrices(made, made.vocab) - encoder
        return A_WEIGHT * (read * encoder + written * (decoder + table))
    passed = matrices(made, made.vocab)
    if objective.kind == "replaced":
        generator = _empty(generator_values(model, values))
        passed += matrices(generator, made.vocab)
    return A_WEIGHT * (passed + logits(objective) * table)


def flops_of(config: dict[str, Any]) -> float | None:
    """The same for the dotted keys of a recipe.yaml; None where it holds no model of ours."""
    parts = {
        name: {k.removeprefix(f"{name}."): v for k, v in config.items() if k.startswith(f"{name}.")}
        for name in ("model", "objective")
    }
    try:
        return _flops(json.dumps(parts["model"]), json.dumps(parts["objective"]))
    except (ValueError, TypeError):  # an OwnlmError is a ValueError
        return None


@functools.lru_cache(maxsize=64)
def _flops(model: str, objective: str) -> float:
    return flops_per_token(
        ModelConfig.model_validate_json(model), ObjectiveConfig.model_validate_json(objective)
    )


def sides(objective: ObjectiveConfig) -> tuple[float, float]:
    """Tokens of the encoder and of the decoder for one of the text, in long texts."""
    if objective.kind == "spans":  # a sentinel a span on either side
        sentinels = objective.rate / objective.span
        return 1 - objective.rate + sentinels, objective.rate + sentinels
    if objective.kind == "seq2seq":  # the text is both
        return 0.5, 0.5
    return 1.0, 1.0


def logits(objective: ObjectiveConfig) -> float:
    """Share of the tokens whose logits over the vocabulary are computed; those of ELECTRA's
    generator once more, without a backward pass, to draw from them."""
    if objective.kind == "replaced":
        return objective.rate * 4 / 3
    return objective.rate if objective.kind in ("masked", "permutation") else 1.0


def matrices(module: nn.Module, vocab: int) -> float:
    """Weights that a token passes; of experts those that it is sent to."""
    parts = dict(module.named_modules())
    total = 0.0
    for name, part in parts.items():
        if not isinstance(part, nn.Linear | nn.RNNBase):  # tables and scales cost next to nothing
            continue
        share, over = 1.0, parts.get(name.rpartition(".")[0])
        if isinstance(over, Experts) and part is not over.router:
            share = over.config.chosen / over.config.count
        shapes = [p.shape for p in part.parameters(recurse=False) if p.dim() > 1]
        total += share * sum(math.prod(s) for s in shapes if s[0] != vocab)
    return total


def _empty(values: dict[str, Any]) -> Any:
    return empty_model(family_of(values, "config.json"), values, "config.json")
