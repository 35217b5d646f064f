"""Weights in few bits: within the stated bound, the product of what they stand for, no copies."""

import pytest
import torch
from torch.nn import functional as F

from ownlm.nn.linear import Linear
from ownlm.nn.quantize import BLOCK, LEVELS, QuantizedLinear, pack, unpack

BITS = pytest.mark.parametrize("bits", [4, 8])


def layer(inputs: int = 192, outputs: int = 80, *, bias: bool = True) -> Linear:
    torch.manual_seed(0)
    made = Linear(inputs, outputs, bias=bias).requires_grad_(False)
    made.weight[3] *= 50  # a row unlike the others
    made.weight[5] = 0
    made.weight[6, :BLOCK] = 0
    return made


def test_eight_bits_are_within_half_a_step_of_their_row() -> None:
    weight = layer().weight
    again = unpack(pack(weight, 8), 192, torch.float32)
    bound = weight.abs().amax(dim=1, keepdim=True) / 254
    error = (weight - again).abs()
    assert (error <= bound * 1.0001).all()
    assert (error > bound * 0.9).any()  # the bound is no larger than it must be
    assert not again[5].any() and not again[6, :BLOCK].any()


def test_four_bits_are_within_half_the_widest_gap_of_their_block() -> None:
    weight = layer().weight
    again = unpack(pack(weight, 4), 192, torch.float32)
    blocks, made = (w.unflatten(1, (-1, BLOCK)) for w in (weight, again))
    largest = blocks.abs().amax(dim=2, keepdim=True)
    error = (blocks - made).abs()
    assert (error <= 0.152 * largest).all()
    assert (error > 0.140 * largest).any()
    levels = torch.tensor(LEVELS)
    nearest = (blocks / largest.clamp(min=1e-30))[..., None].sub(levels).abs().amin(dim=-1)
    assert torch.allclose(error, nearest * largest, atol=1e-6)  # each at the nearest level
    assert not again[5].any() and not again[6, :BLOCK].any()


def test_levels_are_quantiles_of_a_normal_distribution() -> None:
    """Section 3 of the paper: the means of neighbouring quantiles, scaled to reach 1."""
    normal = torch.distributions.Normal(0.0, 1.0)
    offset = 0.9677083  # the paper's code: no quantile is infinite
    positive = normal.icdf(torch.linspace(offset, 0.5, 9)[:-1])
    negative = -normal.icdf(torch.linspace(offset, 0.5, 8)[:-1])
    both = torch.cat([positive, torch.zeros(1), negative]).sort().values
    assert torch.allclose(both / both.max(), torch.tensor(LEVELS), atol=1e-5)


@BITS
@pytest.mark.parametrize("inputs", [16, 64, 100])
def test_widths_that_fill_no_block(bits: int, inputs: int) -> None:
    weight = torch.randn(8, inputs)
    again = unpack(pack(weight, bits), inputs, torch.float32)
    assert again.shape == weight.shape
    assert (weight - again).norm() < (0.15 if bits == 4 else 0.01) * weight.norm()


@BITS
@pytest.mark.parametrize("bias", [True, False])
def test_products_and_gradients_are_those_of_the_weight_it_stands_for(
    bits: int, bias: bool
) -> None:
    plain = layer(bias=bias)
    quantized = QuantizedLinear(plain, bits)
    x = torch.randn(3, 5, 192, requires_grad=True)
    expected = F.linear(x, quantized.weight, plain.bias)
    ours = quantized(x)
    assert torch.allclose(ours, expected, atol=1e-4)
    assert not torch.allclose(ours, plain(x), atol=1e-4)
    grad = torch.randn_like(ours)
    mine, theirs = (torch.autograd.grad(y, x, grad)[0] for y in (ours, expected))
    assert torch.allclose(mine, theirs, atol=1e-4)


@BITS
def test_nothing_in_it_trains_and_it_is_small(bits: int) -> None:
    plain = layer(1024, 512, bias=False)
    quantized = QuantizedLinear(plain, bits)
    assert not list(quantized.parameters())
    held = sum(buffer.nbytes for buffer in quantized.buffers())
    assert 8 * held / plain.weight.numel() <= (4.5 if bits == 4 else 8.05)
    merged = quantized.plain(torch.float32)
    assert type(merged) is Linear and torch.equal(merged.weight, quantized.weight)


@BITS
def test_in_bfloat16_the_product_is_that_of_the_rounded_weight(bits: int) -> None:
    plain = layer(128, 96).bfloat16()
    quantized, x = QuantizedLinear(plain, bits), torch.randn(70, 128).bfloat16()
    exact = F.linear(x.float(), quantized.weight.bfloat16().float(), plain.bias.float())
    assert (quantized(x) - exact).norm() < 0.004 * exact.norm()
