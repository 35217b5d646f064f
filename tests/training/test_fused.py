"""The kernels of an update against torch's: norm, AdamW, rounding, and whole trainings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import TinyLoader, tiny_model

from ownlm.objectives.causal import Causal
from ownlm.training import fused
from ownlm.training.config import OptimizerConfig
from ownlm.training.optimizer import AdamW, Moment, make_optimizer
from ownlm.training.precision import Weights
from ownlm.training.step import Stepper, read

CPU = torch.device("cpu")
CONFIG = OptimizerConfig(lr=1e-2, betas=(0.8, 0.95), weight_decay=0.3)
SIZES = {"large": (300, 401), "small": (7, 5), "vector": (33,), "one": (1,)}

pytestmark = pytest.mark.skipif(not fused.available(CPU), reason="no C++ compiler")


def tensors(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in SIZES.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_is_that_of_all_numbers(dtype: torch.dtype) -> None:
    gradients = tensors(1, dtype)
    exact = torch.cat([g.double().flatten() for g in gradients.values()]).norm()
    assert fused.total_norm(gradients.values()).item() == pytest.approx(exact.item(), rel=1e-6)
    gradients["small"][3, 2] = float("nan")
    assert fused.total_norm(gradients.values()).isnan()
    gradients["small"][3, 2] = float("inf")
    assert fused.total_norm(gradients.values()).isinf()


def test_the_norm_does_not_depend_on_the_number_of_threads() -> None:
    usual, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(fused.total_norm(tensors(1).values()).item())
    finally:
        torch.set_num_threads(usual)
    assert len(found) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_updates_are_those_of_torch(dtype: torch.dtype, kind: str) -> None:
    config = CONFIG.model_copy(update={"kind": kind})
    ours, theirs = tensors(0), tensors(0)
    live = {name: p.bfloat16() for name, p in ours.items()}
    one, two = (make_optimizer(named(p), config) for p in (ours, theirs))
    for step in range(4):
        now = Moment(step, 1e-2, torch.tensor(5.0), torch.tensor(float(step == 2)))
        given = named(tensors(step + 1, dtype))
        done = one.update(dict(given), now, named(live))
        plain = {n: g.float() for n, g in named(tensors(step + 1, dtype)).items()}
        assert two.update(plain, now) == ()
        assert set(done) == {n for n in given if kind == "adamw" or ".blocks." not in n}
    for name, parameter in named(theirs).items():
        torch.testing.assert_close(named(ours)[name], parameter, rtol=1e-6, atol=1e-6)
        if name in done:
            assert torch.equal(named(live)[name], named(ours)[name].bfloat16())
    states = one.state(), two.state()
    for name, moment in states[1].items():
        torch.testing.assert_close(states[0][name], moment, rtol=1e-5, atol=1e-6)


def named(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One of the matrices is a block's, which Muon moves."""
    return {"stack.blocks.0.w" if name == "small" else name: t for name, t in given.items()}


def test_another_step_would_be_noticed() -> None:
    """The control."""
    ours, theirs = tensors(0), tensors(0)
    live = {name: p.bfloat16() for name, p in ours.items()}
    now = Moment(0, 1e-2, torch.tensor(5.0), torch.tensor(0.0))
    AdamW(ours, CONFIG).update(tensors(1), now._replace(step=1), live)
    AdamW(theirs, CONFIG).update(tensors(1), now)
    assert not torch.allclose(ours["large"], theirs["large"], rtol=1e-3, atol=1e-3)


def train(of: int, plain: Callable[[Weights], Any] = lambda weights: None) -> tuple[Weights, list]:
    model = tiny_model(0.0)
    weights = Weights(model, "bf16")
    plain(weights)
    optimizer = AdamW(weights.master, OptimizerConfig(lr=1e-2))
    made, loader = (
        Stepper(model.train(), Causal(), weights, optimizer, seed=3, clip=0.5),
        TinyLoader(8),
    )
    losses = [
        read(made.step((loader.batch(s, m, of) for m in range(of)), s, 1e-2)) for s in range(8)
    ]
    return weights, losses


@pytest.mark.parametrize("of", [1, 4])
def test_a_training_is_the_same_with_the_kernels_and_without(of: int) -> None:
    assert Weights(tiny_model(), "bf16").fused and not Weights(tiny_model(), "fp32").fused
    ours, losses = train(of)
    theirs, expected = train(of, lambda weights: setattr(weights, "fused", False))
    assert [f.loss for f in losses] == pytest.approx([f.loss for f in expected], rel=1e-3)
    assert [f.norm for f in losses] == pytest.approx([f.norm for f in expected], rel=2e-2)
    for weights in (ours, theirs):
        for name, parameter in weights.live.items():
            assert torch.equal(parameter.data, weights.master[name].bfloat16()), name
            assert parameter.grad is None
    again, _ = train(of)
    assert all(torch.equal(again.master[name], master) for name, master in ours.master.items())
