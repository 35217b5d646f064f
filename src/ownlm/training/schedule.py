"""Learning rate as a pure function of the step: nothing to save, nothing to drift on resume."""

import math

from ownlm.errors import ConfigError
from ownlm.training.config import ScheduleConfig


def check_schedule(config: ScheduleConfig, steps: int) -> None:
    """ConfigError when warmup (and descent) do not fit into the run."""
    if config.kind != "constant" and config.warmup >= steps:
        raise ConfigError(
            f"schedule.warmup is {config.warmup} updates, but the whole run has {steps}",
            next_command=f"--schedule.warmup {steps // 10}, or a larger --train.steps",
        )
    if config.kind == "wsd" and config.warmup > stable_end(config, steps):
        raise ConfigError(
            f"schedule.warmup ({config.warmup} updates) reaches into the descent, which begins "
            f"at update {stable_end(config, steps)} of {steps}",
            next_command="a smaller --schedule.warmup or --schedule.decay",
        )


def rate(step: int, config: ScheduleConfig, steps: int) -> float:
    """Share of the highest learning rate for update `step` (from 0) of `steps`.

    Of inverse_sqrt with a warmup of w update n (from 1) runs at min(n / w, sqrt(w / n)), as in
    Vaswani et al. 2017, equation 3, whose highest rate is 1 / sqrt(dim w). Of the others:
    the first update of a warmup of 3 runs at 1/4, the fourth at 1; the last update of a
    descent still moves, the share `final` would be reached by the one after it.
    """
    if config.kind == "inverse_sqrt":
        warmup, number = max(1, config.warmup), step + 1
        return min(number / warmup, math.sqrt(warmup / number))
    if step < config.warmup:
        return (step + 1) / (config.warmup + 1)
    if config.kind == "cosine":
        return _between(config.final, _half_wave(_share(step, config.warmup, steps)))
    if config.kind == "wsd":
        begin = stable_end(config, steps)
        return _between(config.final, 1.0 - max(0.0, _share(step, begin, steps)))
    return 1.0


def stable_end(config: ScheduleConfig, steps: int) -> int:
    """The update at which a wsd run begins its descent."""
    return steps - max(1, round(config.decay * steps))


def _share(step: int, begin: int, end: int) -> float:
    return min(1.0, (step - begin) / (end - begin))


def _half_wave(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


def _between(final: float, height: float) -> float:
    return final + (1.0 - final) * height
