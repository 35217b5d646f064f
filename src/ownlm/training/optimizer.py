"""AdamW over groups that one table shows, in one fused pass of torch a group.

The update itself is torch's kernel (`torch._fused_adamw_`): it divides the gradient by
`divisor`, decays the parameter by lr * weight_decay, and moves it, reading everything once.
Parameters and moments are float32; moments live beside the name of their parameter.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.training.config import OptimizerConfig


class Group(NamedTuple):
    """Parameters that are updated alike; the first group that wants a parameter has it."""

    name: str
    wants: Callable[[str, Tensor], bool]
    decays: bool


# fmt: off
GROUPS = (
    Group("matrices and embeddings", lambda name, p: p.dim() >= 2, decays=True),
    Group("norms and biases",        lambda name, p: True,         decays=False),
)
# fmt: on


class AdamW:
    """Moments of named float32 parameters, and the update of them all."""

    def __init__(self, parameters: Mapping[str, Tensor], config: OptimizerConfig) -> None:
        self.config = config
        self.parameters = dict(parameters)
        self.first = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.second = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.groups = assign(parameters)

    def update(
        self, gradients: Mapping[str, Tensor], step: int, lr: float, divisor: Tensor, skip: Tensor
    ) -> None:
        """Update number `step` (from 0) with `gradients` / `divisor`; gradients are overwritten.

        Where the scalar `skip` is 1, nothing changes: decided on the device, so that the host
        need not wait for the norm.
        """
        beta1, beta2 = self.config.betas
        count = torch.tensor(float(step + 1), device=divisor.device)
        for group, names in self.groups.items():
            torch._fused_adamw_(
                [self.parameters[n] for n in names],
                [gradients[n] for n in names],
                [self.first[n] for n in names],
                [self.second[n] for n in names],
                [],
                [count] * len(names),
                lr=lr,
                beta1=beta1,
                beta2=beta2,
                weight_decay=self.config.weight_decay if group.decays else 0.0,
                eps=self.config.eps,
                amsgrad=False,
                maximize=False,
                grad_scale=divisor,
                found_inf=skip,
            )

    def state(self) -> dict[str, Tensor]:
        """Every moment by name, for the checkpoint; the count of updates is the step itself."""
        first = {f"first.{name}": moment for name, moment in self.first.items()}
        return first | {f"second.{name}": moment for name, moment in self.second.items()}


def assign(parameters: Mapping[str, Tensor]) -> dict[Group, list[str]]:
    """Names by group, each name once; groups without parameters are left out."""
    members: dict[Group, list[str]] = {}
    for name, parameter in parameters.items():
        group = next(group for group in GROUPS if group.wants(name, parameter))
        members.setdefault(group, []).append(name)
    return members
