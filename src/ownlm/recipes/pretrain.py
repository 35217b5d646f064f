"""The whole job of `ownlm pretrain`: text to tokens to a trained, evaluated model in a folder.

RUN/recipe.yaml      the complete configuration, derived values filled in
RUN/data/            token shards and tokenizer, when raw text was given
RUN/log.jsonl        a row a logging step and an evaluation
RUN/checkpoints/     where --resume goes on
RUN/model/           the finished model, a Hugging Face folder
RUN/samples.md       what it wrote as it learned
RUN/evaluation.json  loss, perplexity and bits per byte over all of the validation text
RUN/report.html      all of it to look at
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ownlm import files, runtime
from ownlm.data.loader import Loader
from ownlm.data.shards import PreparedData
from ownlm.errors import ConfigError
from ownlm.evaluation.headline import headline
from ownlm.evaluation.likelihood import Validation, likelihood
from ownlm.evaluation.report import EVALUATION, REPORT, next_commands, write_report
from ownlm.evaluation.unigram import unigram
from ownlm.log import say, warn
from ownlm.models.load import load_any, save_model, set_tokens
from ownlm.nn.stack import recompute
from ownlm.objectives.objective import Objective
from ownlm.objectives.vocabulary import vocabulary
from ownlm.recipes import machine, material
from ownlm.recipes.config import RunConfig
from ownlm.recipes.derive import derived
from ownlm.recipes.material import Material, summary
from ownlm.recipes.plan import plan, sketched
from ownlm.recipes.samples import Sampler
from ownlm.recipes.task import (
    fresh_model,
    loader,
    objective_of,
    text_of_a_row,
    wanted,
    with_objective,
    writes,
)
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.training.config import Choices
from ownlm.training.feed import micro_batches
from ownlm.training.run import Resume, RunFolder, open_run
from ownlm.training.trainer import Result, Trainer

LEAST_WINDOWS = 64
"""Of validation text that an evaluation during training reads, where there are so many."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended; as text, what to say to the person who started it."""

    folder: Path
    step: int
    finished: bool
    exit_code: int
    figures: dict[str, Any] = field(default_factory=dict)
    """The evaluation of the finished model (`Likelihood.as_dict`); empty without one."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder),
            "step": self.step,
            "finished": self.finished,
            "exit_code": self.exit_code,
            "evaluation": self.figures,
        }

    def __str__(self) -> str:
        if not self.finished:
            return f"{self.folder}: stopped and saved at step {self.step}; --resume goes on"
        lines = [f"{self.folder}: finished at step {self.step}{self._measured()}", "", "next:"]
        lines += [f"  {command}" for command in next_commands(self.folder)]
        return "\n".join([*lines, "", f"to look at in a browser: {self.folder / REPORT}"])

    def _measured(self) -> str:
        shown = headline(self.figures)
        return ": " * bool(shown) + ", ".join(f"{name} {value}" for name, value in shown.items())


def pretrain(config: RunConfig, *, resume: Resume = "no", allow_change: bool = False) -> RunResult:
    """Carry out the run that `config` describes, or go on with it.

    Everything is left in `config.folder`. A finished run that is resumed stays as it is. Raises
    an OwnlmError for whatever the user can mend, with what is safe on disk.
    """
    require_readable_name(config.folder)
    micro_batches(config.train.batch, config.train.micro_batch)  # refused before text is read
    config = with_objective(config)
    device = runtime.pick_device(config.device)
    machine.require_cores(config.train, device)
    with (
        open_run(config.folder, resume=resume) as run,
        material.opened(config, begun=run.start is not None) as found,
    ):
        asked = config
        tokens, objective = found.data.train.tokens, objective_of(asked, found.tokenizer)
        window = text_of_a_row(objective, found.data.train, asked.model.context)
        config = derived(asked, found.tokenizer.vocab_size, tokens, window)
        run.agree(config.model_dump(mode="json"), allow_change=allow_change)
        run.agree_on(found.identity)
        files.write_text(run.path / material.RECIPE, config.to_yaml())
        described = sketched(config.model)
        choices, allocator = machine.settle(config.train, run.choices, described, device)
        words = plan(asked, config, described, choices, device, tokens, window)
        say(f"{words}, {allocator}")
        with (
            loader(config, found.data, objective) as batches,
            machine.memory_errors(config.train, choices, described),
        ):
            result = trainer(config, run, found, objective, batches, choices, device).fit()
        return conclude(config, run, result, found, objective, device)


def require_readable_name(folder: Path) -> None:
    """ConfigError for a run folder whose name is no UTF-8: safetensors cannot open files in it."""
    try:
        str(folder.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(
            "a name in this path is not UTF-8, and model files could not be opened in it",
            where=ascii(str(folder)),
            next_command="another place with --out; the text may stay where it is",
        ) from None


def trainer(
    config: RunConfig,
    run: RunFolder,
    found: Material,
    objective: Objective,
    batches: Loader,
    choices: Choices,
    device: torch.device,
) -> Trainer:
    """The trainer with everything that it does not know of itself."""
    model = fresh_model(config).to(device)
    if choices.recompute:
        recompute(model)
    sampler = Sampler(run.path / "samples.md", found.tokenizer, config.sample, config.train.seed)
    return Trainer(
        run,
        model,
        objective,
        batches,
        train=config.train,
        optimizer=config.optimizer,
        schedule=config.schedule,
        choices=choices,
        identity=found.identity,
        save_model=saver(found.tokenizer),
        evaluate=validation(config, found.data, objective, choices),
        sample=sampler if writes(config) else None,
        tokens_per_byte=found.tokens_per_byte if objective.covers else None,
    )


def saver(tokenizer: Tokenizer) -> Callable[[nn.Module, Path], None]:
    """Writes a model folder that is complete, tokenizer included."""

    def save(model: nn.Module, folder: Path) -> None:
        trained = wanted(model)
        set_tokens(trained, bos=tokenizer.bos_id, eos=tokenizer.eos_id, pad=tokenizer.pad_id)
        save_model(trained, folder)
        tokenizer.save(folder)

    return save


def validation(
    config: RunConfig, data: PreparedData, objective: Objective, choices: Choices
) -> Validation | None:
    """The evaluation during training: windows spread over the validation text, always the same.

    They cost about a twentieth of the training between two evaluations. None, with a warning,
    where there is no text for it.
    """
    if data.validation.tokens < 2:
        warn("no text is kept for validation: the last model is the finished one")
        return None
    train = config.train
    return Validation(
        objective,
        data.validation,
        context=objective.window(config.model.context),
        batch=choices.micro_batch or train.batch,
        documents=train.documents,
        most=max(LEAST_WINDOWS, train.evaluate_every * train.batch // 8),
    )


def conclude(
    config: RunConfig,
    run: RunFolder,
    result: Result,
    found: Material,
    objective: Objective,
    device: torch.device,
) -> RunResult:
    """Measure the finished model over all of the validation text and write the report."""
    if not result.finished:
        return RunResult(run.path, result.step, False, result.exit_code)
    figures = final_figures(config, run, result, found, objective, device)
    write_report(run.path, facts(found, figures, device))
    return RunResult(run.path, result.step, True, result.exit_code, figures)


def final_figures(
    config: RunConfig,
    run: RunFolder,
    result: Result,
    found: Material,
    objective: Objective,
    device: torch.device,
) -> dict[str, Any]:
    """evaluation.json of the model in `model/`; read where it was measured before."""
    path, data = run.path / EVALUATION, found.data
    step = result.step if result.best_step is None else result.best_step
    if data.validation.tokens < 2:
        return {}
    if config.objective.kind == "replaced":  # measured with the generator, which is not exported
        seen = {name.removeprefix("validation_"): v for name, v in result.validation.items()}
        files.write_json(path, {"step": step, **seen})
        return {"step": step, **seen}
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if before.get("step") == step:
            return before
    model, _ = load_any(run.model_path, device, torch.float32 if device.type == "cpu" else None)
    documents, window = config.train.documents, objective.window(config.model.context)
    measured = likelihood(model, objective, data.validation, context=window, documents=documents)
    guessed = unigram(
        objective,
        data.train,
        data.validation,
        context=window,
        is_control=vocabulary(found.tokenizer).is_control,
        documents=documents,
    )
    figures = {"step": step, **measured.as_dict(), **guessed.as_dict()}
    files.write_json(path, figures)
    return figures


def facts(
    found: Material, figures: dict[str, Any], device: torch.device
) -> dict[str, dict[str, object]]:
    """Tables for the report that the run's folder does not hold."""
    data = found.data
    return {
        "data": {
            "text": summary(data),
            "tokenizer": repr(found.tokenizer),
            "digest": data.digest,
        },
        "finished model": {k: v for k, v in figures.items() if k != "seconds" and v is not None},
        "machine": {"measured on": str(runtime.describe(device))},
    }
