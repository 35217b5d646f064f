"""Named runs: complete, consistent, and what they are said to be."""

import pytest

from ownlm.errors import ConfigError
from ownlm.recipes.config import RunConfig
from ownlm.recipes.derive import derived
from ownlm.recipes.named import OTHERS, RECIPES, recipe, table
from ownlm.recipes.sized import LEARNERS, SIZES


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_complete(name: str) -> None:
    run = recipe(name)
    assert run.recipe == name
    done = derived(run, vocab=400, train_tokens=10**7, window=run.model.context)
    assert 0 < done.schedule.warmup < done.train.steps
    assert done.train.batch % (done.train.micro_batch or 1) == 0
    assert RunConfig.parse(done.model_dump(mode="json")) == done


def test_the_nearest_recipe_is_named() -> None:
    with pytest.raises(ConfigError, match="nearest is char-tiny"):
        recipe("char-tinny")


def test_the_table_lists_every_recipe_with_its_purpose() -> None:
    """Sizes of a family have a line for all."""
    families, sizes = table().split("\n\n")
    assert len(families.splitlines()) == len(OTHERS) + len(LEARNERS)
    for line, name in zip(families.splitlines(), [*OTHERS, *LEARNERS], strict=True):
        assert line.startswith(f"{name} ")
        assert line.endswith(str(RECIPES[name].__doc__).splitlines()[0])
        assert line.endswith("."), "half a sentence in the table of every help"
    assert all(f"-{size}" in sizes for size in SIZES)


def test_char_tiny_is_nanogpts_cpu_run_at_a_higher_rate() -> None:
    """The values of its README: block_size 64, batch 12, 4 x 4 x 128, 2,000 steps, dropout 0."""
    run = recipe("char-tiny")
    model, optimizer = run.model, run.optimizer
    assert (model.layers, model.heads, model.dim, model.context) == (4, 4, 128, 64)
    assert (model.family, model.bias, model.dropout, model.tied) == ("gpt2", False, 0.0, True)
    assert (run.train.batch, run.train.steps, run.train.documents) == (12, 2000, False)
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (4e-3, (0.9, 0.99), 0.1)
    assert (run.schedule.kind, run.schedule.warmup, run.schedule.final) == ("cosine", 100, 0.1)
    assert run.tokenizer.kind == "char"
