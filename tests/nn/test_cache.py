"""A cache changes no number: pieces of any length, padding, rows that move."""

import pytest
import torch
from torch import Tensor

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.models.model import SingleStack
from ownlm.nn.cache import LayerCache


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> SingleStack:
    config = ModelConfig(
        family=request.param, vocab=50, dim=16, heads=4, kv_heads=2, layers=2, context=64
    )
    made = build_model(config, seed=4).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(8)  # so that attention is far from uniform
    return made.double()  # exact enough that no processor's rounding counts


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 50, (3, 24), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("pieces", [[24], [1] * 24, [7, 1, 1, 1, 1, 5, 8], [23, 1]])
@pytest.mark.parametrize("reserve", [None, 4, 64])
def test_pieces_equal_one_pass(
    model: SingleStack, ids: Tensor, pieces: list[int], reserve: int | None
) -> None:
    cache = model.new_cache(3, reserve)
    parts = [model(part, cache=cache).logits for part in ids.split(pieces, dim=1)]
    assert len(cache) == 24
    assert torch.allclose(torch.cat(parts, dim=1), model(ids).logits, atol=1e-9)


@torch.no_grad()
def test_left_padding_continues_as_without_it(model: SingleStack, ids: Tensor) -> None:
    """Prompts of 10, 6 and 3 tokens, padded on the left, then single tokens without a mask."""
    prompts = (10, 6, 3)
    mask = torch.tensor([[0] * (10 - n) + [1] * n for n in prompts])
    cache = model.new_cache(3)
    parts = [model(ids[:, :10], mask, cache).logits]
    parts += [model(ids[:, t : t + 1], cache=cache).logits for t in range(10, 14)]
    batch = torch.cat(parts, dim=1)
    for row, n in enumerate(prompts):
        alone = model(ids[row : row + 1, 10 - n : 14]).logits
        assert torch.allclose(batch[row, 10 - n :], alone[0], atol=1e-9)


@torch.no_grad()
def test_a_mask_may_come_late(model: SingleStack, ids: Tensor) -> None:
    """Tokens before the first mask count as segment 1."""
    cache = model.new_cache(3)
    model(ids[:, :5], cache=cache)
    late = torch.tensor([[1, 1, 2, 2]] * 3)
    got = model(ids[:, 5:9], late, cache).logits
    whole = model(ids[:, :9], torch.tensor([[1] * 7 + [2] * 2] * 3)).logits
    assert torch.allclose(got, whole[:, 5:], atol=1e-9)


@torch.no_grad()
def test_rows_can_move(model: SingleStack, ids: Tensor) -> None:
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]])
    cache, order = model.new_cache(3), torch.tensor([2, 0])
    model(ids[:, :4], mask, cache)
    cache.reorder(order)
    got = model(ids[order, 4:6], cache=cache).logits
    fresh = model.new_cache(2)
    model(ids[order, :4], mask[order], fresh)
    assert torch.allclose(got, model(ids[order, 4:6], cache=fresh).logits, atol=1e-5)


def test_storage_doubles_and_keeps_what_it_held() -> None:
    cache, seen = LayerCache(reserve=3), torch.empty(1, 2, 0, 4)
    addresses = set()
    for _ in range(20):
        new = torch.randn(1, 2, 1, 4)
        seen = torch.cat((seen, new), dim=2)
        keys, values = cache.update(new, 2 * new)
        addresses.add(keys.data_ptr())
        assert torch.equal(keys, seen)
        assert torch.equal(values, 2 * seen)
    assert len(addresses) <= 4  # 3, 6, 12, 24
    assert len(cache) == 20
