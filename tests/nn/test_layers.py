"""Norms, positions, feed-forward, blocks, embeddings, heads against their equations."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from ownlm.nn.block import Sublayer
from ownlm.nn.config import EmbedConfig, HeadConfig, RopeConfig, RopeScaling, StackConfig
from ownlm.nn.embedding import Embedding
from ownlm.nn.feedforward import FeedForward
from ownlm.nn.head import Head
from ownlm.nn.mask import count_positions
from ownlm.nn.norm import RMSNorm, make_norm
from ownlm.nn.position import rope_frequencies, rotate, rotation, sinusoids

CONFIG = StackConfig(
    layers=1, dim=8, heads=2, kv_heads=2, head_dim=4, hidden=6, causal=True, norm="layer",
    act="gelu", gated=True, bias_ffn=True,
)  # fmt: skip


def test_rms_norm_is_its_equation() -> None:
    x, norm = torch.randn(3, 8), RMSNorm(8, 1e-3)
    with torch.no_grad():
        norm.weight.normal_()
    expected = x / (x.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt() * norm.weight
    assert torch.allclose(norm(x), expected, atol=1e-6)
    shifted = RMSNorm(8, 1e-3, offset=1.0)
    assert torch.equal(shifted.weight, torch.zeros(8))
    with torch.no_grad():
        shifted.weight.copy_(norm.weight - 1)
    assert torch.allclose(shifted(x), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["rms", "rms_offset", "layer", "layer_no_bias"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_norms_of_half_precision_are_computed_in_float32(kind: str, dtype: torch.dtype) -> None:
    """3000 squared overflows float16: 65504 is its largest number."""
    x = torch.tensor([[3000.0, -3000.0, 1500.0, 100.0]]).to(dtype)
    y = make_norm(kind, 4, 1e-5).to(dtype)(x)  # type: ignore[arg-type]
    exact = make_norm(kind, 4, 1e-5)(x.float())  # type: ignore[arg-type]
    assert y.dtype == dtype
    assert torch.allclose(y.float(), exact, rtol=1e-2)


def test_rotation_turns_pairs_by_position_times_frequency() -> None:
    positions = torch.tensor([0, 1, 5])
    table = rotation(RopeConfig(theta=100.0), positions, 4, torch.float32)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 3, 4)
    turned = rotate(x, table)[0, 0]
    for row, position in enumerate(positions.tolist()):
        for pair, frequency in enumerate((1.0, 0.1)):  # 100 ** (-2i/4)
            z = complex(x[0, 0, 0, pair], x[0, 0, 0, pair + 2])
            z *= complex(math.cos(position * frequency), math.sin(position * frequency))
            assert turned[row, pair].item() == pytest.approx(z.real, abs=1e-5)
            assert turned[row, pair + 2].item() == pytest.approx(z.imag, abs=1e-5)


def test_part_of_a_head_may_stay_unrotated() -> None:
    x = torch.randn(1, 1, 3, 8)
    table = rotation(RopeConfig(share=0.5), torch.arange(3), 8, torch.float32)
    assert torch.equal(rotate(x, table)[..., 4:], x[..., 4:])
    part = rotate(x[..., :4], rotation(RopeConfig(), torch.arange(3), 4, torch.float32))
    assert torch.allclose(rotate(x, table)[..., :4], part)


def test_angles_are_exact_at_far_positions_in_bfloat16() -> None:
    far = torch.tensor([100_001])
    table = rotation(RopeConfig(), far, 8, torch.bfloat16)
    exact = torch.tensor([math.cos(100_001 * 10_000 ** (-2 * i / 8)) for i in range(4)])
    assert table.cos.dtype == torch.bfloat16
    assert torch.allclose(table.cos[0].float(), exact, atol=0.02)


def test_stretched_frequencies() -> None:
    plain = rope_frequencies(RopeConfig(), 16)
    linear = RopeScaling(kind="linear", factor=4.0)
    assert torch.allclose(rope_frequencies(RopeConfig(scaling=linear), 16), plain / 4)
    llama3 = RopeScaling(kind="llama3", factor=8.0, original=64, low=1.0, high=4.0)
    ratio = rope_frequencies(RopeConfig(scaling=llama3), 16) / plain
    turns = 64 * plain / (2 * math.pi)
    assert torch.allclose(ratio[turns > 4], torch.tensor(1.0))
    assert torch.allclose(ratio[turns < 1], torch.tensor(1 / 8))
    between = ratio[(turns > 1) & (turns < 4)]
    assert len(between) > 0
    assert bool(((between > 1 / 8) & (between < 1)).all())


def test_positions_are_counted_in_segments() -> None:
    segments = torch.tensor(
        [[1, 1, 1, 2, 2, 3], [0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 2, 2], [5, 0, 5, 5, 0, 0]]
    )
    expected = [[0, 1, 2, 0, 1, 0], [None, None, 0, 1, 2, 3], [0, 1, None, None, 0, 1],
                [0, None, 2, 3, None, None]]  # fmt: skip
    for row, wanted in zip(count_positions(segments).tolist(), expected, strict=True):
        assert [p if w is not None else None for p, w in zip(row, wanted, strict=True)] == wanted


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(torch.tensor([7, 49]), 8)
    assert table[0, 0].item() == pytest.approx(math.sin(7), abs=1e-6)
    assert table[0, 4].item() == pytest.approx(math.cos(7), abs=1e-6)
    assert table[1, 3].item() == pytest.approx(math.sin(49 / 10_000 ** (6 / 8)), abs=1e-6)


@pytest.mark.parametrize("gated", [True, False])
def test_feed_forward_is_its_equation(gated: bool) -> None:
    ffn, x = FeedForward(replace(CONFIG, gated=gated)), torch.randn(2, 3, 8)
    if gated:
        gate, up = F.linear(x, ffn.gate_up.weight, ffn.gate_up.bias).split(6, dim=-1)
        inner = F.gelu(gate) * up
    else:
        inner = F.gelu(F.linear(x, ffn.up.weight, ffn.up.bias))
    assert torch.allclose(ffn(x), F.linear(inner, ffn.down.weight, ffn.down.bias), atol=1e-6)


def test_norms_stand_where_the_table_of_sublayer_says() -> None:
    x = torch.randn(2, 3, 8)
    for place in ("pre", "post", "both", "branch"):
        layer = Sublayer(replace(CONFIG, norm_at=place), torch.nn.Linear(8, 8))
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter)
        body, inner, outer = layer.body, layer.norm_in, layer.norm_out
        expected = {
            "pre": lambda: x + body(inner(x)),  # noqa: B023
            "post": lambda: outer(x + body(x)),  # noqa: B023
            "both": lambda: x + outer(body(inner(x))),  # noqa: B023
            "branch": lambda: x + outer(body(x)),  # noqa: B023
        }[place]()
        assert torch.allclose(layer(x), expected, atol=1e-6)
        norms = sum(isinstance(m, torch.nn.LayerNorm) for m in layer.modules())
        assert norms == (2 if place == "both" else 1)


def test_embedding_adds_what_it_has() -> None:
    config = EmbedConfig(
        vocab=10, dim=8, width=6, positions="learned", max_len=9, offset=2, types=2, norm="layer",
        scale=3.0,
    )  # fmt: skip
    embed, ids, types = Embedding(config), torch.tensor([[3, 4]]), torch.tensor([[0, 1]])
    for parameter in embed.parameters():
        torch.nn.init.normal_(parameter)
    assert embed.positions is not None
    assert embed.types is not None
    x = 3 * embed.tokens.weight[ids] + embed.positions.weight[2:4] + embed.types.weight[types]
    expected = embed.project(embed.norm(x))
    assert torch.allclose(embed(ids, torch.arange(2), types), expected, atol=1e-5)
    first = embed(ids, torch.arange(2))
    assert torch.allclose(first, embed(ids, torch.arange(2), torch.zeros_like(ids)))
    fixed = Embedding(EmbedConfig(vocab=10, dim=8, positions="sinusoidal", max_len=9))
    places = torch.tensor([4, 5])
    assert torch.allclose(fixed(ids, places) - fixed.tokens(ids), sinusoids(places, 8), atol=1e-6)


def test_head_transforms_scales_caps_and_ties() -> None:
    hidden, table = torch.randn(2, 3, 8), torch.randn(10, 6)
    head = Head(HeadConfig(vocab=10, dim=8, tied=True, width=6, bias=True, transform="gelu",
                           scale=0.5, softcap=2.0))  # fmt: skip
    assert [name for name, _ in head.named_parameters() if "weight" in name] == [
        "dense.weight",
        "norm.weight",
    ]
    assert head.bias is not None
    torch.nn.init.normal_(head.bias)
    out = head(hidden, table)
    features = F.layer_norm(F.gelu(head.dense(hidden)), (6,), eps=1e-12) * 0.5
    logits = 2 * torch.tanh((features @ table.T + head.bias) / 2)
    assert torch.allclose(out.logits, logits, atol=1e-5)
    assert torch.allclose(out.last_logits, logits[:, -1], atol=1e-5)
    assert torch.equal(out.hidden, hidden)
    targets = torch.tensor([[1, 2, -100], [3, -100, 9]])
    total, count = out.cross_entropy(targets)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    assert torch.allclose(total, expected, atol=1e-4)
    assert count == 4
