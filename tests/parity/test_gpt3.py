"""GPT-3 has no living reference: its equations, written out token by token, are the reference.

Brown et al. 2020 (arXiv:2005.14165, 2.1) describe GPT-2's model (Radford et al. 2019) with dense
and locally banded layers in turn. float64 on both sides; the largest difference of any logit is
bounded by 1e-5 of the largest one.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, load_model, save_model
from ownlm.models.model import SingleStack

LENGTH, BAND = 300, 40
CONFIG = ModelConfig(
    family="gpt3", vocab=97, dim=20, heads=3, head_dim=8, layers=4, context=310, window=BAND,
    bias=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> SingleStack:
    made = build_model(CONFIG, seed=4, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in made.parameters():
            mean = 1.0 if parameter.ndim == 1 else 0.0
            parameter.normal_(mean, 0.2, generator=generator)
    return made


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(0, 97, (LENGTH,), generator=torch.Generator().manual_seed(5))


def norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def slowly(w: dict[str, Tensor], ids: Tensor, band: int) -> Tensor:
    """Logits (T, V); one query and one head at a time."""
    x = w["embed.tokens.weight"][ids] + w["embed.positions.weight"][: len(ids)]
    for layer in range(CONFIG.layers):
        b = f"stack.blocks.{layer}."
        q, k, v = linear(norm(x, w, b + "attn.norm_in"), w, b + "attn.body.qkv").chunk(3, dim=-1)
        read = torch.zeros_like(q)
        for t in range(len(ids)):
            first = max(0, t - band + 1) if layer % 2 else 0
            for head in range(CONFIG.heads):
                part = slice(head * CONFIG.head_dim, (head + 1) * CONFIG.head_dim)
                scores = k[first : t + 1, part] @ q[t, part] / math.sqrt(CONFIG.head_dim)
                read[t, part] = scores.softmax(0) @ v[first : t + 1, part]
        x = x + linear(read, w, b + "attn.body.o")
        inner = gelu(linear(norm(x, w, b + "ffn.norm_in"), w, b + "ffn.body.up"))
        x = x + linear(inner, w, b + "ffn.body.down")
    return norm(x, w, "stack.norm") @ w["embed.tokens.weight"].T


@torch.no_grad()
def test_it_computes_the_equations(
    model: SingleStack, ids: Tensor, tell: Callable[[str, float, float], None]
) -> None:
    weights: dict[str, Tensor] = dict(model.named_parameters())
    logits, found = model(ids[None]).logits[0], []
    for band in (BAND, BAND + 1):
        expected = slowly(weights, ids, band)
        found.append(float((logits - expected).abs().max() / expected.abs().max()))
    tell("gpt3 (equations)", *found)


@torch.no_grad()
def test_cached_padded_and_saved_it_says_the_same(
    model: SingleStack, ids: Tensor, tmp_path: Path
) -> None:
    whole, cache = model(ids[None]).logits, model.new_cache()
    parts = [model(part, cache=cache).logits for part in ids[None].split((60, 1, 1, 238), dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-9)
    padded = torch.cat((torch.zeros(1, 7, dtype=torch.long), ids[None]), dim=1)
    mask = torch.arange(LENGTH + 7)[None] >= 7
    assert torch.allclose(model(padded, mask).logits[:, 7:], whole, atol=1e-9)
    save_model(model, tmp_path)
    assert torch.equal(load_model(tmp_path)[0](ids[None]).logits, whole)
