"""AdamW: the paper's update, decay only where the table says."""

import torch

from ownlm.training.config import OptimizerConfig
from ownlm.training.optimizer import AdamW, assign

CONFIG = OptimizerConfig(lr=1e-2, betas=(0.8, 0.95), weight_decay=0.3)
NO, YES = torch.tensor(0.0), torch.tensor(1.0)


def parameters() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "table": torch.randn(7, 4, generator=generator),
        "norm": torch.randn(4, generator=generator),
        "bias": torch.randn(3, generator=generator),
    }


def gradients(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return {name: torch.randn(p.shape, generator=generator) for name, p in parameters().items()}


def test_every_parameter_is_in_one_group_and_only_matrices_decay() -> None:
    groups = assign(parameters())
    assert {group.decays: names for group, names in groups.items()} == {
        True: ["table"],
        False: ["norm", "bias"],
    }


def test_the_update_is_that_of_the_paper() -> None:
    """Algorithm 2 of arXiv:1711.05101 in float64, with the gradient divided by 5 first."""
    ours, expected = parameters(), {n: p.double() for n, p in parameters().items()}
    first = {n: torch.zeros_like(p) for n, p in expected.items()}
    second = {n: torch.zeros_like(p) for n, p in expected.items()}
    optimizer, (b1, b2) = AdamW(ours, CONFIG), CONFIG.betas
    for step in range(5):
        lr = 1e-2 * (step + 1)
        optimizer.update(gradients(step), step, lr, torch.tensor(5.0), NO)
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
    optimizer.update(gradients(0), 0, 1e-2, torch.tensor(1.0), NO)
    before = {n: t.clone() for n, t in (ours | optimizer.state()).items()}
    bad = {n: torch.full_like(g, torch.nan) for n, g in gradients(1).items()}
    optimizer.update(bad, 1, 1e-2, torch.tensor(torch.nan), YES)
    for name, tensor in (ours | optimizer.state()).items():
        assert torch.equal(tensor, before[name]), name
    optimizer.update(gradients(1), 1, 1e-2, torch.tensor(1.0), NO)
    assert not torch.equal(ours["norm"], before["norm"])  # the control: without skip it moves
