"""Values that theory decides, where a configuration leaves them open."""

import pytest

from ownlm.errors import ConfigError
from ownlm.recipes.config import RunConfig
from ownlm.recipes.derive import derived, rate_for, steps_for, warmup_for
from ownlm.recipes.named import recipe


def open_run(**train: int) -> RunConfig:
    kind = {"kind": "adamw", "lr": 0}
    return recipe("llama-mini").with_values({"train": train, "optimizer": kind})


def test_rate_follows_the_width() -> None:
    """GPT-3's smallest model, twice its width, and the ceiling for narrow ones."""
    assert rate_for(768) == 6e-4
    assert rate_for(1536) == 3e-4
    assert rate_for(64) == 3e-3


def test_steps_read_the_text_epochs_times() -> None:
    """2 passes over 102,400 tokens, 8 x 256 of them an update: 100 updates."""
    run = open_run(batch=8).with_values({"epochs": 2})
    assert steps_for(run, 102_400, window=256) == 100
    assert steps_for(run, 1, window=256) == 1
    assert steps_for(run, 102_400, window=320) == 80  # T5 makes less of more text


def test_steps_that_nothing_decides_are_refused() -> None:
    with pytest.raises(ConfigError, match="passes over the text"):
        derived(open_run().with_values({"epochs": 0}), vocab=300, train_tokens=1000, window=256)


def test_only_open_values_are_filled() -> None:
    run = open_run(steps=77).with_values({"optimizer": {"lr": 0.5}, "model": {"vocab": 512}})
    done = derived(run, vocab=300, train_tokens=10_000, window=256)
    assert (done.train.steps, done.optimizer.lr, done.model.vocab) == (77, 0.5, 512)
    assert [key for key, *_ in run.differences(done)] == ["schedule.warmup"]


def test_nothing_is_left_open() -> None:
    done = derived(open_run(), vocab=300, train_tokens=1_000_000, window=256)
    assert done.model.vocab == 300
    assert done.train.steps == round(4 * 1_000_000 / (32 * 256))
    assert done.optimizer.lr == rate_for(256)
    assert done == derived(done, vocab=300, train_tokens=5, window=256)


def test_a_model_smaller_than_its_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="300 tokens, the model only 299"):
        derived(
            open_run().with_values({"model": {"vocab": 299}}),
            vocab=300,
            train_tokens=1000,
            window=256,
        )


@pytest.mark.parametrize(("warmup", "steps", "left"), [(50, 100, 50), (51, 100, 10), (9, 3, 0)])
def test_a_short_run_warms_up_shortly(warmup: int, steps: int, left: int) -> None:
    assert warmup_for(warmup, steps) == left
