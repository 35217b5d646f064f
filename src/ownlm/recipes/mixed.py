"""A mixture of tasks as a run: settled before any text is read, then made into an objective."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ownlm.data.config import DataConfig
from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture
from ownlm.objectives.make import FOR, REMEMBER, make_objective, settled
from ownlm.objectives.mixture import Mixture, Task
from ownlm.objectives.room import least_context, require_room
from ownlm.objectives.two_sided import TwoSided
from ownlm.recipes.config import RunConfig, TaskConfig
from ownlm.recipes.needs import controls, data_for
from ownlm.tokenization.tokenizer import Tokenizer

APART = ("replaced", "permutation")
"""Objectives whose loss is not the cross entropy of targets."""


def settled_mixture(config: RunConfig, architecture: Architecture) -> dict[str, Any]:
    """Values of the run with nothing left open in its tasks; ConfigError for what cannot be
    mixed, with the number of the task."""
    _require_fit(config)
    tasks = [
        _settled(task, number, architecture, config.model)
        for number, task in enumerate(config.mixture.tasks)
    ]
    names = [task.name for task in tasks]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(
            f"two tasks are called {min(twice)!r}", where="mixture.tasks",
            next_command="give each a name of its own, or none",
        )  # fmt: skip
    kinds = [task.objective.kind for task in tasks]
    values = {
        "objective": {"kind": "mixture"},
        "mixture": {"tasks": [task.model_dump() for task in tasks]},
        "train": {"documents": True},
    }
    if not config.tokenizer.path:
        values["tokenizer"] = {"controls": controls(config.tokenizer, kinds)}
    return values


def _require_fit(config: RunConfig) -> None:
    weights = [task.weight for task in config.mixture.tasks]
    if config.objective.kind not in ("auto", "mixture"):
        raise ConfigError(
            f"both a mixture of tasks and the objective {config.objective.kind!r} are asked for",
            where="objective.kind",
            next_command="leave out objective.kind: each task has its own",
        )
    if config.data.path:
        raise ConfigError(
            "the tasks of a mixture name their own data", where="data.path",
            next_command="data: {path: ...} in each of mixture.tasks",
        )  # fmt: skip
    if any(weights) and not all(weights):
        raise ConfigError(
            "some tasks have a weight and some have none", where="mixture.tasks",
            next_command="give all a weight, or none: by the sizes of their data",
        )  # fmt: skip
    if config.model.family in REMEMBER:
        raise ConfigError(
            f"{config.model.family} reads segments with a memory, and cannot learn a mixture",
            where="model.family", next_command="a family without memory such as t5, gpt2, bert",
        )  # fmt: skip


def _settled(
    task: TaskConfig, number: int, architecture: Architecture, model: ModelConfig
) -> TaskConfig:
    where, family = f"mixture.tasks[{number}]", model.family
    wanted = task.objective.model_copy(update={"smoothing": 0.0})
    if wanted.pairs == "auto":
        wanted = wanted.model_copy(update={"pairs": "none"})
    try:
        objective = settled(wanted, architecture, family)
        require_room(objective, model.context)
        data = task.data.with_values(data_for(task.data, objective.kind))
    except ConfigError as error:
        error.where = f"{where}: {error.where}"
        raise
    kind = objective.kind
    if kind in APART or objective.pairs != "none":
        raise ConfigError(
            f"{kind!r} cannot be part of a mixture" if kind in APART
            else "questions about pairs of segments cannot be part of a mixture",
            where=where, next_command="ownlm pretrain with this objective alone",
        )  # fmt: skip
    if not task.data.path:
        raise ConfigError(
            "no text to learn from", where=f"{where}.data.path",
            next_command="data: {path: FILE_OR_FOLDER}",
        )  # fmt: skip
    if task.prefix and FOR[kind] != "encoder-decoder":
        raise ConfigError(
            f"words before the source are for encoder-decoders, {family} is none",
            where=f"{where}.prefix", next_command="leave out prefix",
        )  # fmt: skip
    found = {"objective": objective, "data": data, "name": task.name or f"{number}-{kind}"}
    return task.model_copy(update=found)


def corpora(config: RunConfig) -> Mapping[str, DataConfig]:
    """The data of a run by the name of its task; of a run without a mixture a single one."""
    return {task.name: task.data for task in config.mixture.tasks} or {"": config.data}


def mixture_of(config: RunConfig, tokenizer: Tokenizer, start: str) -> Mixture:
    """The objective of a settled mixture; ConfigError for a prefix that leaves no room."""
    mixture = config.mixture
    tasks = []
    for number, task in enumerate(mixture.tasks):
        objective = make_objective(task.objective, tokenizer, start)
        lead = tokenizer.encode(task.prefix)
        room = config.model.context - len(lead)
        if lead and room < max(len(lead), least_context(task.objective)):
            raise ConfigError(
                f"a prefix of {len(lead)} tokens for a context of {config.model.context}",
                where=f"mixture.tasks[{number}].prefix",
                next_command="shorter words, or a larger --model.context",
            )
        if isinstance(objective, TwoSided):
            objective.lead = np.array(lead, np.int64)
        tasks.append(Task(task.name, objective, task.weight))
    return Mixture(tasks, temperature=mixture.temperature, limit=mixture.limit)
