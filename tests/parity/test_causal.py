"""Decoder-only families against transformers: the same folder, the same logits, both ways.

fp32 on the CPU; 320 tokens; the largest difference of any logit is bounded by 1e-5 of the
largest logit. The control perturbs what parity is about and must be noticed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

transformers = pytest.importorskip("transformers")

from ownlm.models.config import ModelConfig  # noqa: E402
from ownlm.models.load import build_model, load_model, save_model  # noqa: E402

LENGTH, LIMIT = 320, 1e-5
Folder = Callable[[str], Path]
Tell = Callable[[str, float, float], None]
Off = Callable[[Any], Any]


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 97, (2, LENGTH), generator=torch.Generator().manual_seed(5))


def theirs(folder: Path) -> Any:
    """Step by step: their fused attention leaves out what it does not know, as softcaps."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager"
    ).eval()


def apart(a: Tensor, b: Tensor) -> float:
    """Largest difference of any logit in units of the largest logit."""
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
def difference(model: Any, other: Any, ids: Tensor) -> float:
    return apart(model(ids).logits, other(ids).logits)


def test_reads_what_transformers_wrote(
    decoder: str, folder_of: Folder, ids: Tensor, tell: Tell, off: Off
) -> None:
    model, other = load_model(folder_of(decoder))[0], theirs(folder_of(decoder))
    tell(decoder, difference(model, other, ids), difference(off(model), other, ids))


def padding(side: str) -> Tensor:
    """(2, T): the second row is 37 tokens shorter."""
    mask = torch.ones(2, LENGTH, dtype=torch.long)
    mask[1, slice(37) if side == "left" else slice(-37, None)] = 0
    return mask


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(
    decoder: str, side: str, folder_of: Folder, ids: Tensor, tell: Tell, off: Off
) -> None:
    mask = padding(side)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    model, _ = load_model(folder_of(decoder))
    other = theirs(folder_of(decoder))
    expected = other(ids, attention_mask=mask, position_ids=places).logits[mask == 1]
    found, control = (apart(m(ids, mask).logits[mask == 1], expected) for m in (model, off(model)))
    tell(decoder, found, control)


@torch.no_grad()
@pytest.mark.parametrize("side", ["none", "left"])
def test_cached_decoding_is_whole_decoding(
    decoder: str, side: str, folder_of: Folder, ids: Tensor
) -> None:
    mask = padding(side) if side == "left" else None
    model, _ = load_model(folder_of(decoder))
    cache, parts = model.new_cache(2), []
    steps = (60, *[1] * 11, 30, *[1] * 3, LENGTH - 104)
    for begin, chunk in zip(np.cumsum((0, *steps)), ids.split(steps, dim=1), strict=False):
        seen = None if mask is None else mask[:, begin : begin + chunk.shape[1]]
        parts.append(model(chunk, seen, cache).logits)
    whole, real = model(ids, mask).logits, torch.ones_like(ids) if mask is None else mask
    assert apart(torch.cat(parts, dim=1)[real == 1], whole[real == 1]) < LIMIT


def test_round_trip_is_byte_equal(
    decoder: str, folder_of: Folder, ids: Tensor, tmp_path: Path
) -> None:
    model, _ = load_model(folder_of(decoder))
    save_model(model, tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (folder_of(decoder), tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert difference(model, theirs(tmp_path), ids) < LIMIT


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(vocab=97, dim=32, heads=4, layers=2, context=340, bias=True),
        ModelConfig(vocab=97, dim=32, heads=4, layers=2, context=340, tied=False),
        ModelConfig(family="llama", vocab=97, dim=32, heads=4, kv_heads=2, layers=2, context=340),
        ModelConfig(family="llama", vocab=97, dim=32, heads=4, layers=2, context=340, bias=True,
                    tied=False, head_dim=12, hidden=20, rope_theta=500.0),
    ],
    ids=["gpt2", "gpt2-no-bias-untied", "llama-grouped", "llama-bias-untied"],
)  # fmt: skip
def test_transformers_reads_what_we_built(config: ModelConfig, ids: Tensor, tmp_path: Path) -> None:
    model = build_model(config, seed=3).eval()
    save_model(model, tmp_path)
    assert difference(model, theirs(tmp_path), ids) < LIMIT
    again, _ = load_model(tmp_path)
    pairs = zip(model.named_parameters(), again.named_parameters(), strict=True)
    assert all(a == b and torch.equal(p, q) for (a, p), (b, q) in pairs)


def test_transformers_reads_every_family_we_built(
    built: dict[str, Any], ids: Tensor, tmp_path: Path
) -> None:
    common = {"vocab": 97, "dim": 32, "heads": 4, "layers": 2, "context": 340}
    model = build_model(ModelConfig(**common | built), seed=3).eval()
    save_model(model, tmp_path)
    assert difference(model, theirs(tmp_path), ids) < LIMIT


@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_loss_and_gradients(name: str, folder_of: Folder, ids: Tensor, tmp_path: Path) -> None:
    """Ours per target times its count is theirs; a mixture's includes the balancing loss."""
    extra = {"output_router_logits": True, "router_aux_loss_coef": 0.5} if name == "mixtral" else {}
    folder = edited(folder_of(name), tmp_path / "trained", **extra)
    model, other = load_model(folder)[0].train(), theirs(folder).train()
    total, count = (output := model(ids[:, :-1])).cross_entropy(ids[:, 1:])
    loss = total / count + (0 if output.balance is None else output.balance)
    expected = other(ids[:, :-1], labels=ids[:, :-1], shift_labels=ids[:, 1:].contiguous()).loss
    loss.backward()
    expected.backward()
    assert float((loss / expected - 1).detach().abs()) < LIMIT
    save_model(gradients(model), tmp_path / "ours")
    gradients(other).save_pretrained(tmp_path / "theirs")
    ours, wanted = (load_file(tmp_path / side / "model.safetensors") for side in ("ours", "theirs"))
    assert ours.keys() == wanted.keys()
    largest = max(float(x.abs().max()) for x in wanted.values())
    assert max(float((ours[k] - wanted[k]).abs().max()) for k in wanted) < LIMIT * largest


@torch.no_grad()
def gradients(model: Any) -> Any:
    """The model with each parameter replaced by its gradient, to be saved under its name."""
    for parameter in model.parameters():
        parameter.copy_(parameter.grad)
    return model


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_half_precision_folder_is_byte_equal(
    stored: torch.dtype, folder_of: Folder, tmp_path: Path
) -> None:
    theirs(folder_of("llama")).to(stored).save_pretrained(tmp_path / "half")
    model, _ = load_model(tmp_path / "half")
    assert model.dtype == stored
    save_model(model, tmp_path / "again")
    before, after = (load_file(tmp_path / f / "model.safetensors") for f in ("half", "again"))
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert json.loads((tmp_path / "again/config.json").read_text())["dtype"] == str(stored)[6:]


def test_model_without_its_head_is_read(folder_of: Folder, ids: Tensor, tmp_path: Path) -> None:
    """The hub's gpt2 was saved as GPT2Model: names lack `transformer.`, old ones hold masks."""
    model = theirs(folder_of("gpt2"))
    model.transformer.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert not any(name.startswith("transformer.") for name in tensors)
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 340, 340)
    save_file(tensors, tmp_path / "model.safetensors")
    assert difference(load_model(tmp_path)[0], model, ids) < LIMIT


def edited(folder: Path, to: Path, **changes: Any) -> Path:
    """A copy of a model folder with other values in its config.json."""
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | changes))
    return to


def test_control_a_wrong_option_is_noticed(
    decoder: str, wrong: dict[str, Any], folder_of: Folder, ids: Tensor, tmp_path: Path
) -> None:
    folder = edited(folder_of(decoder), tmp_path / "wrong", **wrong)
    assert difference(load_model(folder)[0], theirs(folder_of(decoder)), ids) > 5 * LIMIT


def test_control_a_wrong_shape_is_refused(folder_of: Folder, tmp_path: Path) -> None:
    folder = edited(folder_of("llama"), tmp_path / "wrong", num_key_value_heads=4)
    with pytest.raises(ValueError, match=r"k_proj\.weight: expected"):
        load_model(folder)
