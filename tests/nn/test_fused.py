"""The native kernels equal the plain path: outputs, gradients and dropout masks."""

import pytest
import torch
from torch import Tensor

from ownlm import native
from ownlm.nn import dropout, fused
from ownlm.nn.attention import attend_plainly
from ownlm.nn.mask import Mask, first_span

each_kernel = pytest.mark.usefixtures("each_kernel")
needs_compiler = pytest.mark.skipif(
    native.library(dropout.SOURCE) is None, reason="no C++ compiler here"
)


def relative(a: Tensor, b: Tensor) -> float:
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


def both_ways(
    mask: Mask, heads: int, kv_heads: int, width: int, p: float, batch: int = 2
) -> list[tuple[Tensor, Tensor]]:
    """(fused, plain in float32) pairs of the output and the gradients, the bias's too."""
    torch.manual_seed(0)
    length = mask.span.length
    packed = torch.randn(batch, length, heads + 2 * kv_heads, width).bfloat16()
    grad = torch.randn(batch, length, heads, width).bfloat16()
    seed, scale = torch.tensor(12345), width**-0.5
    ours = [x.detach().requires_grad_() for x in packed.split([heads, kv_heads, kv_heads], 2)]
    assert mask.ranges is not None
    lo, hi = (x.expand(batch, length) for x in mask.ranges)
    y = fused.attention(*ours, lo, hi, scale, p, seed, mask.bias)
    y.backward(grad)
    biased = [] if mask.bias is None else [mask.bias.grad]
    if mask.bias is not None:
        mask.bias.grad = None
    theirs = [x.detach().float().requires_grad_() for x in ours]
    z = attend_plainly(*(x.transpose(1, 2) for x in theirs), mask, scale, p, seed).transpose(1, 2)
    z.backward(grad.float())
    grads = [(a.grad, b.grad) for a, b in zip(ours, theirs)]
    grads += [(of_bias, mask.bias.grad) for of_bias in biased if mask.bias is not None]
    return [(y, z), *grads]  # type: ignore[list-item]


def packed_documents(batch: int, length: int) -> Tensor:
    """Documents of 3, 6, 9, ... tokens, then padding."""
    places = torch.arange(length).repeat(batch, 1)
    borders = torch.cumsum(torch.arange(3, 400, 3), 0)
    return torch.where(places < length - 20, torch.searchsorted(borders, places, right=True) + 1, 0)


@each_kernel
@pytest.mark.parametrize("p", [0.0, 0.25])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "width"), [(3, 3, 64), (4, 2, 48), (2, 1, 128), (4, 4, 16)]
)
def test_causal_attention_equals_the_plain_path(
    heads: int, kv_heads: int, width: int, p: float
) -> None:
    ids = torch.zeros(2, 300, dtype=torch.long)
    for ours, plain in both_ways(
        Mask(first_span(ids, None), causal=True), heads, kv_heads, width, p
    ):
        assert relative(ours, plain) < 6e-3  # bf16 keeps 8 bits: 4e-3 a number


@each_kernel
@pytest.mark.parametrize(("causal", "window"), [(True, 0), (False, 0), (True, 50), (False, 33)])
def test_documents_and_windows_equal_the_plain_path(causal: bool, window: int) -> None:
    segments = packed_documents(2, 330)
    mask = Mask(first_span(segments, segments), causal=causal, window=window)
    for ours, plain in both_ways(mask, 2, 2, 64, 0.1):
        assert relative(ours, plain) < 6e-3


@each_kernel
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.2])
def test_a_bias_and_its_gradient_equal_the_plain_path(causal: bool, p: float) -> None:
    torch.manual_seed(1)
    segments = packed_documents(3, 201)
    bias = torch.randn(4, 201, 201).requires_grad_()
    mask = Mask(first_span(segments, segments), causal=causal, bias=bias)
    pairs = both_ways(mask, 4, 2, 48, p, batch=3)
    assert len(pairs) == 5
    for ours, plain in pairs:
        assert relative(ours, plain) < 6e-3
    with torch.no_grad():  # the control: another bias is seen
        unbiased = Mask(first_span(segments, segments), causal=causal)
    other = both_ways(unbiased, 4, 2, 48, p, batch=3)
    assert relative(other[0][0], pairs[0][0]) > 0.1


@each_kernel
def test_control_another_mask_is_seen() -> None:
    segments = packed_documents(2, 330)
    right = Mask(first_span(segments, segments), causal=True)
    wrong = Mask(first_span(segments, None), causal=True)
    right._ranges = wrong.ranges
    assert all(relative(ours, plain) > 0.1 for ours, plain in both_ways(right, 2, 2, 64, 0.0))


def test_a_segment_in_two_runs_has_no_range() -> None:
    segments = torch.tensor([[1, 1, 2, 1]])
    assert Mask(first_span(segments, segments), causal=True).ranges is None
    padded_both_sides = torch.tensor([[0, 1, 1, 0]])
    assert Mask(first_span(padded_both_sides, padded_both_sides), causal=True).ranges is None


def test_ranges_by_hand() -> None:
    segments = torch.tensor([[1, 1, 1, 2, 2, 0]])
    lo, hi = Mask(first_span(segments, segments), causal=True, window=2).ranges or (None, None)
    assert lo is not None and hi is not None
    assert lo.tolist() == [[0, 0, 1, 3, 3, 5]]
    assert hi.tolist() == [[1, 2, 3, 4, 5, 6]]


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_equals_its_plain_form_and_its_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    x = (torch.rand(1001, 37) + 0.5).to(dtype).requires_grad_()
    seed = torch.tensor(99)
    y = dropout.hashed_dropout(x, seed, 0.3)
    kept = dropout.kept(torch.arange(x.numel()), dropout.mix(seed), 0.3).view_as(x)
    assert torch.equal(y != 0, kept)
    assert torch.allclose(y, (x.float() * kept / 0.7).to(dtype), rtol=1e-2)
    assert abs(kept.float().mean().item() - 0.7) < 0.01
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(x.grad != 0, kept)  # type: ignore[arg-type, operator]


def test_dropout_masks_of_different_seeds_are_independent() -> None:
    places = torch.arange(200_000)
    a, b = (dropout.kept(places, dropout.mix(torch.tensor(s)), 0.5) for s in (1, 2))
    assert abs((a == b).float().mean().item() - 0.5) < 0.01
    assert abs((a[1:] == a[:-1]).float().mean().item() - 0.5) < 0.01


def test_dropout_follows_manual_seed() -> None:
    layer, x = dropout.Dropout(0.5), torch.ones(64, 64)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(first, layer(x))
    assert not torch.equal(first, layer(x))
    assert layer.eval()(x) is x
