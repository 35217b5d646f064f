"""What does not train costs nothing and stays, to the bit: no gradient, no master, no moments."""

from typing import Any

import pytest
import torch
from tiny import TinyLoader, tiny_model
from torch import Tensor

from ownlm.models.adapt import adapt, trainable
from ownlm.models.adapt_config import AdaptConfig
from ownlm.objectives.causal import Causal
from ownlm.training.config import OptimizerConfig
from ownlm.training.optimizer import AdamW
from ownlm.training.precision import Weights
from ownlm.training.step import Stepper, read

KINDS = ["last", "lora", "dora", "qlora"]
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "bf16"])


def stepper(kind: str, precision: Any) -> Stepper:
    model = tiny_model()
    adapt(model, AdaptConfig(kind=kind, layers=1, rank=4), seed=1)
    weights = Weights(model, precision)
    optimizer = AdamW(weights.master, OptimizerConfig(lr=1e-2))
    return Stepper(model.train(), Causal(), weights, optimizer, seed=3, clip=1.0)


def held(model: torch.nn.Module) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in [*model.named_parameters(), *model.named_buffers()]}


@PRECISIONS
@pytest.mark.parametrize("kind", KINDS)
def test_frozen_numbers_stay_and_all_others_move(kind: str, precision: str) -> None:
    made = stepper(kind, precision)
    before, moving = held(made.model), set(trainable(made.model))
    losses = [read(made.step([TinyLoader(8).batch(0)], step, 1e-2)).loss for step in range(8)]
    after = held(made.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == moving
    assert losses[-1] < losses[0] - 0.01


@PRECISIONS
@pytest.mark.parametrize("kind", KINDS)
def test_only_what_trains_has_masters_moments_and_gradients(kind: str, precision: str) -> None:
    made = stepper(kind, precision)
    moving = set(trainable(made.model))
    assert made.weights.master.keys() == moving
    assert {name.partition(".")[2] for name in made.optimizer.state()} == moving
    made.backward([TinyLoader(8).batch(0)], 0)
    assert made.weights.gradients().keys() == moving
    kinds = {p.dtype for p in made.model.parameters()}
    assert kinds == {torch.bfloat16 if precision == "bf16" else torch.float32}
    if precision == "fp32":
        with_gradient = {n for n, p in made.model.named_parameters() if p.grad is not None}
        assert with_gradient == moving


def test_nothing_below_what_trains_goes_backward() -> None:
    made = stepper("last", "fp32")
    seen: list[str] = []
    for name, part in made.model.named_modules():
        part.register_forward_hook(
            lambda _, __, out, name=name: (
                seen.append(name) if isinstance(out, Tensor) and out.requires_grad else None
            )
        )
    made.backward([TinyLoader(8).batch(0)], 0)
    blocks = {name.split(".")[2] for name in seen if name.startswith("stack.blocks.")}
    assert blocks == {"1"} and not any(name.startswith("embed") for name in seen)


def test_a_frozen_output_matrix_gets_no_gradient_in_the_chunked_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A small vocabulary takes the plain way; a large one makes gradients with the loss."""
    from ownlm.nn import loss

    plain = stepper("lora", "fp32")
    plain.backward([TinyLoader(8).batch(0)], 0)
    monkeypatch.setattr(loss, "LARGE", 1)
    made: list[loss._Gradients] = []
    add = loss._Gradients.add

    def noted(self: loss._Gradients, *given: Any) -> None:
        made.append(self)
        add(self, *given)

    monkeypatch.setattr(loss._Gradients, "add", noted)
    chunked = stepper("lora", "fp32")
    chunked.backward([TinyLoader(8).batch(0)], 0)
    assert made and made[0].weight is None and made[0].hidden is not None
    mine, theirs = chunked.weights.gradients(), plain.weights.gradients()
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-4) for name in theirs)
