"""The rules of the update: AdamW, Muon for matrices, Adafactor.

AdamW goes over groups that one table shows. The update itself is torch's kernel
(`torch._fused_adamw_`), in one pass a group, or ours (training/fused.py): it divides the gradient
by `divisor`, decays the parameter by lr * weight_decay, and moves it, reading everything once.
Parameters and moments are float32; moments live beside the name of their parameter.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.training import fused
from ownlm.training.config import OptimizerConfig

NONE: Mapping[str, Tensor] = {}


class Group(NamedTuple):
    """Parameters that are updated alike; the first group that wants a parameter has it."""

    name: str
    wants: Callable[[str, Tensor], bool]
    decays: bool


# fmt: off
GROUPS = (
    Group("matrices and embeddings", lambda name, p: is_matrix(name, p), decays=True),
    Group("norms and biases",        lambda name, p: True,               decays=False),
)
# fmt: on


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter multiplies or is looked up; biases a head, as Transformer-XL adds to
    its queries, have two axes too."""
    return parameter.dim() >= 2 and not name.endswith("bias")


class Moment(NamedTuple):
    """What an update needs besides gradients."""

    step: int
    """Number of the update, from 0."""
    lr: float
    divisor: Tensor
    """Of the gradients, a scalar."""
    skip: Tensor
    """Where this scalar is 1, nothing changes."""


class Optimizer(Protocol):
    """Moves named float32 parameters in place."""

    def update(
        self, gradients: Mapping[str, Tensor], now: Moment, live: Mapping[str, Tensor] = NONE
    ) -> Collection[str]:
        """One update; gradients are overwritten. `live` are bf16 copies of the parameters
        that may be written on the way; returns the names of those that were.
        """

    def state(self) -> dict[str, Tensor]:
        """Every moment by name, for the checkpoint; the count of updates is the step itself."""


def make_optimizer(parameters: Mapping[str, Tensor], config: OptimizerConfig) -> Optimizer:
    """The optimizer that the configuration names; ConfigError where it has nothing to move."""
    if config.kind == "adafactor":
        return Adafactor(parameters, config)
    if config.kind == "muon":
        return Muon(parameters, config)
    return AdamW(parameters, config)


class AdamW:
    """Moments of named float32 parameters, and the update of them all."""

    def __init__(self, parameters: Mapping[str, Tensor], config: OptimizerConfig) -> None:
        self.config = config
        self.parameters = dict(parameters)
        self.first = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.second = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.groups = assign(parameters)

    def update(
        self, gradients: Mapping[str, Tensor], now: Moment, live: Mapping[str, Tensor] = NONE
    ) -> Collection[str]:
        """One update; what `now.skip` says is decided on the device, without waiting for the norm.

        Where there are `live` copies, on a CPU then, one kernel of ours writes both.
        """
        if live:
            if not bool(now.skip):
                self._fused(gradients, now, live)
            return self.parameters.keys()
        beta1, beta2 = self.config.betas
        count = torch.tensor(float(now.step + 1), device=now.divisor.device)
        for group, names in self.groups.items():
            torch._fused_adamw_(
                [self.parameters[n] for n in names],
                [gradients[n] for n in names],
                [self.first[n] for n in names],
                [self.second[n] for n in names],
                [],
                [count] * len(names),
                lr=now.lr,
                beta1=beta1,
                beta2=beta2,
                weight_decay=self.config.weight_decay if group.decays else 0.0,
                eps=self.config.eps,
                amsgrad=False,
                maximize=False,
                grad_scale=now.divisor,
                found_inf=now.skip,
            )
        return ()

    def _fused(
        self, gradients: Mapping[str, Tensor], now: Moment, live: Mapping[str, Tensor]
    ) -> None:
        divisor = float(now.divisor)
        for group, names in self.groups.items():
            rule = fused.rule(self.config, now.step, now.lr, divisor, decays=group.decays)
            for n in names:
                moments = self.first[n], self.second[n]
                fused.adamw(rule, gradients[n], self.parameters[n], *moments, live[n])

    def state(self) -> dict[str, Tensor]:
        """Both moments of every parameter."""
        first = {f"first.{name}": moment for name, moment in self.first.items()}
        return first | {f"second.{name}": moment for name, moment in self.second.items()}


class Muon:
    """Matrices of blocks by torch's Muon, everything else by AdamW.

    (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.) An update has the root mean
    square that AdamW's usually has (Liu et al. 2025, arXiv:2502.16982), so one rate serves both.
    """

    def __init__(self, parameters: Mapping[str, Tensor], config: OptimizerConfig) -> None:
        matrices = {
            name: p
            for name, p in parameters.items()
            if p.dim() == 2 and ".blocks." in name and is_matrix(name, p)
        }
        if not matrices:
            raise ConfigError(
                "Muon moves the matrices of blocks, and this model has no blocks",
                where="optimizer.kind",
                next_command="--optimizer.kind adamw",
            )
        self.parameters = matrices
        self.rest = AdamW({n: p for n, p in parameters.items() if n not in matrices}, config)
        self.torch = torch.optim.Muon(
            list(matrices.values()),
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        for matrix in matrices.values():
            self.torch.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)

    def update(
        self, gradients: Mapping[str, Tensor], now: Moment, live: Mapping[str, Tensor] = NONE
    ) -> Collection[str]:
        """One update; the host waits to hear whether to skip."""
        done = self.rest.update(gradients, now, live)
        if not bool(now.skip):
            _step(self.torch, self.parameters, gradients, now)
        return done

    def state(self) -> dict[str, Tensor]:
        """The momentum of the matrices and both moments of the rest."""
        found = {n: self.torch.state[p]["momentum_buffer"] for n, p in self.parameters.items()}
        return self.rest.state() | {f"momentum.{name}": buffer for name, buffer in found.items()}


class Adafactor:
    """torch's Adafactor: of a matrix it remembers one number a row and one a column."""

    def __init__(self, parameters: Mapping[str, Tensor], config: OptimizerConfig) -> None:
        self.parameters = dict(parameters)
        self.torch = torch.optim.Adafactor(
            list(self.parameters.values()), weight_decay=config.weight_decay
        )
        for parameter in self.parameters.values():
            self.torch.state[parameter].update(_factors(parameter))

    def update(
        self, gradients: Mapping[str, Tensor], now: Moment, live: Mapping[str, Tensor] = NONE
    ) -> Collection[str]:
        """One update; the host waits to hear whether to skip."""
        if bool(now.skip):
            return ()
        for parameter in self.parameters.values():
            self.torch.state[parameter]["step"] = torch.tensor(float(now.step))
        _step(self.torch, self.parameters, gradients, now)
        return ()

    def state(self) -> dict[str, Tensor]:
        """The mean squares, by parameter and kind."""
        return {
            f"{kind}.{name}": value
            for name, parameter in self.parameters.items()
            for kind, value in self.torch.state[parameter].items()
            if kind != "step"
        }


def _factors(parameter: Tensor) -> dict[str, Tensor]:
    """The empty state of Adafactor, laid out as torch does at its first step."""
    if parameter.dim() < 2:
        return {"variance": torch.zeros_like(parameter)}
    rows, columns = list(parameter.shape), list(parameter.shape)
    rows[-1], columns[-2] = 1, 1
    return {"row_var": parameter.new_zeros(rows), "col_var": parameter.new_zeros(columns)}


def _step(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    now: Moment,
) -> None:
    """A step of one of torch's optimizers with gradients that come from elsewhere."""
    for name, parameter in parameters.items():
        parameter.grad = gradients[name].float().div_(now.divisor)
    for group in optimizer.param_groups:
        group["lr"] = now.lr
    optimizer.step()
    for parameter in parameters.values():
        parameter.grad = None


def assign(parameters: Mapping[str, Tensor]) -> dict[Group, list[str]]:
    """Names by group, each name once; groups without parameters are left out."""
    members: dict[Group, list[str]] = {}
    for name, parameter in parameters.items():
        group = next(group for group in GROUPS if group.wants(name, parameter))
        members.setdefault(group, []).append(name)
    return members
