"""The complete configuration of a run: what recipes return, and recipe.yaml records."""

from pathlib import Path
from typing import Annotated

import pydantic
import tyro

from ownlm.config import Config
from ownlm.data.config import DataConfig
from ownlm.models.config import ModelConfig
from ownlm.objectives.config import ObjectiveConfig
from ownlm.tokenization.config import TokenizerConfig
from ownlm.training.config import OptimizerConfig, ScheduleConfig, TrainConfig


class SampleConfig(Config):
    """What the model is asked to write while it trains, for samples.md."""

    prompt: str = ""
    """Text to continue; empty: the model starts a document of its own."""
    code: str = ""
    """Control code to write under, of a model that has learned some; empty: its first."""
    tokens: int = 200
    """Tokens to write a sample."""
    temperature: float = 0.8
    """0 always takes the likeliest token; 1 follows the model's own probabilities."""


class TaskConfig(Config):
    """One task of a mixture."""

    name: str = ""
    """How the log calls it; empty: its number and the kind of its objective."""
    data: DataConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    """What is learned from it; targets of a mixture are not smoothed."""
    prefix: str = ""
    """Words before every source, such as 'translate English to Chinese: ' (encoder-decoders)."""
    weight: float = pydantic.Field(default=0.0, ge=0.0, le=1e9)
    """Share of the rows, relative to the other tasks'; of all or none. 0: by the size of the
    data."""


class MixtureConfig(Config):
    """Several tasks in one training, each with data of its own."""

    tasks: Annotated[tuple[TaskConfig, ...], tyro.conf.Fixed, tyro.conf.Suppress] = ()
    """The tasks; written in the YAML file of --config."""
    temperature: float = pydantic.Field(default=1.0, ge=0.1, le=1e6)
    """Of shares by size: 1 follows the sizes, more evens them out (T5 compared 2, 4 and 8)."""
    limit: int = pydantic.Field(default=0, ge=0)
    """Of shares by size: a task counts at most so many windows; 0: all of them."""


class RunConfig(Config):
    """Everything that decides a run; equal configurations and data give equal models."""

    recipe: Annotated[str, tyro.conf.Suppress] = ""
    """Name of the recipe that the values started from."""
    out: str = ""
    """Folder of the run; empty: runs/ and the recipe's name."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    epochs: float = pydantic.Field(default=0.0, ge=0.0, le=1e6)
    """Passes over the training text that decide train.steps where that is 0."""
    data: DataConfig
    tokenizer: TokenizerConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    train: TrainConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    mixture: MixtureConfig = MixtureConfig()
    sample: SampleConfig = SampleConfig()

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return Path(self.out or f"runs/{self.recipe}")
