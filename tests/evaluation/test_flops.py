"""FLOPs of a token, beside sums by hand."""

import pytest

from ownlm.evaluation.flops import flops_of, flops_per_token
from ownlm.models.config import ModelConfig
from ownlm.objectives.config import ObjectiveConfig

D, V, LAYERS = 32, 100, 2
BLOCK = 4 * D * D + 8 * D * D
"""Attention's four matrices and a feed-forward part of four times the width."""


def cost(family: str, kind: str, **objective: float) -> float:
    model = ModelConfig(family=family, layers=LAYERS, dim=D, heads=2, context=64, vocab=V)
    asked = ObjectiveConfig.model_validate({"kind": kind} | objective)
    return flops_per_token(model, asked)


def test_a_decoder_passes_its_blocks_and_the_logits() -> None:
    assert cost("gpt2", "causal") == 6 * (LAYERS * BLOCK + D * V)


def test_an_encoder_has_logits_of_hidden_tokens_alone() -> None:
    """Beside its blocks: the head's dense layer, the pooler and the two answers about pairs."""
    extra = D * D + D * D + 2 * D
    assert cost("bert", "masked", rate=0.15) == 6 * (LAYERS * BLOCK + extra + 0.15 * D * V)


def test_electra_trains_two_networks() -> None:
    """The generator is half as wide here (one of two heads), with tables of the whole width: two
    matrices D x D/2 lead in and out."""
    whole = cost("electra", "replaced", rate=0.15)
    detector = LAYERS * BLOCK + D * D + D
    narrow = LAYERS * BLOCK / 4
    between = whole / 6 - detector - narrow - 0.2 * D * V
    assert between == pytest.approx(2 * D * D / 2)


def test_each_side_of_an_encoder_decoder_reads_its_own() -> None:
    """Of 100 tokens T5 hides 15 in 5 spans: 90 on one side, 20 on the other."""
    encoder = LAYERS * (4 * D * D + 12 * D * D)  # a gated feed-forward part
    decoder = encoder + LAYERS * 4 * D * D
    by_hand = 6 * (0.9 * encoder + 0.2 * (decoder + D * V))
    assert cost("t5", "spans", rate=0.15, span=3) == pytest.approx(by_hand)
    assert cost("t5", "infilling") == pytest.approx(6 * (encoder + decoder + D * V))


def test_a_token_passes_the_experts_it_is_sent_to() -> None:
    """2 of 8, all in all a quarter of the experts' weights."""
    inner = 3 * D  # as the family's rule has it at this width
    expert = 3 * D * inner
    attention, router = 4 * D * D, 8 * D
    assert cost("mixtral", "causal") == 6 * (LAYERS * (attention + router + 2 * expert) + D * V)


def test_a_recipe_that_names_no_model_has_none() -> None:
    assert flops_of({"train.seed": 1}) is None
    flat = {"model.family": "gpt2", "model.layers": LAYERS, "model.dim": D, "model.heads": 2,
            "model.context": 64, "model.vocab": V, "objective.kind": "causal"}  # fmt: skip
    assert flops_of(flat) == cost("gpt2", "causal")
