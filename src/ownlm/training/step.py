"""One update: micro-batches forward and backward, one norm, one division, one move.

The loss is a sum of nats over a count of targets. Gradients of micro-batches are added as they
are; the division by the count of the whole batch and the clipping are one divisor, which the
optimizer's kernel applies as it reads the gradient. So eight micro-batches of 4 and one of 32
give the same update, whatever targets each of them ignores.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ownlm.objectives.objective import Batch, Examples, Loss, Objective
from ownlm.training import fused
from ownlm.training.optimizer import Moment, Optimizer
from ownlm.training.precision import Weights


class Outcome(NamedTuple):
    """Figures of an update, on the device: to read them is to wait for it."""

    total: Tensor
    count: Tensor  # type: ignore[assignment]  # tuples have a method of that name
    norm: Tensor
    """Global norm of the mean gradient, before clipping."""
    bad_step: Tensor
    """First update whose loss or gradient was not finite; -1: none so far."""
    metrics: dict[str, Tensor]


class Figures(NamedTuple):
    """An outcome on the host."""

    loss: float
    """Nats a target."""
    norm: float
    bad_step: int
    metrics: dict[str, float]


class Stepper:
    """Applies updates to a model; everything random in update n follows from (seed, n)."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        weights: Weights,
        optimizer: Optimizer,
        *,
        seed: int,
        clip: float = 0.0,
        compiled: bool = False,
    ) -> None:
        self.model, self.objective = model, objective
        self.weights, self.optimizer = weights, optimizer
        self.seed, self.clip = seed, clip
        self.device = next(model.parameters()).device
        self.forward: Callable[[nn.Module, Objective, Batch], Loss] = (
            torch.compile(loss_of) if compiled else loss_of
        )
        self.bad_step = torch.tensor(-1, device=self.device)

    def step(self, micros: Iterable[Examples], step: int, lr: float) -> Outcome:
        """Update number `step` (from 0) on the micro-batches of its batch.

        From the first loss or gradient on that is not finite, parameters and moments stay as
        they are; the host finds out when it reads the outcome.
        """
        total, count, metrics = self.backward(micros, step)
        gradients = self.weights.gradients()
        count = count.clamp(min=1).float()
        norm = self.norm(gradients) / count
        divisor = count * (norm / self.clip).clamp(min=1.0) if self.clip else count
        bad_now = ~torch.isfinite(total + norm) & (self.bad_step < 0)
        self.bad_step = torch.where(bad_now, step, self.bad_step)
        now = Moment(step, lr, divisor, skip=(self.bad_step >= 0).float())
        self.weights.publish(self.optimizer.update(gradients, now, self.weights.rounded()))
        return Outcome(total, count, norm, self.bad_step, metrics)

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Of all gradients together."""
        if self.weights.fused:
            return fused.total_norm(gradients.values())
        return torch.nn.utils.get_total_norm(list(gradients.values()))

    def backward(self, micros: Iterable[Examples], step: int) -> Loss:
        """The summed loss of the micro-batches, their gradients collected."""
        losses = [
            self.micro_batch(examples, step, micro, first=micro == 0)
            for micro, examples in enumerate(micros)
        ]
        return functools.reduce(_added, losses)

    def micro_batch(self, examples: Examples, step: int, micro: int, *, first: bool) -> Loss:
        """Forward and backward; its gradients are added to the sums, or begin new ones."""
        seed = micro_seed(self.seed, step, micro)
        seed_device(self.device, seed)
        corruption = np.random.default_rng((self.seed, step))  # rows differ, micro-batches do not
        batch = self.objective.collate(examples, corruption)
        batch = {n: t.to(self.device, non_blocking=True) for n, t in batch.items()}
        loss = self.forward(self.model, self.objective, batch)
        loss.total.backward()
        self.weights.collect(first)
        return _detached(loss)


def _detached(loss: Loss) -> Loss:
    metrics = {name: pair.detach() for name, pair in loss.metrics.items()}
    return Loss(loss.total.detach(), loss.count.detach(), metrics)


def _added(one: Loss, two: Loss) -> Loss:
    metrics = {name: pair + two.metrics[name] for name, pair in one.metrics.items()}
    return Loss(one.total + two.total, one.count + two.count, metrics)


def loss_of(model: nn.Module, objective: Objective, batch: Batch) -> Loss:
    """The whole forward pass: what `torch.compile` sees."""
    return objective.loss(model, batch)


def micro_seed(seed: int, step: int, micro: int) -> int:
    """The seed of dropout and corruption of one micro-batch: no generator state to save."""
    return int(np.random.SeedSequence((seed, step, micro)).generate_state(1, np.uint64)[0] >> 1)


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the generators in use: torch.manual_seed walks through all there could be, 1 ms."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def read(outcome: Outcome) -> Figures:
    """Bring an outcome to the host, in one transfer."""
    parts = [outcome.total, outcome.count, outcome.norm, outcome.bad_step]
    parts += [number for pair in outcome.metrics.values() for number in pair]
    total, count, norm, bad_step, *rest = torch.stack([p.float() for p in parts]).tolist()
    pairs = zip(rest[0::2], rest[1::2])
    metrics = {name: part / max(of, 1.0) for name, (part, of) in zip(outcome.metrics, pairs)}
    return Figures(total / count, norm, int(bad_step), metrics)
