"""One example as a run would learn from it, before anything is trained."""

from pathlib import Path

import numpy as np

from ownlm.errors import ConfigError
from ownlm.inspection.example import Token, sides
from ownlm.recipes.config import RunConfig
from ownlm.recipes.doctor import material
from ownlm.recipes.task import loader, objective_of, with_objective
from ownlm.tokenization.load import load_tokenizer


def example(config: RunConfig, folder: Path, number: int) -> dict[str, list[Token]]:
    """Example `number` (from 0) of the first update, prepared in the scratch `folder`.

    Of raw text the beginning is read, and a tokenizer trained on that. Raises what a run would
    raise, and ConfigError when the update has no such example.
    """
    config = with_objective(config)
    train = config.train
    if not 0 <= number < train.batch:
        raise ConfigError(
            f"example {number} of an update of {train.batch}",
            where="example",
            next_command=f"--example with 0 to {train.batch - 1}",
        )
    data, _ = material(config, folder)
    tokenizer = load_tokenizer(data.tokenizer_folder)
    objective = objective_of(config, tokenizer)
    with loader(config, data, objective) as batches:
        rows = batches.batch(0)[number : number + 1]
    batch = objective.collate(rows, np.random.default_rng((train.seed, 0)))
    return sides(batch, 0, tokenizer)
