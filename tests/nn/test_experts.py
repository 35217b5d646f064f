"""Mixtures of experts: the sum over chosen experts, and the loss that keeps them in use."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.nn.config import ExpertsConfig, StackConfig
from ownlm.nn.experts import Experts, imbalance

CONFIG = StackConfig(
    layers=1, dim=8, heads=2, kv_heads=2, head_dim=4, hidden=6, causal=True, norm="rms",
    act="silu", gated=True,
)  # fmt: skip
FOUR = ExpertsConfig(count=4, chosen=2)


def experts(config: ExpertsConfig = FOUR) -> Experts:
    torch.manual_seed(1)
    made = Experts(CONFIG, config)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.5)
    return made.eval()


def stream() -> Tensor:
    return torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("normalised", [True, False])
def test_each_token_is_a_weighted_sum_of_its_experts(normalised: bool) -> None:
    made, x = experts(replace(FOUR, normalised=normalised)), stream()
    gate_up, down = made.gate_up.weight.view(4, 2, 6, 8), made.down.weight.view(4, 8, 6)
    for row, out in zip(x.flatten(0, 1), made(x).flatten(0, 1), strict=True):
        shares = (made.router.weight @ row).softmax(0)
        best = sorted(range(4), key=lambda e: -float(shares[e]))[:2]
        total = sum(shares[e] for e in best) if normalised else 1.0
        expected = sum(
            shares[e] / total * (down[e] @ (F.silu(gate_up[e, 0] @ row) * (gate_up[e, 1] @ row)))
            for e in best
        )
        assert torch.allclose(out, torch.as_tensor(expected), atol=1e-6)


@torch.no_grad()
def test_routes_are_the_routers_probabilities() -> None:
    made, x = experts(), stream()
    routes: list[Tensor] = []
    assert torch.equal(made(x, routes), made(x))
    (scores,) = routes
    assert scores.shape == (10, 4)
    assert torch.allclose(scores.sum(1), torch.ones(10))


def test_even_use_has_the_least_imbalance() -> None:
    """Four tokens, four experts, two each: 4 * sum(1/2 * 1/4) = 2; all to two experts: more."""
    even = 0.1 + 0.3 * torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1.0]])
    uneven = 0.1 + 0.3 * torch.tensor([[1, 1, 0, 0]] * 4)
    assert float(imbalance([even, even], 2)) == pytest.approx(2.0)
    assert float(imbalance([uneven], 2)) == pytest.approx(4 * 2 * 0.4)
    assert 2.0 < float(imbalance([even, uneven], 2)) < 3.2


def test_padding_does_not_count() -> None:
    scores = torch.rand(6, 4, generator=torch.Generator().manual_seed(3)).softmax(-1)
    mask = torch.tensor([[1, 1, 1], [2, 0, 0]])
    kept = scores[mask.flatten() > 0]
    assert float(imbalance([scores], 2, mask)) == pytest.approx(float(imbalance([kept], 2)))
    assert float(imbalance([scores], 2)) != pytest.approx(float(imbalance([kept], 2)))


def test_gradients_reach_router_and_experts() -> None:
    made, routes = experts().train(), list[Tensor]()
    (made(stream(), routes).square().sum() + imbalance(routes, 2)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())
