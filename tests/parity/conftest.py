"""Reference models of transformers: tiny, random, written to disk once a session."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

LENGTH = 320
"""Tokens of a parity input: far enough that stretched and slow rotary pairs show."""

SMALL = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = SMALL | {"n_positions": 340, "n_embd": 32, "n_layer": 3, "n_head": 4}
LLAMA = SMALL | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 340,
}
BIASES = {"attention_bias": True, "mlp_bias": True}


def _rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **values}}


LLAMA3 = _rope(
    "llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = _rope("yarn", factor=4.0, original_max_position_embeddings=85)

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", GPT2),
    "gpt2-untied": ("GPT2", GPT2 | {"tie_word_embeddings": False}),
    "gpt2-relu-unscaled": (
        "GPT2",
        GPT2 | {"activation_function": "relu", "scale_attn_weights": False, "n_inner": 40},
    ),
    "llama": ("Llama", LLAMA),
    "llama-tied": ("Llama", LLAMA | {"tie_word_embeddings": True}),
    "llama-biases-wide-heads": ("Llama", LLAMA | BIASES | {"head_dim": 16}),
    "llama-one-kv-head": ("Llama", LLAMA | {"num_key_value_heads": 1}),
    "llama-linear": ("Llama", LLAMA | _rope("linear", factor=4.0)),
    "llama-llama3": ("Llama", LLAMA | LLAMA3),
    "llama-yarn": ("Llama", LLAMA | YARN),
}


def reference(name: str) -> Any:
    """A random reference model in evaluation mode, its norms and biases random too."""
    family, values = CASES[name]
    config = getattr(transformers, f"{family}Config")(**values)
    suffix = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    torch.manual_seed(sum(name.encode()))
    model = getattr(transformers, family + suffix)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2)
    return model.eval()


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a case's name to the folder that save_pretrained wrote for it."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            reference(name).save_pretrained(made[name])
        return made[name]

    return folder
