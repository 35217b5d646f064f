"""How a new model is filled: one table a policy, seeded parameter by parameter.

Each parameter has its own random stream, drawn from the seed and its name: adding a part
changes no other part, and a machine with more cores fills the same numbers.
"""

import hashlib
from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ownlm.nn.config import InitConfig


class Rule(NamedTuple):
    """Parameters whose name ends so get a normal distribution, or a constant where std is 0."""

    ending: str
    std: float
    """In units of InitConfig.std."""
    per_branch: bool = False
    """Divide by sqrt(residual branches): the stream's variance then does not grow with depth."""
    value: float = 0.0
    per_input: bool = False
    """Divide by the root of the number of inputs, a row's length."""
    queries: bool = False
    """Divide the queries' rows by the root of the head's width: the scores are not."""
    forget: bool = False
    """The second quarter of the rows is `value`, the rest zero: an LSTM's forget gates."""


# fmt: off
POLICIES: dict[str, tuple[Rule, ...]] = {
    # GPT-2 (Radford et al. 2019, section 2.3), also used by LLaMA-like models.
    "scaled": (
        Rule("norm_in.weight",     0, value=1.0), Rule("norm_out.weight", 0, value=1.0),
        Rule("norm.weight",        0, value=1.0),
        Rule(".o.weight",          1, per_branch=True),
        Rule(".down.weight",       1, per_branch=True),
        Rule("weight",             1),
        Rule("bias",               0),
    ),
    # BERT (Devlin et al. 2019): the same for every matrix.
    "plain": (
        Rule("norm_in.weight",     0, value=1.0), Rule("norm_out.weight", 0, value=1.0),
        Rule("norm.weight",        0, value=1.0),
        Rule("weight",             1),
        Rule("bias",               0),
    ),
    # T5 (Raffel et al. 2020), whose attention does not scale its scores.
    "unscaled": (
        Rule("norm_in.weight",     0, value=1.0), Rule("norm_out.weight", 0, value=1.0),
        Rule("norm.weight",        0, value=1.0),
        Rule("tokens.weight",      1),
        Rule("head.weight",        1),
        Rule("relative.weight",    0.05),
        Rule("qkv.weight",         1, per_input=True, queries=True),
        Rule("cross.body.q.weight", 1, per_input=True, queries=True),
        Rule("weight",             1, per_input=True),
        Rule("bias",               0),
    ),
    # An LSTM: cells as wide as PyTorch fills them, token vectors that they can feel, and gates
    # that forget nothing at first (Jozefowicz et al. 2015, PMLR 37).
    "recurrent": (
        Rule("tokens.weight",      5.7, per_input=True),
        Rule("head.weight",        0.05),
        Rule("weight_ih_l0",       0.58, per_input=True),
        Rule("weight_hh_l0",       0.58, per_input=True),
        Rule("bias_ih_l0",         0, value=1.0, forget=True),
        Rule("bias_hh_l0",         0),
        Rule("bias",               0),
    ),
}
# fmt: on


def initialise(
    model: nn.Module,
    config: InitConfig,
    branches: int,
    seed: int,
    only: Collection[str] | None = None,
) -> None:
    """Fill every parameter, or `only` those named, in place.

    `branches` counts the residual sums (2 a layer).
    """
    for name, parameter in model.named_parameters():
        if only is not None and name not in only:
            continue
        rule = next(r for r in POLICIES[config.policy] if name.endswith(r.ending))
        std = rule.std * config.std * (branches**-0.5 if rule.per_branch else 1.0)
        std *= parameter.shape[-1] ** -0.5 if rule.per_input else 1.0
        fill(parameter, name, seed, std, rule.value - _offset(model, name))
        if rule.queries:
            _shrink_queries(model, name, parameter)
        if rule.forget:
            _open_forget_gates(parameter)


def fill(parameter: Tensor, name: str, seed: int, std: float, value: float) -> None:
    """Normal numbers with deviation `std`, or the constant `value` when `std` is 0."""
    with torch.no_grad():
        if not std:
            parameter.fill_(value)
            return
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
        parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))


def _shrink_queries(model: nn.Module, name: str, parameter: Tensor) -> None:
    attention = model.get_submodule(name.rsplit(".", 2)[0])
    rows = getattr(attention, "widths", parameter.shape)[0]
    with torch.no_grad():
        parameter[:rows] *= float(attention.head_dim) ** -0.5  # type: ignore[arg-type]


def _open_forget_gates(parameter: Tensor) -> None:
    quarter = len(parameter) // 4
    with torch.no_grad():
        parameter[:quarter] = parameter[2 * quarter :] = 0.0


def _offset(model: nn.Module, name: str) -> float:
    owner = model.get_submodule(name.rpartition(".")[0])
    return float(getattr(owner, "offset", 0.0))
