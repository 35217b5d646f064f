"""The recurrent stack: documents begin from nothing, padding is stepped over, states go on."""

import pytest
import torch
from torch import Tensor

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.models.model import SingleStack
from ownlm.nn.recurrent import RecurrentCache

CONFIG = ModelConfig(family="lstm", vocab=40, dim=12, hidden=16, layers=2, heads=1, bias=True)


@pytest.fixture
def model() -> SingleStack:
    made = build_model(CONFIG, seed=1, dtype=torch.float64).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(seed))


MASK = torch.tensor([
    [0, 0, 1, 1, 1, 1, 2, 2, 2, 0, 3, 3],
    [1, 1, 1, 0, 1, 0, 1, 1, 5, 5, 5, 0],
    [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
])  # fmt: skip


@torch.no_grad()
def test_documents_of_a_row_are_read_as_if_alone(model: SingleStack) -> None:
    ids = tokens(*MASK.shape)
    packed, whole = model(ids, MASK).logits, model(ids).logits
    for row in range(len(MASK)):
        for number in MASK[row].unique():
            place = MASK[row] == number
            if number:
                alone = model(ids[row, place][None]).logits[0]
                assert torch.allclose(packed[row, place], alone, atol=1e-6)
    assert not torch.allclose(packed[0, 6:9], whole[0, 6:9], atol=1e-3), "control: it did matter"


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(5, 7), (1,) * 12, (2, 1, 1, 8), (3, 4, 5)])
def test_a_cache_goes_on_where_it_ended(model: SingleStack, sizes: tuple[int, ...]) -> None:
    ids, cache = tokens(*MASK.shape), model.new_cache(4)
    whole = model(ids, MASK).logits
    parts = [
        model(part, seen, cache).logits
        for part, seen in zip(ids.split(sizes, dim=1), MASK.split(sizes, dim=1), strict=True)
    ]
    real = MASK > 0
    assert torch.allclose(torch.cat(parts, dim=1)[real], whole[real], atol=1e-6)
    assert len(cache) == 12


@torch.no_grad()
def test_after_numbers_came_tokens_without_them_continue(model: SingleStack) -> None:
    ids, cache = tokens(2, 10), model.new_cache(2)
    mask = torch.tensor([[1] * 6, [0] * 3 + [1] * 3])
    model(ids[:, :6], mask, cache)
    last = model(ids[:, 6:], cache=cache).logits
    for row, begin in ((0, 0), (1, 3)):
        alone = model(ids[row, begin:][None]).logits[0, -4:]
        assert torch.allclose(last[row], alone, atol=1e-6)


@torch.no_grad()
def test_tokens_without_numbers_count_as_the_first_document(model: SingleStack) -> None:
    ids, cache = tokens(1, 10), model.new_cache()
    model(ids[:, :4], cache=cache)
    numbers = torch.tensor([[1, 1, 1, 2, 2, 2]])
    found = model(ids[:, 4:], numbers, cache).logits[0]
    assert torch.allclose(found[:3], model(ids[:, :7]).logits[0, 4:], atol=1e-6)
    assert torch.allclose(found[3:], model(ids[:, 7:]).logits[0], atol=1e-6)


@torch.no_grad()
def test_rows_of_a_cache_are_reordered(model: SingleStack) -> None:
    ids, cache = tokens(3, 9), model.new_cache(3)
    model(ids[:, :6], cache=cache)
    order = torch.tensor([2, 0, 0])
    cache.reorder(order)
    found = model(ids[order][:, 6:], cache=cache).logits
    assert torch.allclose(found, model(ids[order]).logits[:, 6:], atol=1e-6)


def test_a_state_ends_its_gradient(model: SingleStack) -> None:
    ids, memory = tokens(2, 8), model.new_memory(2)
    assert isinstance(memory, RecurrentCache)
    model.train()
    model(ids[:, :4], cache=memory)
    assert all(s is not None and not s[0].requires_grad for s in memory.states)
    model(ids[:, 4:], cache=memory).logits.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_gradients_of_packed_documents_are_those_of_single_ones(model: SingleStack) -> None:
    ids = tokens(*MASK.shape)
    model(ids, MASK).hidden[MASK > 0].square().sum().backward()
    packed = [p.grad.clone() for p in model.stack.parameters() if p.grad is not None]
    model.zero_grad()
    for row in range(3):
        for number in MASK[row].unique():
            if number:
                model(ids[row, MASK[row] == number][None]).hidden.square().sum().backward()
    alone = [p.grad for p in model.stack.parameters() if p.grad is not None]
    assert len(packed) == len(alone) == 8
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(packed, alone))


def test_new_gates_do_not_forget() -> None:
    made = build_model(CONFIG, seed=1)
    for name, parameter in made.named_parameters():
        if name.endswith("bias_ih_l0"):
            gates = parameter.detach().unflatten(0, (4, -1))
            assert gates[1].eq(1).all() and not gates[[0, 2, 3]].any()
