"""Additions of low rank: the written formula, whole layers, their parts, and what they merge to."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.nn.linear import Linear
from ownlm.nn.lora import Adapted, Lora, Part

I, O, R, ALPHA = 24, 40, 4, 10.0  # noqa: E741
WHOLE, THREE, GAPS = [(0, 40)], [(0, 20), (20, 30), (30, 40)], [(4, 20), (30, 36)]
PARTS = pytest.mark.parametrize("parts", [WHOLE, THREE, GAPS])


def made(
    parts: list[tuple[int, int]], *, dora: bool = False, bias: bool = True, dropout: float = 0.0
) -> Adapted:
    torch.manual_seed(0)
    base = Linear(I, O, bias=bias).requires_grad_(False)
    lora = Lora(I, O, [Part(*part) for part in parts], R, ALPHA, dropout, dora=dora)
    for parameter in lora.parameters():
        torch.nn.init.normal_(parameter)
    return Adapted(base, lora) if dora else Adapted(base, lora).double()  # lengths are float32


def delta(layer: Adapted) -> Tensor:
    """s B A, matrix by matrix."""
    out, row = torch.zeros(O, I, dtype=layer.lora.a.dtype), 0
    for number, (begin, end) in enumerate(layer.lora.parts):
        a = layer.lora.a[number * R : (number + 1) * R]
        b = layer.lora.b[row : row + end - begin]
        out[begin:end] = ALPHA / R * b @ a
        row += end - begin
    return out


@PARTS
@pytest.mark.parametrize("bias", [True, False])
def test_each_part_adds_its_own_product(parts: list[tuple[int, int]], bias: bool) -> None:
    layer, x = made(parts, bias=bias), torch.randn(3, 7, I, dtype=torch.float64)
    expected = F.linear(x, layer.base.weight + delta(layer), layer.base.bias)
    assert torch.allclose(layer(x), expected)
    layer.lora.alpha *= 1.01  # the control
    assert not torch.allclose(layer(x), expected)


@PARTS
def test_gradients_are_those_of_the_sum(parts: list[tuple[int, int]]) -> None:
    layer, x = made(parts), torch.randn(9, I, dtype=torch.float64)
    inputs = (layer.lora.a, layer.lora.b)
    grad = torch.randn(9, O, dtype=torch.float64)
    ours = torch.autograd.grad(layer(x), inputs, grad)
    summed = F.linear(x, layer.base.weight + delta(layer), layer.base.bias)
    theirs = torch.autograd.grad(summed, inputs, grad)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other) and mine.any()


@PARTS
def test_dora_scales_the_rows_to_their_lengths(parts: list[tuple[int, int]]) -> None:
    layer, x = made(parts, dora=True), torch.randn(9, I)
    weight = layer.base.weight + delta(layer)
    lengths = weight.norm(dim=1)
    row = 0
    factors = torch.ones(O)
    for begin, end in parts:
        wanted = layer.lora.magnitude[row : row + end - begin]
        factors[begin:end] = wanted / lengths[begin:end]
        row += end - begin
    expected = F.linear(x, weight * factors[:, None], layer.base.bias)
    assert torch.allclose(layer(x), expected, atol=1e-4)
    assert not torch.allclose(F.linear(x, weight, layer.base.bias), expected, atol=1e-2)


def test_doras_lengths_are_constants_of_the_gradient() -> None:
    """Section 4.3 of the paper: they receive none."""
    layer, x = made(WHOLE, dora=True), torch.randn(9, I)
    lora, weight = layer.lora, layer.base.weight
    factors = (lora.magnitude / (weight + delta(layer)).norm(dim=1)).detach()
    constant = F.linear(x, weight + delta(layer)) * factors
    ours, theirs = (torch.autograd.grad(y.square().sum(), lora.a)[0]
                    for y in (layer(x) - layer.base.bias, constant))  # fmt: skip
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(ours.abs().max()))


@PARTS
@pytest.mark.parametrize("dora", [False, True])
def test_a_merged_layer_answers_the_same(parts: list[tuple[int, int]], dora: bool) -> None:
    layer, x = made(parts, dora=dora).float(), torch.randn(9, I)
    merged = layer.merged()
    assert type(merged) is Linear and not merged.weight.requires_grad
    assert torch.allclose(merged(x), layer(x), atol=1e-4)
    assert not torch.allclose(layer.base(x), layer(x), atol=1e-1)


def test_only_the_additions_inputs_are_dropped_and_only_in_training() -> None:
    layer, x = made(WHOLE, dropout=0.5).float(), torch.ones(64, I)
    with torch.no_grad():
        whole = layer.eval()(x)
        assert torch.equal(whole, layer(x))
        dropped = layer.train()(x)
        assert not torch.allclose(dropped, whole)
        layer.lora.b.zero_()
        assert torch.allclose(layer(x), layer.base(x))
    many = torch.ones(20_000, I)
    layer = made(WHOLE, dropout=0.5).float()
    with torch.no_grad():
        mean = layer.train()(many).mean(dim=0)
        assert torch.allclose(mean, layer.eval()(many)[0], atol=1.0)  # of numbers around 25


def test_a_frozen_layer_gets_no_gradient_and_neither_do_inputs_that_need_none() -> None:
    layer, x = made(THREE), torch.randn(9, I, dtype=torch.float64)
    layer(x).sum().backward()
    assert layer.base.weight.grad is None and layer.base.bias.grad is None
    assert layer.lora.a.grad is not None and layer.lora.b.grad is not None
    assert x.grad is None


@pytest.mark.usefixtures("each_kernel")
@pytest.mark.parametrize("parts", [[(0, 200)], [(0, 100), (100, 150), (150, 200)], [(10, 90)]])
@pytest.mark.parametrize("bias", [True, False])
def test_the_native_form_is_that_of_the_formula(parts: list[tuple[int, int]], bias: bool) -> None:
    torch.manual_seed(0)
    base = Linear(96, 200, bias=bias).requires_grad_(False)
    lora = Lora(96, 200, [Part(*part) for part in parts], 8, 16.0)
    for parameter in lora.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layer = Adapted(base, lora).bfloat16()
    x = torch.randn(3, 50, 96).bfloat16().requires_grad_()
    grad = torch.randn(3, 50, 200).bfloat16()
    y = layer(x)
    ours = torch.autograd.grad(y, (x, lora.a, lora.b), grad)
    plain = Adapted(base.float(), lora.float())
    exact_x = x.detach().float().requires_grad_()
    exact = plain(exact_x)
    theirs = torch.autograd.grad(exact, (exact_x, lora.a, lora.b), grad.float())
    for mine, other in zip((y, *ours), (exact, *theirs), strict=True):
        assert (mine.float() - other).norm() < 0.01 * other.norm()
        assert (mine.float() - other).norm() > 0  # another path it was
