"""The training loop: evaluate, sample, save, step, log; and what a crash or a signal may not break.

    with open_run(folder, resume="auto") as run:
        run.agree(config.model_dump(mode="json"))
        result = Trainer(run, model, Causal(), loader, train=..., save_model=..., ...).fit()

After a crash the run goes on and ends bit for bit as it would have: losses, rows, parameters.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ownlm import files
from ownlm.errors import CheckpointError
from ownlm.log import Row, say, warn
from ownlm.objectives.objective import Objective
from ownlm.training import checkpoint, nonfinite, probe
from ownlm.training.config import Choices, OptimizerConfig, ScheduleConfig, TrainConfig
from ownlm.training.feed import Feed, Loader
from ownlm.training.journal import Journal, Rank, by_loss
from ownlm.training.monitor import SpikeWatch
from ownlm.training.optimizer import make_optimizer
from ownlm.training.pace import Pace
from ownlm.training.precision import Weights
from ownlm.training.run import RunFolder
from ownlm.training.saver import Saver, Snapshot
from ownlm.training.schedule import check_schedule, rate
from ownlm.training.signals import Stopped, StopSignals
from ownlm.training.step import Outcome, Stepper, read


class Result(NamedTuple):
    """How a call of `fit` ended."""

    step: int
    finished: bool
    exit_code: int
    """0; 130 after Ctrl-C, 143 after SIGTERM: all is saved, and --resume goes on."""
    best_step: int | None
    """The checkpoint whose evaluation ranks highest; None where nothing was evaluated."""
    validation: dict[str, float]
    """The newest evaluation."""


class Trainer:
    """Trains `model` in place and leaves everything in the folder of the run."""

    def __init__(
        self,
        run: RunFolder,
        model: nn.Module,
        objective: Objective,
        loader: Loader,
        *,
        train: TrainConfig,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        choices: Choices,
        identity: Mapping[str, str],
        save_model: Callable[[nn.Module, Path], None],
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
        rank: Rank = by_loss,
        sample: Callable[[nn.Module, int], None] | None = None,
        tokens_per_byte: float | None = None,
    ) -> None:
        """`model` is on its device, in float32, and filled as a new run begins.

        `identity` are digests by name ("data", "tokenizer") that the run is bound to.
        `save_model` writes a model folder's files. `evaluate` returns figures, "validation_loss"
        among them; those that `rank` highest decide which checkpoint becomes the model. `sample`
        writes text of the model at a step, again for one that a crash cut short.
        `tokens_per_byte` makes bits per byte of the loss. Raises ConfigError, DataError.
        """
        check_schedule(schedule, train.steps)
        run.agree_on(dict(identity))
        self.run, self.model, self.config = run, model, train
        self.peak, self.schedule = optimizer.lr, schedule
        self.choices, self.identity = choices, dict(identity)
        self.evaluate, self.rank, self.sample = evaluate, rank, sample
        self.tokens_per_byte = tokens_per_byte
        self.feed = Feed(loader, train.batch, choices.micro_batch)
        self.weights = Weights(model, choices.precision)
        self.optimizer = make_optimizer(self.weights.master, optimizer)
        self.stepper = Stepper(
            model,
            objective,
            self.weights,
            self.optimizer,
            seed=train.seed,
            clip=train.grad_clip,
            compiled=choices.compile,
        )
        self.saver = Saver(save_model)
        self.spikes, self.pace = SpikeWatch(), Pace()
        self.reads_are_free = self.stepper.device.type == "cpu"
        self.saved_step = -1

    def fit(self) -> Result:
        """Train to the last step, or to a signal; a finished run is left as it is.

        Raises NonFiniteError before the update that would have spoilt the parameters, and
        DiskError with the newest checkpoint intact.
        """
        step, steps = self.restore(), self.config.steps
        journal = self.journal = Journal(self.run, step, steps, self.rank)
        with StopSignals() as stop, self.saver, journal:
            self.model.train()
            self.settle()
            while True:
                if self.look_due(step) and not stop.received:
                    self.save(step)  # what follows may fail or be broken off, and costs nothing
                    self.saver.finish()
                    with contextlib.suppress(Stopped), stop.interruptible():
                        self.look(step)
                if step >= steps or stop.received:
                    break
                with self.pace:
                    lr = self.learning_rate(step)
                    outcome = self.stepper.step(self.feed.take(step), step, lr)
                step += 1
                self.record(step, outcome)
                if every(self.config.save_every, step):
                    self.save(step)
            self.save(step)
            self.saver.finish()
            return self.end(step, stop)

    def restore(self) -> int:
        """Put all back to the checkpoint the run goes on from; how many updates it has done."""
        self.require_space()
        start = self.run.start
        if start is None:
            return 0
        checkpoint.restore(self.run.checkpoint(start.step), self.tensors())
        self.weights.publish()
        self.feed.tokens, self.feed.digest = start.tokens, start.samples_digest
        self.pace.begin(start.tokens)
        self.saved_step = start.step
        if start.step < self.config.steps:
            say(f"{self.run.path}: going on from step {start.step}")
        else:
            say(
                f"{self.run.path}: finished before, at step {start.step}; "
                "a larger --train.steps and --allow-change train on"
            )
        return start.step

    def settle(self) -> None:
        """Let a stopwatch decide what is left open; a run that goes on keeps what it had."""
        if self.run.start is not None:
            return
        self.choices, words = probe.settle(self.stepper, self.feed, self.config, self.choices)
        for line in words:
            say(line)

    def learning_rate(self, step: int) -> float:
        """The rate of update number `step` (from 0)."""
        return self.peak * rate(step, self.schedule, self.config.steps)

    def record(self, step: int, outcome: Outcome) -> None:
        """Say how the update that led to `step` went.

        To read it is to wait for the device, so off the CPU only logged steps are read; an
        update that is not finite holds all later ones back until then.
        """
        logged = every(self.config.log_every, step) or step == self.config.steps
        if not logged and not self.reads_are_free:
            self.journal.progress.advance(step)
            return
        with self.pace:
            figures = read(outcome)
        self.require_finite(figures.bad_step)
        if self.spikes.jumped(figures.loss):
            ids = self.feed.ids(step - 1)
            warn(f"step {step}: the loss jumped to {figures.loss:.4g}; its samples: {ids[:32]}")
        if logged:
            self.journal.write(self.row(step, figures.loss, figures.norm) | figures.metrics)
        self.journal.progress.advance(step, figures.loss, self.feed.tokens)

    def row(self, step: int, loss: float, norm: float) -> Row:
        """One row of log.jsonl."""
        bits = loss * self.tokens_per_byte / math.log(2) if self.tokens_per_byte else None
        return {
            "step": step,
            "loss": loss,
            "loss_hex": loss.hex(),
            "bpb": bits,
            "lr": self.learning_rate(step - 1),
            "grad_norm": norm,
            "tokens": self.feed.tokens,
            "tokens_per_second": self.pace.lap(self.feed.tokens),
            "samples_digest": self.feed.digest,
        }

    def require_finite(self, bad_step: int) -> None:
        """NonFiniteError when an update had to be left out."""
        if bad_step >= 0:
            raise nonfinite.refusal(self.run, self.stepper, self.feed, bad_step)

    def look_due(self, step: int) -> bool:
        """Whether the model is to be looked at before update number `step`."""
        return self.sample_due(step) or self.evaluation_due(step)

    def evaluation_due(self, step: int) -> bool:
        """Also before the first update: what cannot be evaluated should be known at once."""
        wanted = every(self.config.evaluate_every, step) or step == self.config.steps
        return self.evaluate is not None and wanted and step not in self.journal.evaluations

    def sample_due(self, step: int) -> bool:
        """Every so many updates, and at the end."""
        wanted = every(self.config.sample_every, step) or step == self.config.steps
        asked = self.sample is not None and self.config.sample_every > 0 and step > 0
        return asked and wanted and step not in self.journal.sampled

    def look(self, step: int) -> None:
        """Samples and evaluation of the model as it is now."""
        self.model.eval()
        with torch.no_grad():
            if self.sample is not None and self.sample_due(step):
                self.sample(self.model, step)
                self.journal.sample_written(step)
            if self.evaluate is not None and self.evaluation_due(step):
                self.journal.evaluated(step, self.evaluate(self.model))
        self.model.train()

    def save(self, step: int) -> None:
        """Publish the checkpoint of `step` once, and delete those no longer wanted."""
        if step == self.saved_step:
            return
        self.require_finite(int(self.stepper.bad_step))
        self.journal.log.sync()  # a checkpoint vouches for the rows up to it
        state = checkpoint.State(
            step=step,
            sequences=step * self.config.batch,
            tokens=self.feed.tokens,
            samples_digest=self.feed.digest,
            seed=self.config.seed,
            choices=self.choices,
            identity=self.identity,
            run=self.run.values,
        )
        keep, best = self.config.keep, self.journal.best_step
        self.saver.save(
            Snapshot(self.model, self.tensors()),
            self.run.checkpoint(step),
            state,
            then=lambda: checkpoint.retire(self.run.checkpoints, keep, best),
        )
        self.saved_step = step

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint holds besides the model folder."""
        masters = {f"master.{name}": tensor for name, tensor in self.weights.master.items()}
        return masters | self.optimizer.state()

    def require_space(self) -> None:
        """DiskError unless all checkpoints that will stand side by side have room."""
        tensors = sum(tensor.nbytes for tensor in self.tensors().values())
        model = checkpoint.model_bytes(self.model)
        periods = [p for p in (self.config.save_every, self.config.evaluate_every) if p]
        saves = 2 + self.config.steps // min(periods, default=self.config.steps)
        existing = len(checkpoint.checkpoints(self.run.checkpoints))
        # Besides those that are kept: the best one, and the one being written.
        copies = max(1, min(self.config.keep + 2, saves) - existing)
        files.require_space(self.run.path, copies * (tensors + model) + model)

    def end(self, step: int, stop: StopSignals) -> Result:
        """Leave the finished model in `model/`, or say how to go on."""
        last, best = step >= self.config.steps, self.best_whole()
        if last and not stop.received:  # else the last evaluation may be missing
            source = self.run.checkpoint(step if best is None else best)
            checkpoint.export_model(source, self.run.model_path)
            checkpoint.retire(self.run.checkpoints, self.config.keep, self.journal.best_step)
        finished = last and not stop.received
        return Result(step, finished, stop.exit_code, best, self.journal.validation)

    def best_whole(self) -> int | None:
        """The step of the best checkpoint; None, with a warning, where it is damaged or gone."""
        best = self.journal.best_step
        if best is None:
            return None
        try:
            checkpoint.require_whole(self.run.checkpoint(best))
        except CheckpointError as error:
            warn(f"{error.what}\n  it was the best; the last one becomes the finished model")
            return None
        return best


def every(period: int, step: int) -> bool:
    """Whether something done every `period` steps is due; a period of 0 is never."""
    return period > 0 and step % period == 0
