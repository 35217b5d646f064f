"""What theory decides where a configuration leaves it open: 0 means derived, and is shown.

recipe.yaml records the values that came out, so a finished run hides nothing.
"""

from ownlm.errors import ConfigError
from ownlm.recipes.config import RunConfig

GPT3_WIDTH, GPT3_RATE = 768, 6e-4
"""Width and learning rate of the smallest model of Brown et al. 2020 (arXiv:2005.14165)."""

HIGHEST_RATE = 3e-3
"""Above this AdamW is unstable for the widths at which the rule would ask for it."""


def derived(config: RunConfig, vocab: int, train_tokens: int, window: int) -> RunConfig:
    """`config` with nothing left open, given the tokenizer's size, the tokens to train on, and
    how many of them a sequence is made from (`Objective.window`).

    Raises ConfigError when the model's vocabulary is too small or no step count can be found.
    """
    steps = config.train.steps or steps_for(config, train_tokens, window)
    values = {
        "model": {"vocab": _vocabulary(config, vocab)},
        "optimizer": {"lr": config.optimizer.lr or _rate(config, steps)},
        "train": {"steps": steps},
        "schedule": {"warmup": warmup_for(config.schedule.warmup, steps)},
    }
    return config.with_values(values, "derived values")


def _rate(config: RunConfig, steps: int) -> float:
    warmup = warmup_for(config.schedule.warmup, steps)
    if config.schedule.kind == "inverse_sqrt" and warmup:
        return float((config.model.dim * warmup) ** -0.5)  # Vaswani et al. 2017, equation 3
    return rate_for(config.model.dim)


def rate_for(dim: int) -> float:
    """Highest learning rate for a width, as 1 / width: 6e-4 at 768, never above 3e-3.

    The rule of GPT-3's table from 768 on, and of maximal update parametrisation (Yang et al.
    2022, arXiv:2203.03466), which transfers a rate between widths in this way.
    """
    return float(f"{min(HIGHEST_RATE, GPT3_RATE * GPT3_WIDTH / dim):.2g}")


def steps_for(config: RunConfig, train_tokens: int, window: int) -> int:
    """Updates that read the training text `epochs` times."""
    if not config.epochs:
        raise ConfigError(
            "neither the number of updates nor of passes over the text is given",
            where="train.steps",
            next_command="--train.steps 1000, or --epochs 4",
        )
    return max(1, round(config.epochs * train_tokens / (config.train.batch * window)))


def warmup_for(warmup: int, steps: int) -> int:
    """A warmup that would take more than half of a short run is cut to a tenth of it."""
    return warmup if warmup <= steps // 2 else steps // 10


def _vocabulary(config: RunConfig, vocab: int) -> int:
    if config.model.vocab and config.model.vocab < vocab:
        raise ConfigError(
            f"the tokenizer has {vocab} tokens, the model only {config.model.vocab}",
            where="model.vocab",
            next_command="--model.vocab 0, which takes the tokenizer's",
        )
    return config.model.vocab or vocab
