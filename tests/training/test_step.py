"""One update: micro-batches, precision, clipping, and what is left alone when a number is none."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TinyLoader, tiny_model

from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE, Batch, Loss
from ownlm.training.config import OptimizerConfig
from ownlm.training.optimizer import AdamW
from ownlm.training.precision import Weights
from ownlm.training.step import Stepper, micro_seed, read


class Partly(Causal):
    """Learns half of the vocabulary, so that no two micro-batches have as many targets."""

    def collate(self, examples: Any, rng: np.random.Generator) -> Batch:
        batch = super().collate(examples, rng)
        return batch | {"targets": batch["targets"].masked_fill(batch["targets"] < 20, IGNORE)}


class Spoilt(Causal):
    """Causal, but the loss (or one gradient) of chosen calls is not finite."""

    def __init__(self, where: int, kind: str) -> None:
        self.where, self.kind, self.calls = where, kind, 0

    def loss(self, model: Any, batch: Any) -> Loss:
        self.calls += 1
        loss = super().loss(model, batch)
        if self.calls - 1 != self.where:
            return loss
        if self.kind == "gradient":  # the root of 0 has value 0 and an infinite slope
            zero = (next(model.parameters()) * 0).sum()
            return loss._replace(total=loss.total + zero.sqrt())
        return loss._replace(total=loss.total * float(self.kind))


def stepper(precision: Any = "fp32", objective: Any = None, dropout: float = 0.0, **over: Any):
    model = tiny_model(dropout)
    weights = Weights(model, precision)
    optimizer = AdamW(weights.master, OptimizerConfig(lr=1e-2))
    given = {"seed": 3, "clip": 1.0} | over
    return Stepper(model.train(), objective or Partly(), weights, optimizer, **given)


def run(made: Stepper, of: int, steps: int = 3, batch: int = 8) -> list[Any]:
    loader = TinyLoader(batch)
    return [
        read(made.step((loader.batch(s, m, of) for m in range(of)), s, 1e-2)) for s in range(steps)
    ]


def gradients(of: int, precision: Any = "fp32") -> tuple[Loss, dict[str, torch.Tensor]]:
    made, loader = stepper(precision), TinyLoader(8)
    loss = made.backward((loader.batch(0, m, of) for m in range(of)), 0)
    return loss, {n: g.clone() for n, g in made.weights.gradients().items()}


def vector(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """All in one, but for the biases of queries, keys and values: the true gradient of a key's
    bias is 0, and AdamW makes whole steps of what rounding leaves of it."""
    return torch.cat([t.flatten() for name, t in tensors.items() if "qkv.bias" not in name])


@pytest.mark.parametrize("of", [2, 4, 8])
def test_accumulated_gradients_are_those_of_the_full_batch(of: int) -> None:
    """To 1e-6 of their size, although micro-batches learn different numbers of targets."""
    loader = TinyLoader(8)
    partly, rng = Partly(), np.random.default_rng(0)
    counts = {
        int((partly.collate(loader.batch(0, m, of), rng)["targets"] >= 0).sum()) for m in range(of)
    }
    assert len(counts) > 1  # a mean of means would differ
    full_loss, full = gradients(1)
    loss, parts = gradients(of)
    assert loss.count == full_loss.count
    assert abs(loss.total - full_loss.total) <= 1e-6 * full_loss.total
    for name, gradient in full.items():
        assert (parts[name] - gradient).norm() <= 1e-6 * gradient.norm(), name


def test_accumulated_updates_are_those_of_the_full_batch() -> None:
    full, parts = stepper(), stepper()
    losses = [f.loss for f in run(full, 1)]
    assert [f.loss for f in run(parts, 4)] == pytest.approx(losses, rel=1e-6)
    one, two = (vector(made.weights.master) for made in (full, parts))
    assert (one - two).norm() <= 1e-6 * one.norm()


def test_a_mean_of_means_would_not_be_equal() -> None:
    """The control: dividing each micro-batch by its own count gives another gradient."""
    _, full = gradients(1)
    made, loader = stepper(), TinyLoader(8)
    sums: dict[str, torch.Tensor] = {}
    for micro in range(4):
        made.weights.publish()
        loss = made.micro_batch(loader.batch(0, micro, 4), 0, micro, first=True)
        for name, gradient in made.weights.gradients().items():
            sums[name] = sums.get(name, 0) + gradient / loss.count / 4
    total = sum(loss.count for loss in [gradients(1)[0]])
    off = [(sums[n] - g / total).norm() / (g / total).norm() for n, g in full.items()]
    assert max(off) > 1e-3


def test_bf16_accumulates_in_float32() -> None:
    """Sums of bf16 gradients in bf16 would lose a micro-batch 256 times smaller than the sum."""
    _, ours = gradients(8, "bf16")
    assert all(g.dtype == torch.float32 for g in ours.values())
    made, loader = stepper("bf16"), TinyLoader(8)
    exact: dict[str, torch.Tensor] = {}
    for micro in range(8):
        made.micro_batch(loader.batch(0, micro, 8), 0, micro, first=True)
        for name, gradient in made.weights.gradients().items():
            exact[name] = exact.get(name, 0) + gradient.double()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, exact[name].float(), rtol=1e-5, atol=1e-6)
    rounded = sum(g.bfloat16() for g in [exact["embed.tokens.weight"] / 8] * 8)
    assert not torch.allclose(rounded.float(), exact["embed.tokens.weight"].float(), rtol=1e-5)


def test_bf16_computes_with_rounded_masters_and_moves_the_masters() -> None:
    made = stepper("bf16")
    start = {n: p.clone() for n, p in tiny_model(0.0).named_parameters()}
    for name, master in made.weights.master.items():
        assert torch.equal(master, start[name])  # no rounding on the way in
    run(made, 2)
    for name, live in made.weights.live.items():
        assert live.dtype == torch.bfloat16 and made.weights.master[name].dtype == torch.float32
        assert torch.equal(live, made.weights.master[name].bfloat16())
        assert not torch.equal(made.weights.master[name], start[name])
        assert live.grad is None


def test_bf16_learns_like_fp32() -> None:
    assert [f.loss for f in run(stepper("bf16"), 1, 10)] == pytest.approx(
        [f.loss for f in run(stepper(), 1, 10)], rel=0.02
    )


def test_bf16_would_stand_still_without_masters() -> None:
    """Why there are masters: an update of 1e-4 is below the spacing of bf16 numbers near 1."""
    made = stepper("bf16")
    name = next(n for n in made.weights.live if n.endswith("norm.weight"))
    before = made.weights.live[name].clone()
    loader = TinyLoader(8)
    for step in range(30):
        made.step([loader.batch(step)], step, 3e-5)
        if step == 0:
            assert torch.equal(made.weights.live[name], before)
    assert not torch.equal(made.weights.master[name], before.float())


def test_tied_tables_stay_tied_and_count_once() -> None:
    model = tiny_model(0.0)
    weights = Weights(model, "bf16")
    assert sorted(weights.live) == sorted(dict(model.named_parameters()))
    run(stepper("bf16"), 1, 1)


def test_frozen_parameters_are_left_alone() -> None:
    model = tiny_model(0.0)
    model.embed.tokens.weight.requires_grad_(False)
    before = model.embed.tokens.weight.clone()
    weights = Weights(model, "fp32")
    made = Stepper(model, Causal(), weights, AdamW(weights.master, OptimizerConfig()), seed=0)
    run(made, 1, 1)
    assert torch.equal(model.embed.tokens.weight, before)
    assert "embed.tokens.weight" not in weights.master


def test_the_norm_is_of_the_mean_gradient_and_clips_at_its_limit() -> None:
    loss, full = gradients(1)
    mean = torch.cat([g.flatten() for g in full.values()]).double() / loss.count
    assert run(stepper(), 1, 1)[0].norm == pytest.approx(float(mean.norm()), rel=1e-5)
    limit = float(mean.norm()) / 4
    seen = {}
    for clip in (0.0, limit, 1e9):
        made = stepper(clip=clip)
        run(made, 1, 1)
        # After one update the first moment is (1 - beta1) times the gradient that was applied.
        moments = torch.cat([m.flatten() for m in made.optimizer.first.values()]) / 0.1
        seen[clip] = float(moments.norm())
    assert seen[limit] == pytest.approx(limit, rel=1e-4)
    assert seen[0.0] == seen[1e9] == pytest.approx(float(mean.norm()), rel=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "mixed", "bf16"])
@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
def test_a_number_that_is_none_stops_before_the_update_for_good(kind: str, precision: str) -> None:
    made = stepper(precision, Spoilt(where=5, kind=kind))  # the second micro-batch of step 2
    loader = TinyLoader(8)
    figures, kept = [], {}
    for step in range(4):
        if step == 2:
            state = made.weights.master | made.optimizer.state()
            kept = {name: tensor.clone() for name, tensor in state.items()}
        figures.append(read(made.step([loader.batch(step, m, 2) for m in range(2)], step, 1e-2)))
    assert [f.bad_step for f in figures] == [-1, -1, 2, 2]
    for name, tensor in (made.weights.master | made.optimizer.state()).items():
        assert torch.equal(tensor, kept[name]), name


def test_everything_random_follows_from_seed_step_and_micro_batch() -> None:
    def losses(seed: int, noise: int) -> list[float]:
        made = stepper(dropout=0.3, seed=seed)
        torch.manual_seed(noise)
        return [f.loss for f in run(made, 2)]

    assert losses(3, 0) == losses(3, 1)
    assert losses(3, 0) != losses(4, 0)
    seeds = {micro_seed(s, t, m) for s in range(3) for t in range(20) for m in range(4)}
    assert len(seeds) == 3 * 20 * 4


def test_micro_batches_drop_different_places() -> None:
    made, loader = stepper(dropout=0.3), TinyLoader(4)
    same = loader.batch(0)
    losses = {float(made.micro_batch(same, 0, micro, first=True).total) for micro in range(4)}
    assert len(losses) == 4


def test_a_batch_with_nothing_to_learn_changes_no_moment() -> None:
    class Nothing(Causal):
        def loss(self, model: Any, batch: Any) -> Loss:
            loss = super().loss(model, batch)
            return Loss(loss.total * 0, loss.count * 0, {"share": torch.zeros(2)})

    made = stepper(objective=Nothing())
    figures = run(made, 1, 1)[0]
    assert figures.loss == 0 and figures.norm == 0 and figures.metrics == {"share": 0}
    assert all(not m.any() for m in made.optimizer.state().values())


def test_metrics_are_sums_over_their_own_counts() -> None:
    class Counted(Causal):
        def loss(self, model: Any, batch: Any) -> Loss:
            rows = batch["inputs"].shape[0]
            return super().loss(model, batch)._replace(metrics={"rows": torch.tensor([rows, 2.0])})

    assert run(stepper(objective=Counted()), 4, 1)[0].metrics == {"rows": 1.0}


def test_the_step_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced forward and backward, run by torch's own kernels: no C++ compiler is waited for."""
    traced = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", traced)
    plain = [f.loss for f in run(stepper(), 2)]
    assert [f.loss for f in run(stepper(compiled=True), 2)] == pytest.approx(plain, rel=1e-5)
