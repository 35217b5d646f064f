"""The LSTM against its equations, one time step and one layer at a time.

Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as Zaremba et al. 2014
(arXiv:1409.2329, section 3) write them. float64 on both sides, 300 tokens; the largest
difference of any logit is bounded by 1e-5 of the largest one.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, load_model, save_model
from ownlm.models.model import SingleStack

LENGTH = 300
CONFIG = ModelConfig(family="lstm", vocab=97, dim=20, hidden=28, layers=3, heads=1, bias=True)


@pytest.fixture(scope="module")
def model() -> SingleStack:
    made = build_model(CONFIG, seed=4, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return made


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(0, 97, (LENGTH,), generator=torch.Generator().manual_seed(5))


def slowly(w: dict[str, Tensor], ids: Tensor, order: str = "ifgo") -> Tensor:
    """Logits (T, V); `order` is how the gates' rows follow each other."""
    x = list(w["embed.tokens.weight"][ids])
    for layer in range(CONFIG.layers):
        n = f"stack.cells.{layer}."
        output = torch.zeros(len(w[n + "weight_hh_l0"]) // 4, dtype=torch.float64)
        cell = torch.zeros_like(output)
        for t in range(len(ids)):
            sums = w[n + "weight_ih_l0"] @ x[t] + w[n + "bias_ih_l0"]
            sums = sums + w[n + "weight_hh_l0"] @ output + w[n + "bias_hh_l0"]
            gate = dict(zip(order, sums.chunk(4), strict=True))
            keep, write = gate["f"].sigmoid(), gate["i"].sigmoid() * gate["g"].tanh()
            cell = keep * cell + write
            output = gate["o"].sigmoid() * cell.tanh()
            x[t] = output
    return torch.stack(x) @ w["embed.tokens.weight"].T + w["head.bias"]


@torch.no_grad()
def test_it_computes_the_equations(
    model: SingleStack, ids: Tensor, tell: Callable[[str, float, float], None]
) -> None:
    logits, found = model(ids[None]).logits[0], []
    for order in ("ifgo", "figo", "ifog"):
        expected = slowly(dict(model.named_parameters()), ids, order)
        found.append(float((logits - expected).abs().max() / expected.abs().max()))
    tell("lstm (equations)", found[0], min(found[1:]))


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_cached_and_saved_it_says_the_same(
    bias: bool, tied: bool, ids: Tensor, tmp_path: Path
) -> None:
    values = {"bias": bias, "tied": tied}
    model = build_model(CONFIG.with_values(values), seed=1, dtype=torch.float64).eval()
    whole, cache = model(ids[None]).logits, model.new_cache()
    parts = [model(part, cache=cache).logits for part in ids[None].split((60, 1, 1, 238), dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-12)
    save_model(model, tmp_path)
    again, _ = load_model(tmp_path)
    assert torch.equal(again(ids[None]).logits, whole)
    save_model(again, tmp_path / "again")
    before, after = (load_file(f / "model.safetensors") for f in (tmp_path, tmp_path / "again"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert ("decoder.weight" in before, "rnn.bias_ih_l2" in before) == (not tied, bias)
