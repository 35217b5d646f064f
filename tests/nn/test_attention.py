"""The kernel equals the plain attention; masks mean what they say."""

import pytest
import torch
from torch import Tensor

from ownlm.nn.attention import SelfAttention, attend, attend_plainly
from ownlm.nn.cache import Cache
from ownlm.nn.config import LayerKind, RopeConfig, StackConfig
from ownlm.nn.mask import Mask, first_span
from ownlm.nn.stack import Stack

SEGMENTS = {
    "one": None,
    "right padding": [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]],
    "left padding": [[1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]],
    "packed": [[1, 1, 2, 2, 2, 3, 3], [1, 1, 1, 1, 2, 0, 0]],
    "a gap": [[1, 1, 0, 1, 1, 2, 1], [0, 1, 0, 0, 1, 1, 0]],
}


def mask_of(name: str, causal: bool, window: int = 0, length: int = 7) -> Mask:
    values = SEGMENTS[name]
    segments = None if values is None else torch.tensor(values)
    return Mask(first_span(torch.zeros(2, length), segments), causal=causal, window=window)


def seen_by_hand(name: str, causal: bool, window: int) -> Tensor:
    """The definition, pair by pair: (2, 7, 7)."""
    values = SEGMENTS[name] or [[1] * 7] * 2
    rows = [
        [
            [
                (k <= q or not causal) and (not window or abs(q - k) < window) and row[q] == row[k]
                for k in range(7)
            ]
            for q in range(7)
        ]
        for row in values
    ]
    return torch.tensor(rows)


def heads(kv_heads: int, length: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 4, length, 8), (2, kv_heads, length, 8), (2, kv_heads, length, 8))
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_kernel_equals_plain_and_the_definition(
    name: str, causal: bool, window: int, kv_heads: int
) -> None:
    mask, inputs = mask_of(name, causal, window), heads(kv_heads)
    fast, slow = attend(*inputs, mask, 0.3), attend_plainly(*inputs, mask, 0.3)
    assert torch.allclose(fast, slow, atol=1e-6)
    ours, theirs = (torch.autograd.grad(y.square().sum(), inputs) for y in (fast, slow))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))
    q, k, v = inputs
    k, v = (x.repeat_interleave(4 // kv_heads, dim=1) for x in (k, v))
    seen = seen_by_hand(name, causal, window)[:, None]
    weights = (q @ k.mT * 0.3).masked_fill(~seen, -torch.inf).softmax(dim=-1)
    assert torch.allclose(slow, weights @ v, atol=1e-6)


PREFIXES = {
    "one": [[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]],
    "right padding": [[1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]],
    "packed": [[1, 0, 1, 1, 0, 1, 0], [1, 1, 1, 0, 1, 0, 0]],
}


@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize("window", [0, 3])
def test_a_prefix_is_seen_by_all_of_its_segment(name: str, window: int) -> None:
    """Pair by pair: what comes before, and the prefix wherever it stands. Key ranges say the
    same, and so does a range that is read as a tensor."""
    segments, prefix = SEGMENTS[name], torch.tensor(PREFIXES[name])
    numbers = None if segments is None else torch.tensor(segments)
    span = first_span(torch.zeros(2, 7), numbers).both_ways(prefix)
    mask = Mask(span, causal=True, window=window)
    both = seen_by_hand(name, causal=False, window=window)
    seen = seen_by_hand(name, True, window) | (both & (prefix[:, None] > 0))
    assert torch.equal(mask.built[:, 0], seen)
    assert not torch.equal(seen, seen_by_hand(name, True, window))
    assert mask.ranges is not None
    (lo, hi), keys = mask.ranges, torch.arange(7)
    real = seen.diagonal(dim1=1, dim2=2) & (numbers > 0 if numbers is not None else True)
    told = (keys >= lo[..., None]) & (keys < hi[..., None])
    assert torch.equal(told[real], seen[real])
    inputs = heads(2)
    assert torch.allclose(attend(*inputs, mask, 0.3), attend_plainly(*inputs, mask, 0.3), atol=1e-6)


def test_a_bias_is_added_to_the_scores_of_visible_pairs() -> None:
    bias = torch.randn(4, 7, 7)
    mask = Mask(first_span(torch.zeros(2, 7), None), causal=True, bias=bias)
    q, k, v = heads(4)
    seen = torch.ones(7, 7, dtype=torch.bool).tril()
    weights = (q @ k.mT * 0.3 + bias).masked_fill(~seen, -torch.inf).softmax(dim=-1)
    for kernel in (attend, attend_plainly):
        assert torch.allclose(kernel(q, k, v, mask, 0.3), weights @ v, atol=1e-6)


def test_no_tensor_is_built_where_none_is_needed() -> None:
    assert mask_of("one", causal=True).tensor is None
    assert mask_of("one", causal=True).triangle
    assert mask_of("one", causal=False).tensor is None
    assert not mask_of("one", causal=False).triangle
    assert mask_of("one", causal=True, window=7).tensor is None
    assert mask_of("one", causal=True, window=6).tensor is not None
    cache = Cache((0,))
    cache.advance(torch.zeros(1, 5), None)
    assert Mask(cache.advance(torch.zeros(1, 1), None), causal=True).tensor is None
    assert Mask(cache.advance(torch.zeros(1, 2), None), causal=True).tensor is not None


@pytest.mark.parametrize("kernel", [attend, attend_plainly])
def test_dropout_keeps_the_mean_and_drops_its_share(kernel: object) -> None:
    torch.manual_seed(0)
    q, k = torch.zeros(1, 1, 400, 8), torch.zeros(1, 1, 50, 8)
    v = torch.eye(50).expand(1, 1, 50, 50)
    mask = Mask(first_span(torch.zeros(1, 400), None), causal=False)
    mask._ranges = None
    y = kernel(q, k, v, mask, 1.0, 0.25)  # type: ignore[operator]
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert y.mean().item() == pytest.approx(1 / 50, rel=0.03)
    assert torch.allclose(y[y != 0], torch.tensor(1 / 50 / 0.75))


CONFIG = StackConfig(
    layers=3,
    dim=16,
    heads=4,
    kv_heads=2,
    head_dim=8,
    hidden=24,
    causal=True,
    norm="rms",
    act="silu",
    gated=True,
    kinds=(LayerKind(rope=RopeConfig()),),
)


@pytest.mark.parametrize("qk_norm", ["", "head", "full"])
def test_attention_shapes_and_norms_of_queries_and_keys(qk_norm: str) -> None:
    from dataclasses import replace

    torch.manual_seed(0)
    config = replace(CONFIG, qk_norm=qk_norm)
    attention = SelfAttention(config)
    x = torch.randn(2, 7, 16)
    y = attention(x, mask_of("one", causal=True))
    assert y.shape == x.shape
    scaled = SelfAttention(config)
    scaled.load_state_dict(attention.state_dict())
    with torch.no_grad():
        scaled.qkv.weight[: config.qkv[0] + config.qkv[1]] *= 50
    # Normalised queries and keys do not feel the scale of their projections.
    same = torch.allclose(scaled(x, mask_of("one", causal=True)), y, atol=1e-3)
    assert same == bool(qk_norm)


@pytest.mark.parametrize("kind", [(0,), (3,), (3, 0)])
def test_packing_does_not_leak_and_padding_changes_nothing(kind: tuple[int, ...]) -> None:
    """Each packed document gives what it gives alone, wherever it stands."""
    from dataclasses import replace

    torch.manual_seed(0)
    kinds = tuple(LayerKind(window=w, rope=RopeConfig(theta=100.0)) for w in kind)
    stack = Stack(replace(CONFIG, kinds=kinds))
    parts = [torch.randn(1, n, 16) for n in (4, 6, 5)]
    numbers = [torch.full((1, n), i + 1) for i, n in enumerate((4, 6, 5))]
    padding = torch.randn(1, 3, 16), torch.zeros(1, 3, dtype=torch.long)
    packed = torch.cat([parts[0], parts[1], padding[0], parts[2]], dim=1)
    segments = torch.cat([numbers[0], numbers[1], padding[1], numbers[2]], dim=1)
    together = stack(packed, first_span(segments, segments))
    alone = [stack(x, first_span(x[..., 0], None)) for x in parts]
    for part, place in zip(alone, (slice(0, 4), slice(4, 10), slice(13, 18)), strict=True):
        assert torch.allclose(together[:, place], part, atol=1e-5)
    control = stack(packed, first_span(segments, (segments > 0).long()))
    assert not torch.allclose(control[:, 4:10], alone[1], atol=1e-2)
