"""The whole job of `ownlm finetune`: labelled data to a model that does the task, measured.

RUN/recipe.yaml        the complete configuration, derived values filled in
RUN/log.jsonl          a row a logging step and an evaluation
RUN/checkpoints/       where --resume goes on
RUN/model/             the finished model: a Hugging Face folder, or an adapter of one
RUN/evaluation.json    figures on the test records, with intervals, beside the baselines
RUN/predictions.jsonl  what the model says of each test record
RUN/report.html        all of it to look at
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from ownlm import files, runtime
from ownlm.data.encoded import EncodedLoader
from ownlm.data.tasks.load import TaskData
from ownlm.data.tasks.records import Labelled, Question
from ownlm.errors import ConfigError
from ownlm.evaluation.report import REPORT
from ownlm.evaluation.tasks.display import show
from ownlm.evaluation.tasks.judge import require
from ownlm.inference.batch import generate
from ownlm.inspection.architecture import describe
from ownlm.log import say
from ownlm.models.adapt import adapt
from ownlm.nn.stack import recompute
from ownlm.objectives.tasks.config import TaskKind
from ownlm.objectives.tasks.make import make_task
from ownlm.objectives.tasks.task import Task
from ownlm.recipes import judged, machine
from ownlm.recipes.lessons import Lessons, lessons, read_records, texts_of
from ownlm.recipes.material import RECIPE
from ownlm.recipes.subject import Subject, subject
from ownlm.recipes.tuned import pooled, saver
from ownlm.recipes.tuning import LEARNS, FinetuneConfig, rate
from ownlm.training.config import Choices
from ownlm.training.feed import micro_batches
from ownlm.training.run import Resume, RunFolder, open_run
from ownlm.training.trainer import Result, Trainer


class Parts(NamedTuple):
    """What a finetuning brings together."""

    config: FinetuneConfig
    """What was asked, with what the data settle."""
    data: TaskData
    subject: Subject
    task: Task
    lessons: Lessons

    @property
    def identity(self) -> dict[str, str]:
        """The digests that a run is bound to."""
        return {
            "data": self.lessons.digest,
            "tokenizer": self.subject.tokenizer.digest,
            "model": self.subject.digest,
        }


class Finetuned(NamedTuple):
    """How a finetuning ended; as text, what to say to the person who started it."""

    folder: Path
    task: TaskKind
    result: Result
    judged: judged.Judged | None

    @property
    def exit_code(self) -> int:
        """0, or 130 and 143 for a run that was stopped and saved."""
        return self.result.exit_code

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder),
            "step": self.result.step,
            "finished": self.result.finished,
            "exit_code": self.exit_code,
            "evaluation": self.judged.as_dict() if self.judged else {},
        }

    def show(self, console: Console) -> None:
        """Print how good the model is, and what to type next."""
        if not self.result.finished:
            console.print(
                f"{self.folder}: stopped and saved at step {self.result.step}; --resume goes on"
            )
            return
        step, best = self.result.step, self.result.best_step
        kept = "" if best in (None, step) else f"; kept is step {best}, the best in validation"
        console.print(f"{self.folder}: finished at step {step}{kept}\n")
        if self.judged is not None:
            show(self.judged.model, self.judged.others, console)
        console.print("\nnext:")
        for command in judged.commands(self.task, self.folder):
            console.print(f"  {command}", soft_wrap=True)
        console.print(f"\nto look at in a browser: {self.folder / REPORT}", soft_wrap=True)


def finetune(
    config: FinetuneConfig, *, resume: Resume = "no", allow_change: bool = False
) -> Finetuned:
    """Carry out the finetuning that `config` describes, or go on with it.

    Everything is left in `config.folder`. Data, model and their fit are checked before the first
    update. Raises an OwnlmError for whatever the user can mend, with what is safe on disk.
    """
    require(config.task)
    micro_batches(config.train.batch, config.train.micro_batch)  # refused before data are read
    device = runtime.pick_device(config.device)
    machine.require_cores(config.train, device)
    with open_run(config.folder, resume=resume) as run:
        parts = gathered(config)
        asked, config = config, derived(parts)
        run.agree(config.model_dump(mode="json"), allow_change=allow_change)
        run.agree_on(parts.identity)
        files.write_text(run.path / RECIPE, config.to_yaml())
        model = parts.subject.model
        described = describe(model, min(parts.lessons.longest, model.context))
        choices, allocator = machine.settle(config.train, run.choices, described, device)
        say(plan(asked, config, parts, choices, device, allocator))
        untuned = judged.untuned(run.path, config, parts.task, parts.data, parts.lessons, model)
        with machine.memory_errors(config.train, choices, described):
            result = trainer(config, run, parts, choices, device).fit()
        if not result.finished:
            return Finetuned(run.path, config.task, result, None)
        found = judged.conclude(run, config, parts.task, parts.data, parts.lessons, untuned)
        return Finetuned(run.path, config.task, result, found)


def gathered(config: FinetuneConfig) -> Parts:
    """Data, model and task of a configuration, fitted to each other."""
    data = read_records(config)
    config = settled(config, data)
    found = subject(config, data.labels, (text for one in data.train for text in texts_of(one)))
    if config.task == "embed" and found.base:
        options = pooled(config.options, Path(found.base))
        config = config.model_copy(update={"options": options})
    adapt(found.model, config.adapt, config.train.seed)
    c, labels = found.model.config, data.labels
    task = make_task(config.task, config.options, found.tokenizer, c, labels, generate)
    learned = lessons(data, task)
    task.prepare(learned.train)
    prior = task.prior(learned.train) if learned.train else None
    if found.model.task is not None and prior is not None:
        found.model.task.begin(prior)
    return Parts(config, data, found, task, learned)


def settled(config: FinetuneConfig, data: TaskData) -> FinetuneConfig:
    """`config` with what the records tell: that questions may have no answer, that a text may
    have several labels."""
    none = any(isinstance(one, Question) and not one.answers for one in data.train)
    several = any(isinstance(one, Labelled) and len(one.labels) != 1 for one in data.train)
    options = {"unanswerable": True} if none else {}
    return config.with_values(
        {"options": options | ({"multi_label": True} if several else {})}, "what the data hold"
    )


def derived(parts: Parts) -> FinetuneConfig:
    """The configuration with nothing left open."""
    config = parts.config
    train, per_epoch = config.train, max(1, len(parts.lessons.train) // config.train.batch)
    steps = train.steps or max(1, round(config.epochs * per_epoch))
    look = max(1, round(per_epoch / config.evaluations)) if config.evaluations else 0
    warmup = config.schedule.warmup or steps // 10
    values = {
        "optimizer": {"lr": rate(config, parts.subject.model.architecture.stack.dim)},
        "schedule": {"warmup": min(warmup, steps // 2)},
        "train": {"steps": steps, "evaluate_every": look or train.evaluate_every},
    }
    return config.with_values(values, "derived values")


def plan(
    asked: FinetuneConfig,
    config: FinetuneConfig,
    parts: Parts,
    choices: Choices,
    device: torch.device,
    allocator: str,
) -> str:
    """Some lines for the person at the terminal."""
    model, found, train = parts.subject.model, parts.lessons, config.train
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    begun = parts.subject.base or f"new, {config.model}"
    open_ = [name for name, *_ in asked.differences(config) if name == "optimizer.lr"]
    stack = model.architecture.stack
    rows = {
        "model": f"{begun}: {model.family.name}, {stack.layers} layers x {stack.dim}",
        "learns": LEARNS[config.task],
        "moves": f"{config.adapt.kind}: {moving:,} of {_count(model):,} parameters",
        "data": found.summary,
        "work": f"{train.steps:,} updates of {train.batch} sequences of at most "
        f"{found.longest} tokens",
        "rate": f"{config.optimizer.lr:g}{' by the width' if open_ else ''}, warmup "
        f"{config.schedule.warmup}, {config.schedule.kind}",
        "machine": f"{device}, {choices.precision}, {choices.threads} cores, {allocator}",
    }
    if config.task == "embed" and 0 < choices.micro_batch < train.batch:
        rows["work"] += f"; each text is chosen among {choices.micro_batch}: the whole batch does "
        rows["work"] += "not fit at once"
    if parts.subject.new:
        rows["new"] = ", ".join(parts.subject.new)
    return "\n".join(f"{name:<8} {text}" for name, text in rows.items())


def _count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def trainer(
    config: FinetuneConfig,
    run: RunFolder,
    parts: Parts,
    choices: Choices,
    device: torch.device,
) -> Trainer:
    """The trainer with everything that it does not know of itself."""
    model, found = parts.subject.model.to(device), parts.lessons
    if choices.recompute:
        recompute(model)
    if not found.train:
        raise ConfigError("no record is left to learn from", where=config.data.path)
    tokenizer = parts.subject.tokenizer
    pad = tokenizer.pad_id if tokenizer.pad_id is not None else tokenizer.eos_id
    return Trainer(
        run,
        model,
        parts.task,
        EncodedLoader(found.train, config.train.batch, config.train.seed, pad),
        train=config.train,
        optimizer=config.optimizer,
        schedule=config.schedule,
        choices=choices,
        identity=parts.identity,
        save_model=saver(config, parts.subject),
        evaluate=judged.Watch(config, parts.task, parts.data, found) if found.validation else None,
        rank=judged.rank,
    )
