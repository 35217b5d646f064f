"""The complete configuration of a finetuning, and where each kind of task begins.

Rates for pretrained weights are those that their makers and the papers use (BERT 2e-5 to 5e-5 at
width 768, more for narrow models; LoRA ten times that of all weights); a new model has those of
its own recipe.
"""

from pathlib import Path
from typing import Annotated

import pydantic
import tyro

from ownlm.config import Config
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.errors import ConfigError
from ownlm.models.adapt_config import AdaptConfig
from ownlm.models.config import ModelConfig
from ownlm.objectives.tasks.config import TaskKind, TaskOptions
from ownlm.recipes.named import RECIPES, recipe
from ownlm.tokenization.config import TokenizerConfig
from ownlm.training.config import OptimizerConfig, ScheduleConfig, TrainConfig

LEARNS: dict[TaskKind, str] = {
    "classify": "which label a text has: spam, sentiment, topic, toxicity",
    "pair": "which label two texts have together: entailment, paraphrase",
    "regress": "a number for a text or for two: how related, how good",
    "tag": "a tag for each word: named entities, parts of speech, semantic roles",
    "span": "the part of a text that answers a question, or that none does",
    "seq2seq": "a text for a text: translation, summary",
    "chat": "to answer as the assistant of conversations does",
    "embed": "vectors that are near each other for texts that belong together",
}
"""The tasks, and what each teaches."""

WRITERS: tuple[TaskKind, ...] = ("seq2seq", "chat")
"""Tasks whose answers are written by the model's own head over the vocabulary."""


class FinetuneConfig(Config):
    """Everything that decides a finetuning; equal configurations and data give equal models."""

    task: Annotated[TaskKind, tyro.conf.Suppress] = "classify"
    model: Annotated[str, tyro.conf.Suppress] = ""
    """A model folder, a run, a GGUF file; or a recipe such as gpt-tiny, whose model begins new."""
    out: str = ""
    """Folder of the run; empty: runs/ and task and model."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    epochs: float = pydantic.Field(default=4.0, gt=0.0, le=1e6)
    """Passes over the training records that decide train.steps where that is 0."""
    evaluations: float = pydantic.Field(default=1.0, ge=0.0)
    """Evaluations a pass; 0: train.evaluate_every decides."""
    data: TaskDataConfig = TaskDataConfig()
    options: TaskOptions = TaskOptions()
    adapt: AdaptConfig = AdaptConfig()
    shape: ModelConfig = ModelConfig()
    """Sizes and dropout of a new model; a pretrained one has its own."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """Of a new model: learned from the training texts."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=0.0, betas=(0.9, 0.999), weight_decay=0.01)
    schedule: ScheduleConfig = ScheduleConfig(kind="cosine", final=0.0)
    train: TrainConfig = TrainConfig(steps=0, batch=32, save_every=0, compile="off")
    baselines: bool = True
    """Measure simple ways to do the task beside the model."""
    untuned: bool = True
    """Measure the model before the first update too."""
    judged: int = pydantic.Field(default=0, ge=0)
    """Test records that the model is judged by, the first ones; 0: all."""

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return Path(self.out or f"runs/{self.task}-{Path(self.model).stem}")

    @property
    def begins_new(self) -> bool:
        """Whether the model begins with random weights."""
        return not Path(self.model).exists() and self.model in RECIPES


def tuning(task: TaskKind, model: str) -> FinetuneConfig:
    """Where a finetuning of this task begins. ConfigError for a model that is not there.

    A pretrained model under a head keeps its stream, norms and head in float32: all of it in
    bfloat16 costs quality (benchmarks/RESULTS.md, Finetuning).
    """
    config = FinetuneConfig(task=task, model=model)
    if Path(model).exists():
        return config if task in WRITERS else config.with_values({"train": {"precision": "mixed"}})
    begun = recipe(model) if model in RECIPES else None
    if begun is None:
        raise ConfigError(
            f"no folder, no file and no recipe is called {model!r}",
            where="MODEL",
            next_command="a model folder, a .gguf file, or a recipe for a new model: gpt-tiny, "
            "bert-mini, transformer-mini, ... (ownlm pretrain --help lists them)",
        )
    return config.with_values(
        {
            "epochs": 8.0,
            "shape": begun.model.model_dump(),
            "tokenizer": begun.tokenizer.model_dump(),
            "optimizer": begun.optimizer.model_dump(),
            "schedule": {"final": 0.1},
            "train": {"batch": 32},
        },
        f"the recipe {model}",
    )


RATES: dict[str, float] = {
    "all": 4e-2, "last": 4e-2, "head": 0.4, "lora": 0.3, "dora": 0.3, "qlora": 0.3,
}  # fmt: skip
"""Highest learning rate times the model's width, by what moves: 5.2e-5 for all of BERT-base."""


def rate(config: FinetuneConfig, dim: int) -> float:
    """The rate that a configuration leaves open, from the model's width."""
    return config.optimizer.lr or float(f"{RATES[config.adapt.kind] / dim:.2g}")
