"""Whether a configuration learns: a sound start, a batch learned by heart, an exact resume."""

import contextlib
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ownlm import files
from ownlm.data.encoded import EncodedExamples
from ownlm.data.loader import Examples
from ownlm.evaluation.finding import Finding, at_most
from ownlm.log import read_rows
from ownlm.objectives.objective import Objective
from ownlm.training.config import Choices, OptimizerConfig, ScheduleConfig, TrainConfig
from ownlm.training.feed import Loader
from ownlm.training.optimizer import make_optimizer
from ownlm.training.precision import Weights
from ownlm.training.run import Resume, open_run
from ownlm.training.step import Stepper, read
from ownlm.training.trainer import Trainer

OVERFIT_STEPS, OVERFIT_SHARE = 30, 0.8
"""Updates on one batch, and the share of its first loss that may be left then."""

START_SHARE = 0.1
"""How far the first loss may be from ln V, as a share of it. Fresh logits of deviation s add
s^2 / 2 to the loss: 0.2 nats for GPT-2 (width 768, tied weights of deviation 0.02)."""


def check_start(model: nn.Module, objective: Objective, rows: Examples, vocab: int) -> Finding:
    """The loss of a fresh model against ln V, the loss of guessing all tokens alike."""
    device, expected = next(model.parameters()).device, math.log(vocab)
    batch = objective.collate(rows, np.random.default_rng(0))
    with torch.no_grad():
        loss = objective.loss(model.eval(), {n: t.to(device) for n, t in batch.items()})
    found = float(loss.total) / max(1, int(loss.count))
    return at_most(
        "loss at the start is near ln V",
        abs(found - expected),
        START_SHARE * expected,
        "nats per token",
        f"loss {found:.4f}, ln {vocab:,} = {expected:.4f}",
    )


def check_overfitting(
    model: nn.Module,
    objective: Objective,
    rows: Examples | EncodedExamples,
    optimizer: OptimizerConfig,
) -> Finding:
    """Some updates on the same batch, by the recipe's optimizer: the loss must fall."""
    weights = Weights(model.eval(), "fp32")
    stepper = Stepper(
        model, objective, weights, make_optimizer(weights.master, optimizer), seed=0, clip=1.0
    )
    losses = [read(stepper.step([rows], step, optimizer.lr)).loss for step in range(OVERFIT_STEPS)]
    return at_most(
        "a batch can be learned by heart",
        losses[-1] / losses[0] if losses[0] else math.inf,
        OVERFIT_SHARE,
        "last loss / first loss",
        f"{losses[0]:.3f} to {losses[-1]:.3f} in {OVERFIT_STEPS} updates at {optimizer.lr:g}",
    )


class Rehearsal(NamedTuple):
    """What a short training needs; each call of `make_model` gives the same fresh model."""

    make_model: Callable[[], nn.Module]
    save_model: Callable[[nn.Module, Path], None]
    objective: Objective
    loader: Loader
    train: TrainConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    folder: Path


def rehearsed(train: TrainConfig) -> TrainConfig:
    """Four updates of two micro-batches, saved at half: all that resume can go wrong in."""
    few = {"steps": 4, "save_every": 2, "evaluate_every": 0, "sample_every": 0, "log_every": 1}
    small = {"batch": 4, "micro_batch": 2, "precision": "fp32", "compile": "off", "keep": 2}
    return train.with_values(few | small)


def check_resume(rehearsal: Rehearsal) -> Finding:
    """A run against itself, resumed from its half: checkpoint files and losses, bit for bit."""
    last = rehearsal.folder / "checkpoints" / f"step-{rehearsal.train.steps:08d}"
    with contextlib.redirect_stderr(io.StringIO()):  # progress of runs nobody asked to see
        _train(rehearsal, "no")
        whole = _state(last), _losses(rehearsal.folder)
        files.remove_folder(last)
        _train(rehearsal, "yes")
        resumed = _state(last), _losses(rehearsal.folder)
    unequal = [
        name
        for one, other in zip(whole, resumed, strict=True)
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
    detail = f"{len(whole[0])} files and {len(whole[1])} losses compared"
    detail += f", differing: {', '.join(unequal)}" if unequal else ""
    return at_most("resume is exact, bit for bit", len(unequal), 0, "differing", detail)


def _train(rehearsal: Rehearsal, resume: Resume) -> None:
    r = rehearsal
    with open_run(r.folder, resume=resume) as run:
        run.agree({"train": r.train.model_dump(mode="json")})
        Trainer(
            run,
            r.make_model(),
            r.objective,
            r.loader,
            train=r.train,
            optimizer=r.optimizer,
            schedule=r.schedule,
            choices=run.choices or Choices(micro_batch=r.train.micro_batch),
            identity={},
            save_model=r.save_model,
        ).fit()


def _state(checkpoint: Path) -> Mapping[str, str]:
    """SHA-256 of every file of a checkpoint."""
    return {name: entry["sha256"] for name, entry in files.folder_manifest(checkpoint).items()}


def _losses(run: Path) -> Mapping[str, str]:
    rows = [row for row in read_rows(run / "log.jsonl") if "loss_hex" in row]
    return {f"loss of step {row['step']}": row["loss_hex"] for row in rows}
