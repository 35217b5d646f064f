"""Transformer-XL has no living reference: its equations, written out query by query, are it.

Dai et al. 2019 (arXiv:1901.02860), section 3.3: A(i, j) = q_i k_j + q_i W R_(i-j) + u k_j +
v W R_(i-j), and 3.2: each segment also reads what entered every layer for the last `mem_len`
tokens. float64 on both sides, 320 tokens in four segments; the largest difference of any logit
is bounded by 1e-5 of the largest one.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, load_model, save_model
from ownlm.models.model import SingleStack
from ownlm.nn.segments import Memory

Tell = Callable[[str, float, float], None]
SEGMENTS, MEMORY = (90, 70, 100, 60), 110
CONFIG = ModelConfig(
    family="transformer-xl", vocab=97, dim=24, heads=3, head_dim=10, hidden=40, layers=3,
    context=100, memory=MEMORY,
)  # fmt: skip


def built(memory: int = MEMORY, **values: object) -> SingleStack:
    made = build_model(CONFIG.with_values({"memory": memory}), seed=4, dtype=torch.float64)
    if values:
        made = build_model(made.config | values, seed=4, dtype=torch.float64)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in made.parameters():
            mean = 1.0 if parameter.ndim == 1 else 0.0
            parameter.normal_(mean, 0.3, generator=generator)
    return made.eval()


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(0, 97, (sum(SEGMENTS),), generator=torch.Generator().manual_seed(5))


def wave(distance: int) -> Tensor:
    """R of one distance: sines, then cosines."""
    rates = [10_000 ** (-2 * n / CONFIG.dim) for n in range(CONFIG.dim // 2)]
    angles = [distance * rate for rate in rates]
    return torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)


def norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(
    x: Tensor, memory: Tensor, w: dict[str, Tensor], name: str, clamp: int, window: int, off: int
) -> Tensor:
    """One query, one head and one key at a time; `off` is added to every distance (control)."""
    source, past = torch.cat((memory, x)), len(memory)
    W_q, W_k, W_v = w[f"{name}.qkv.weight"].chunk(3)
    u, v = w[f"{name}.content_bias"], w[f"{name}.distance_bias"]
    farthest = len(source) + off
    R = [w[f"{name}.r.weight"] @ wave(min(d, clamp or d)) for d in range(farthest + 1)]
    q, k, values = x @ W_q.T, source @ W_k.T, source @ W_v.T
    read = torch.zeros_like(q)
    for i in range(len(x)):
        seen = range(max(0, past + i + 1 - window) if window else 0, past + i + 1)
        for head in range(CONFIG.heads):
            part = slice(head * CONFIG.head_dim, (head + 1) * CONFIG.head_dim)
            relative = torch.stack([R[past + i - j + off][part] for j in seen])
            scores = k[seen.start : seen.stop, part] @ (q[i, part] + u[head])
            scores = scores + relative @ (q[i, part] + v[head])
            weights = (scores / math.sqrt(CONFIG.head_dim)).softmax(0)
            read[i, part] = weights @ values[seen.start : seen.stop, part]
    return read @ w[f"{name}.o.weight"].T


def slowly(
    w: dict[str, Tensor], ids: Tensor, memory: int, clamp: int = 0, window: int = 0, off: int = 0
) -> Tensor:
    """Logits (T, V) of all segments in turn."""
    held = [torch.zeros(0, CONFIG.dim, dtype=torch.float64) for _ in range(CONFIG.layers)]
    logits = []
    for part in ids.split(SEGMENTS):
        x = w["embed.tokens.weight"][part] * math.sqrt(CONFIG.dim)
        for layer in range(CONFIG.layers):
            b, before = f"stack.blocks.{layer}.", held[layer]
            held[layer] = torch.cat((before, x))[-memory:]
            y = attention(x, before, w, b + "attn.body", clamp, window, off)
            x = norm(x + y, w, b + "attn.norm_out")
            inner = x @ w[b + "ffn.body.up.weight"].T + w[b + "ffn.body.up.bias"]
            outer = inner.relu() @ w[b + "ffn.body.down.weight"].T + w[b + "ffn.body.down.bias"]
            x = norm(x + outer, w, b + "ffn.norm_out")
        logits.append(x @ w["embed.tokens.weight"].T + w["head.bias"])
    return torch.cat(logits)


def quickly(model: SingleStack, ids: Tensor) -> Tensor:
    memory = model.new_memory()
    return torch.cat([model(p[None], cache=memory).logits[0] for p in ids.split(SEGMENTS)])


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "clamp", "window"),
    [({}, 0, 0), ({"clamp_len": 50}, 50, 0), ({"same_length": True}, 0, MEMORY)],
    ids=["plain", "clamp_len", "same_length"],
)
def test_it_computes_the_equations_segment_by_segment(
    values: dict[str, object], clamp: int, window: int, ids: Tensor, tell: Tell
) -> None:
    model = built(**values)
    weights: dict[str, Tensor] = dict(model.named_parameters())
    logits = quickly(model, ids)
    found = apart(logits, slowly(weights, ids, MEMORY, clamp, window))
    assert found < 1e-5
    if not values:
        less_memory = apart(logits, slowly(weights, ids, MEMORY - 1))
        other_distances = apart(logits, slowly(weights, ids, MEMORY, off=1))
        tell("transformer-xl (equations)", found, min(less_memory, other_distances))


@torch.no_grad()
def test_a_memory_of_everything_is_one_whole_segment(ids: Tensor) -> None:
    model = built(memory=1000)
    assert apart(quickly(model, ids), model(ids[None]).logits[0]) < 1e-9
    assert apart(quickly(built(), ids), model(ids[None]).logits[0]) > 1e-4, "control: a short one"


@torch.no_grad()
@pytest.mark.parametrize("same_length", [True, False])
def test_cached_decoding_is_whole_decoding(same_length: bool, ids: Tensor) -> None:
    model = built(same_length=same_length)
    whole, cache = model(ids[None]).logits, model.new_cache()
    parts = [model(part, cache=cache).logits for part in ids[None].split((60, 1, 1, 258), dim=1)]
    assert apart(torch.cat(parts, dim=1), whole) < 1e-9


@torch.no_grad()
def test_decoding_with_memory_token_by_token_is_whole_decoding(ids: Tensor) -> None:
    model, ids = built(memory=400), ids[:120]
    memory = model.new_memory()
    parts = [model(token, cache=memory).logits for token in ids[None].split(1, dim=1)]
    assert apart(torch.cat(parts, dim=1), model(ids[None]).logits) < 1e-9


@torch.no_grad()
def test_padding_and_documents_change_nothing_in_memory_either(ids: Tensor) -> None:
    """Row 0: padding, then 150 tokens; row 1: two documents; in two segments of 100."""
    model = built()
    rows = torch.stack((ids[:200], ids[100:300]))
    mask = torch.ones_like(rows)
    mask[0, :50], mask[1, 130:] = 0, 2
    memory = model.new_memory(2)
    parts = zip(rows.split(100, dim=1), mask.split(100, dim=1), strict=True)
    found = torch.cat([model(part, seen, memory).logits for part, seen in parts], dim=1)
    alone = model.new_memory()
    first = [model(p, cache=alone).logits for p in rows[:1, 50:].split((50, 100), dim=1)]
    assert apart(found[0, 50:], torch.cat(first, dim=1)[0]) < 1e-9
    assert apart(found[1, 130:], model(rows[1:, 130:]).logits[0]) < 1e-9


def test_no_gradient_enters_the_memory_and_all_weights_get_one(ids: Tensor) -> None:
    model, memory = built().train(), None
    memory = model.new_memory()
    assert isinstance(memory, Memory)
    for part in ids[None, :200].split(100, dim=1):
        model.zero_grad()
        total, _ = model(part, cache=memory).cross_entropy(part)
        total.backward()
    assert len(memory) == 110
    assert all(not layer.hidden.requires_grad for layer in memory.layers)  # type: ignore[attr-defined]
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


@torch.no_grad()
def test_a_memory_is_saved_and_restored(ids: Tensor) -> None:
    model, memory, again = built(), built().new_memory(2), built().new_memory(2)
    rows = torch.stack((ids[:100], ids[100:200]))
    numbers = torch.ones_like(rows)
    model(rows, numbers, memory)
    assert isinstance(memory, Memory) and isinstance(again, Memory)
    again.restore(memory.state())
    expected = model(rows, numbers, memory).logits
    assert torch.equal(model(rows, numbers, again).logits, expected)
    memory.restore({})
    assert apart(model(rows, numbers, memory).logits, expected) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_round_trip_is_byte_equal(tied: bool, ids: Tensor, tmp_path: Path) -> None:
    model = built(tie_word_embeddings=tied)
    save_model(model, tmp_path)
    again, _ = load_model(tmp_path)
    assert torch.allclose(quickly(again, ids), quickly(model, ids), rtol=1e-9)
    save_model(again, tmp_path / "again")
    before, after = (load_file(f / "model.safetensors") for f in (tmp_path, tmp_path / "again"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert "transformer.layers.2.dec_attn.r_w_bias" in before
