"""AdamW: the paper's update, decay only where the table says."""

from typing import Any

import pytest
import torch

from ownlm.errors import ConfigError
from ownlm.training.config import OptimizerConfig
from ownlm.training.optimizer import AdamW, Moment, assign, make_optimizer

CONFIG = OptimizerConfig(lr=1e-2, betas=(0.8, 0.95), weight_decay=0.3)
NO, YES = torch.tensor(0.0), torch.tensor(1.0)


def parameters() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "table": torch.randn(7, 4, generator=generator),
        "norm": torch.randn(4, generator=generator),
        "bias": torch.randn(3, generator=generator),
        "distance_bias": torch.randn(2, 3, generator=generator),  # of two heads
    }


def gradients(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return {name: torch.randn(p.shape, generator=generator) for name, p in parameters().items()}


def test_every_parameter_is_in_one_group_and_only_matrices_decay() -> None:
    groups = assign(parameters())
    assert {group.decays: names for group, names in groups.items()} == {
        True: ["table"],
        False: ["norm", "bias", "distance_bias"],
    }


def test_the_update_is_that_of_the_paper() -> None:
    """Algorithm 2 of arXiv:1711.05101 in float64, with the gradient divided by 5 first."""
    ours, expected = parameters(), {n: p.double() for n, p in parameters().items()}
    first = {n: torch.zeros_like(p) for n, p in expected.items()}
    second = {n: torch.zeros_like(p) for n, p in expected.items()}
    optimizer, (b1, b2) = AdamW(ours, CONFIG), CONFIG.betas
    for step in range(5):
        lr = 1e-2 * (step + 1)
        optimizer.update(gradients(step), Moment(step, lr, torch.tensor(5.0), NO))
        for name, gradient in gradients(step).items():
            g = gradient.double() / 5
            first[name] = b1 * first[name] + (1 - b1) * g
            second[name] = b2 * second[name] + (1 - b2) * g * g
            m, v = first[name] / (1 - b1 ** (step + 1)), second[name] / (1 - b2 ** (step + 1))
            decay = 0.3 if name == "table" else 0.0
            move = m / (v.sqrt() + CONFIG.eps) + decay * expected[name]
            expected[name] = expected[name] - lr * move
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, expected[name].float(), rtol=1e-5, atol=1e-6)


def test_skip_changes_nothing() -> None:
    ours = parameters()
    optimizer = AdamW(ours, CONFIG)
    optimizer.update(gradients(0), Moment(0, 1e-2, torch.tensor(1.0), NO))
    before = {n: t.clone() for n, t in (ours | optimizer.state()).items()}
    bad = {n: torch.full_like(g, torch.nan) for n, g in gradients(1).items()}
    optimizer.update(bad, Moment(1, 1e-2, torch.tensor(torch.nan), YES))
    for name, tensor in (ours | optimizer.state()).items():
        assert torch.equal(tensor, before[name]), name
    optimizer.update(gradients(1), Moment(1, 1e-2, torch.tensor(1.0), NO))
    assert not torch.equal(ours["norm"], before["norm"])  # the control: without skip it moves


def blocks() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "embed.tokens.weight": torch.randn(9, 6, generator=generator),
        "stack.blocks.0.up.weight": torch.randn(12, 6, generator=generator),
        "stack.blocks.0.norm.weight": torch.randn(6, generator=generator),
        "stack.blocks.0.distance_bias": torch.randn(2, 3, generator=generator),
    }


def moves(kind: str, steps: int = 3, divisor: float = 5.0) -> dict[str, torch.Tensor]:
    ours = blocks()
    optimizer = make_optimizer(ours, OptimizerConfig(kind=kind, lr=1e-2, weight_decay=0.3))
    for step in range(steps):
        generator = torch.Generator().manual_seed(step + 1)
        made = {n: divisor * torch.randn(p.shape, generator=generator) for n, p in ours.items()}
        optimizer.update(made, Moment(step, 1e-2, torch.tensor(divisor), NO))
    return ours


@pytest.mark.parametrize(("kind", "theirs"), [
    ("muon", lambda p: torch.optim.Muon(
        p, weight_decay=0.3, momentum=0.95, adjust_lr_fn="match_rms_adamw")),
    ("adafactor", lambda p: torch.optim.Adafactor(p, weight_decay=0.3)),
])  # fmt: skip
def test_the_others_are_torchs_with_gradients_divided(kind: str, theirs: Any) -> None:
    expected = blocks()
    matrix = expected["stack.blocks.0.up.weight"]
    optimizer = theirs([matrix])
    for step in range(3):
        generator = torch.Generator().manual_seed(step + 1)
        made = {n: torch.randn(p.shape, generator=generator) for n, p in expected.items()}
        matrix.grad = made["stack.blocks.0.up.weight"]
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        optimizer.step()
    torch.testing.assert_close(moves(kind)["stack.blocks.0.up.weight"], matrix)
    torch.testing.assert_close(moves(kind, divisor=2.0), moves(kind, divisor=5.0))


def test_muon_leaves_embeddings_and_vectors_to_adamw() -> None:
    muon, adamw = moves("muon"), moves("adamw")
    for name in set(muon) - {"stack.blocks.0.up.weight"}:
        assert torch.equal(muon[name], adamw[name])
    assert not torch.equal(muon["stack.blocks.0.up.weight"], adamw["stack.blocks.0.up.weight"])


def test_muon_without_blocks_is_refused() -> None:  # an LSTM has none
    with pytest.raises(ConfigError, match="no blocks") as refused:
        make_optimizer(parameters(), OptimizerConfig(kind="muon"))
    assert refused.value.next_command == "--optimizer.kind adamw"


@pytest.mark.parametrize("kind", ["muon", "adafactor"])
def test_skip_and_the_way_through_a_checkpoint(kind: str) -> None:
    """Moments copied into a fresh optimizer go on as the old one would have."""
    config = OptimizerConfig(kind=kind, lr=1e-2)

    def made(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(step + 1)
        return {n: torch.randn(p.shape, generator=generator) for n, p in blocks().items()}

    one, first = blocks(), None
    first = make_optimizer(one, config)
    first.update(made(0), Moment(0, 1e-2, torch.tensor(1.0), NO))
    saved = {n: t.clone() for n, t in (one | first.state()).items()}
    first.update(
        {n: g * torch.nan for n, g in made(1).items()}, Moment(1, 1e-2, torch.tensor(1.0), YES)
    )
    assert all(torch.equal(saved[n], t) for n, t in (one | first.state()).items())
    other = {n: saved[n].clone() for n in one}
    second = make_optimizer(other, config)
    for name, tensor in second.state().items():
        tensor.copy_(saved[name])
    for optimizer in (first, second):
        optimizer.update(made(1), Moment(1, 1e-2, torch.tensor(1.0), NO))
    assert all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("betas", [(2.0, 0.9), (0.9, 1.0), (-0.1, 0.9)])
def test_means_that_would_never_settle_are_refused(betas: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="betas"):
        OptimizerConfig.parse({"betas": betas})
