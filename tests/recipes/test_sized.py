"""Recipes by family and size: shapes, rates, and what they share."""

import pytest

from ownlm.inspection.architecture import describe, sketch
from ownlm.models.config import ModelConfig
from ownlm.models.load import hf_values
from ownlm.recipes.config import RunConfig
from ownlm.recipes.derive import rate_for
from ownlm.recipes.named import recipe
from ownlm.recipes.sized import LEARNERS, SIZES, USUAL, rate_at
from ownlm.recipes.task import with_objective


@pytest.mark.parametrize("name", LEARNERS)
def test_a_family_without_a_size_is_the_usual_one(name: str) -> None:
    short, long = recipe(name), recipe(f"{name}-{USUAL}")
    assert short.model_copy(update={"recipe": ""}) == long.model_copy(update={"recipe": ""})
    assert (short.recipe, long.recipe) == (name, f"{name}-{USUAL}")


@pytest.mark.parametrize("name", LEARNERS)
def test_sizes_grow_and_their_rates_fall(name: str) -> None:
    runs = [recipe(f"{name}-{size}") for size in SIZES]
    counts = [describe(sketch(hf_values(_filled(run)))).parameters for run in runs]
    assert counts == sorted(set(counts))
    rates = [run.optimizer.lr or rate_for(run.model.dim) for run in runs]
    assert rates == sorted(rates, reverse=True)
    assert with_objective(runs[0]).objective.kind != "auto"


def test_a_memory_joins_contexts_and_the_tokens_of_an_update_stay() -> None:
    plain, joined = recipe("gpt-tiny"), recipe("transformer_xl-tiny")
    segments = with_objective(joined).objective.segments
    assert segments == 4
    assert joined.train.batch * segments == plain.train.batch


def test_hidden_tokens_are_learned_in_larger_batches() -> None:
    """benchmarks/RESULTS.md, BERT's two tasks; larger sizes have as many tokens anyway."""
    for name in ("bert-tiny", "electra-tiny"):
        assert recipe(name).train.batch == 4 * recipe("gpt-tiny").train.batch
    assert recipe("bert-mini").train.batch == recipe("gpt-mini").train.batch


def test_the_rule_carries_a_rate_to_other_widths() -> None:
    learner = LEARNERS["bert"]._replace(rate=3e-3, rate_of_mini=4e-3)
    widths = (128, 256, 512, 768)
    assert [rate_at(learner, width) for width in widths] == [3e-3, 4e-3, 2e-3, 1.3e-3]


def _filled(run: RunConfig) -> ModelConfig:
    return run.model.model_copy(update={"vocab": run.tokenizer.vocab_size})
