"""The native products equal the plain ones: sizes that fill no tile, transposed operands."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.nn import fused, linear, lora

each_kernel = pytest.mark.usefixtures("each_kernel")


def relative(a: Tensor, b: Tensor) -> float:
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape).bfloat16()


@each_kernel
@pytest.mark.parametrize(
    ("M", "N", "K"), [(1, 1, 1), (33, 70, 45), (100, 77, 1090), (300, 500, 96), (5000, 40, 64)]
)
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("b_turned", [False, True])
def test_a_product_equals_that_in_float32(
    M: int, N: int, K: int, a_turned: bool, b_turned: bool
) -> None:
    torch.manual_seed(0)
    a = draw(K, M).T if a_turned else draw(M, K)
    b = draw(N, K).T if b_turned else draw(K, N)
    bias = draw(N)
    ours = linear.product(a, b, bias)
    exact = a.float() @ b.float() + bias.float()
    assert relative(ours, exact) < 0.003
    assert relative(ours, exact - bias.float()) > 0.003  # the control: without the bias


@each_kernel
def test_rows_with_gaps_between_them_are_read() -> None:
    torch.manual_seed(0)
    a, b = draw(70, 200)[:, 32:160], draw(128, 300)[:, :90]
    assert relative(linear.product(a, b), a.float() @ b.float()) < 0.003


@each_kernel
def test_a_layer_and_its_gradients_equal_torchs() -> None:
    torch.manual_seed(0)
    layer = linear.Linear(96, 200).bfloat16()
    x, grad = draw(3, 50, 96).requires_grad_(), draw(3, 50, 200)
    assert linear.usable(x, layer.weight)
    y = layer(x)
    ours = torch.autograd.grad(y, (x, layer.weight, layer.bias), grad)
    exact_x, weight, bias = (
        t.detach().float().requires_grad_() for t in (x, layer.weight, layer.bias)
    )
    z = F.linear(exact_x, weight, bias)
    theirs = torch.autograd.grad(z, (exact_x, weight, bias), grad.float())
    for mine, exact in zip((y, *ours), (z, *theirs), strict=True):
        assert relative(mine, exact) < 0.004


@each_kernel
def test_a_frozen_weight_gets_no_gradient() -> None:
    layer = linear.Linear(64, 64, bias=False).bfloat16().requires_grad_(False)
    x = draw(64, 64).requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None


@each_kernel
def test_a_product_does_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    a, b, threads = draw(700, 130), draw(130, 900), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = linear.product(a, b)
        torch.set_num_threads(2)
        assert torch.equal(one, linear.product(a, b))
    finally:
        torch.set_num_threads(threads)


def test_few_rows_and_other_formats_go_to_torch() -> None:
    weight = torch.randn(64, 64)
    assert not linear.usable(torch.randn(1, 64).bfloat16(), weight.bfloat16())
    assert not linear.usable(torch.randn(100, 64), weight)
    x = torch.randn(2, 3, 64)
    assert torch.equal(linear.linear(x, weight), F.linear(x, weight))


@each_kernel
def test_what_does_not_fit_is_left_to_torch_which_refuses_it() -> None:
    x, weight = draw(64, 64), draw(64, 128)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear.linear(x, weight)
    with pytest.raises(RuntimeError):
        linear.linear(draw(64, 128), weight, torch.ones(64))


@each_kernel
def test_the_gradient_of_very_many_tokens_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, grad = draw(300, 64), draw(80, 64).requires_grad_(), draw(300, 80)
    exact = grad.float().T @ x.float()
    for many in (1 << 15, 128):
        monkeypatch.setattr(linear, "MANY", many)
        weight.grad = None
        linear.linear(x, weight).backward(grad)
        assert weight.grad is not None and relative(weight.grad, exact) < 0.005


@each_kernel
@pytest.mark.parametrize("depths", [(1, 1), (64, 16), (45, 70), (1090, 48), (1000, 1100)])
@pytest.mark.parametrize("turned", [(False, True), (False, False), (True, False)])
def test_two_products_are_added_in_one(depths: tuple[int, int], turned: tuple[bool, bool]) -> None:
    torch.manual_seed(0)
    M, N = 300, 77
    pairs = [
        (
            draw(depth, M).T if turned[0] else draw(M, depth),
            draw(N, depth).T if turned[1] else draw(depth, N),
        )
        for depth in depths
    ]
    bias = draw(N)
    ours = linear.product_of_pairs(*pairs[0], *pairs[1], bias)
    first, second = (a.float() @ b.float() for a, b in pairs)
    assert relative(ours, first + second + bias.float()) < 0.003
    assert relative(ours, first + bias.float()) > 0.01  # the control: without the second pair
    again = linear.product_of_pairs(*pairs[0], pairs[1][0].clone(), pairs[1][1].clone(), bias)
    assert torch.equal(again, ours)


@pytest.mark.parametrize("instructions", ["", "AMX", "AVX-512"])
def test_layers_and_adapters_take_the_kernel_with_amx_alone(
    instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()

    def product(*operands: Tensor | None) -> Tensor:
        asked.append("product")
        return torch.zeros(100, 80).bfloat16()

    monkeypatch.setattr(fused, "instructions", lambda: instructions)
    monkeypatch.setattr(linear, "usable", lambda x, weight: True)
    monkeypatch.setattr(linear, "product", product)
    monkeypatch.setattr(lora, "product", product)
    monkeypatch.setattr(lora, "product_of_pairs", product)
    x, weight, a, b = draw(100, 64), draw(80, 64), draw(8, 64), draw(80, 8)
    linear.linear(x, weight)
    lora.adapted(x, weight, None, a, b)
    assert bool(asked) == (instructions == "AMX")


def test_the_next_best_way_is_taken_where_tiles_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Library:
        def __init__(self, way: tuple[str, ...]) -> None:
            self.way = way

        def ownlm_attention_available(self) -> bool:
            return not set(fused.TILES) <= set(self.way)

    monkeypatch.setattr(fused, "cpu_flags", lambda: {"avx512_bf16", "amx_bf16"})
    monkeypatch.setattr(fused.native, "library", lambda source, way: Library(way))
    assert fused.flags.__wrapped__() == (*fused.WIDE, *fused.NO_TILES)
    monkeypatch.setattr(Library, "ownlm_attention_available", lambda self: True)
    assert fused.flags.__wrapped__() == (*fused.WIDE, *fused.TILES)
    monkeypatch.setattr(fused, "cpu_flags", lambda: {"avx512f"})
    assert fused.flags.__wrapped__() is None
