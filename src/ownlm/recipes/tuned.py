"""Finetuned models on disk: written with what their task needs, opened again ready for it."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ownlm import runtime
from ownlm.errors import CheckpointError
from ownlm.inference.batch import generate
from ownlm.inference.find import find_model
from ownlm.inference.language_model import load_tokenizer_of, name_ends
from ownlm.models.adapters import is_adapter, save_adapter
from ownlm.models.heads import SEQUENCE, SPAN, TOKEN
from ownlm.models.load import load_any, save_model
from ownlm.models.model import PREFIX_LM, EncoderDecoder, Model, SingleStack
from ownlm.models.sentences import Embedder, is_embedder, pooling_of
from ownlm.models.with_adapter import load_with_adapter
from ownlm.objectives.tasks.config import TaskKind, TaskOptions
from ownlm.objectives.tasks.make import KEY, make_task
from ownlm.objectives.tasks.task import Task
from ownlm.recipes.machine import NARROW
from ownlm.recipes.subject import Subject
from ownlm.recipes.tuning import WRITERS, FinetuneConfig
from ownlm.tokenization.tokenizer import Tokenizer


class Tuned(NamedTuple):
    """A model that does a task."""

    model: Model
    tokenizer: Tokenizer
    task: Task
    kind: TaskKind
    folder: Path


def saver(config: FinetuneConfig, subject: Subject) -> Callable[[nn.Module, Path], None]:
    """Writes the folder of a finetuned model, complete: an adapter where only one was trained."""
    told = {"kind": config.task, "options": config.options.model_dump(mode="json")}

    def save(model: nn.Module, folder: Path) -> None:
        assert isinstance(model, Model)
        model.config[KEY] = told
        if config.options.both_ways:
            model.config[PREFIX_LM] = True
        name_ends(model, subject.tokenizer, turns=config.task == "chat")
        if config.adapt.low_rank:
            save_adapter(model, folder, os.path.abspath(subject.base))
        elif config.task == "embed":
            assert isinstance(model, SingleStack)
            Embedder(model, config.options.pooling or "mean", normalised=True).save(folder)
        else:
            save_model(model, folder)
        subject.tokenizer.save(folder)

    return save


def load_tuned(
    path: Path | str, device: torch.device, kind: TaskKind | None = None, base: str = ""
) -> Tuned:
    """The model in a folder with its task, as it was taught or as its head tells; `base` is what
    an adapter was trained on, where that is not where it says.

    Raises CheckpointError for a model that does no task.
    """
    folder = find_model(Path(path))
    dtype = torch.float32 if device.type == "cpu" else None
    model = (
        load_with_adapter(folder, base, device, dtype)
        if is_adapter(folder)
        else load_any(folder, device, dtype)[0]
    )
    return with_task(model, load_tokenizer_of(path), folder, kind)


def with_task(
    model: Model, tokenizer: Tokenizer, folder: Path, kind: TaskKind | None = None
) -> Tuned:
    """A model that was opened, with its task; CheckpointError for one that does none."""
    told: dict[str, Any] = model.config.get(KEY) or {}
    found: TaskKind = kind or told.get("kind") or kind_of(model, tokenizer, folder)
    options = TaskOptions.parse(told.get("options", {}), f"{folder}/config.json: {KEY}")
    if found == "embed":
        options = pooled(options, folder)
    task = make_task(found, options, tokenizer, model.config, labels_of(model.config), generate)
    return Tuned(fluent(model, found).eval(), tokenizer, task, found, folder)


def pooled(options: TaskOptions, folder: Path) -> TaskOptions:
    """Options with the pooling that a folder states, where they leave it open; CheckpointError
    for one that cannot be done."""
    if options.pooling or not is_embedder(folder):
        return options
    return options.model_copy(update={"pooling": pooling_of(folder)})


def fluent(model: Model, kind: TaskKind) -> Model:
    """A model in the number format that it answers fastest in: where texts are written on a
    processor with fast bfloat16, a copy in that."""
    slow = not runtime.fast_bf16(model.device) or model.architecture.stack.dim < NARROW
    if kind not in WRITERS or model.device.type != "cpu" or slow:
        return model
    return copy.deepcopy(model).bfloat16()


def kind_of(model: Model, tokenizer: Tokenizer, folder: Path) -> TaskKind:
    """The task that a model's head tells; CheckpointError where it tells none."""
    form = model.architecture.form
    if form == SEQUENCE:
        return "regress" if len(labels_of(model.config)) == 1 else "classify"
    if form in (TOKEN, SPAN):
        return "tag" if form == TOKEN else "span"
    if is_embedder(folder):
        return "embed"
    if isinstance(model, EncoderDecoder) and model.architecture.head.vocab:
        return "seq2seq"
    if model.architecture.stack.causal and tokenizer.chat is not None:
        return "chat"
    raise CheckpointError(
        f"{model.family.name} under the head {form} does no task yet",
        where=str(folder),
        next_command="teach it one: ownlm finetune TASK MODEL --data PATH",
    )


def labels_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The labels of a config.json, in order."""
    named = config.get("id2label") or {}
    return tuple(str(named[key]) for key in sorted(named, key=int))
