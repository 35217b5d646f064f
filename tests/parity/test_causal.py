"""Decoder-only families against transformers: the same folder, the same logits, both ways.

fp32 on the CPU; 320 tokens; the largest difference of any logit is bounded by 1e-4 (measured:
below 1e-5). The control perturbs what parity is about and must be noticed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

transformers = pytest.importorskip("transformers")

from ownlm.models.config import ModelConfig  # noqa: E402
from ownlm.models.load import build_model, load_model, save_model  # noqa: E402

LENGTH, LIMIT = 320, 1e-4
NAMES = [
    "gpt2", "gpt2-untied", "gpt2-relu-unscaled", "llama", "llama-tied", "llama-biases-wide-heads",
    "llama-one-kv-head", "llama-linear", "llama-llama3", "llama-yarn",
]  # fmt: skip
Folder = Callable[[str], Path]


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 97, (2, LENGTH), generator=torch.Generator().manual_seed(5))


def theirs(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


@torch.no_grad()
def difference(model: Any, other: Any, ids: Tensor) -> float:
    return float((model(ids).logits - other(ids).logits).abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_reads_what_transformers_wrote(name: str, folder_of: Folder, ids: Tensor) -> None:
    model, _ = load_model(folder_of(name))
    assert difference(model, theirs(folder_of(name)), ids) < LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_byte_equal(
    name: str, folder_of: Folder, ids: Tensor, tmp_path: Path
) -> None:
    model, _ = load_model(folder_of(name))
    save_model(model, tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (folder_of(name), tmp_path))
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


PERTURBED = {
    "gpt2": {"layer_norm_epsilon": 0.01, "activation_function": "gelu", "n_head": 8},
    "llama": {"rms_norm_eps": 0.01, "hidden_act": "gelu", "num_key_value_heads": 4},
    "llama-linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.1}},
    "llama-llama3": {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.5, "original_max_position_embeddings": 64,
        }
    },
    "llama-yarn": {
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "beta_slow": 1.5,
            "original_max_position_embeddings": 85,
        }
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, keys in PERTURBED.items() for key in keys]
)
def test_control_a_wrong_option_is_noticed(
    name: str, key: str, folder_of: Folder, ids: Tensor, tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(folder_of(name), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: PERTURBED[name][key]}))
    if key == "num_key_value_heads":  # twice the rows are wanted: the shapes tell
        with pytest.raises(ValueError, match=r"k_proj\.weight: expected"):
            load_model(folder)
        return
    assert difference(load_model(folder)[0], theirs(folder_of(name)), ids) > LIMIT
