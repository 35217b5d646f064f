"""Reference models of transformers: tiny, random, written to disk once a session."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

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


def _rope_with(rope: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"rope_parameters": rope["rope_parameters"] | values}


LLAMA3 = _rope(
    "llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = _rope("yarn", factor=4.0, original_max_position_embeddings=85)


class Case(NamedTuple):
    """A reference model, and options of its config.json that must be noticed when changed."""

    model: str
    """Class in transformers."""
    values: dict[str, Any]
    wrong: Mapping[str, Any] = MappingProxyType({})


# One row a variant: what transformers is to build, and what a wrong reading of it would be.
DECODERS: dict[str, Case] = {
    "gpt2": Case(
        "GPT2LMHeadModel",
        GPT2,
        {"layer_norm_epsilon": 0.01, "activation_function": "gelu", "n_head": 8},
    ),
    "gpt2-untied": Case("GPT2LMHeadModel", GPT2 | {"tie_word_embeddings": False}),
    "gpt2-relu-unscaled": Case(
        "GPT2LMHeadModel",
        GPT2 | {"activation_function": "relu", "scale_attn_weights": False, "n_inner": 40},
    ),
    "llama": Case("LlamaForCausalLM", LLAMA, {"rms_norm_eps": 0.01, "hidden_act": "gelu"}),
    "llama-tied": Case("LlamaForCausalLM", LLAMA | {"tie_word_embeddings": True}),
    "llama-biases-wide-heads": Case("LlamaForCausalLM", LLAMA | BIASES | {"head_dim": 16}),
    "llama-one-kv-head": Case("LlamaForCausalLM", LLAMA | {"num_key_value_heads": 1}),
    "llama-linear": Case(
        "LlamaForCausalLM", LLAMA | _rope("linear", factor=4.0), _rope("linear", factor=4.1)
    ),
    "llama-llama3": Case(
        "LlamaForCausalLM", LLAMA | LLAMA3, _rope_with(LLAMA3, high_freq_factor=4.5)
    ),
    "llama-yarn": Case("LlamaForCausalLM", LLAMA | YARN, _rope_with(YARN, beta_slow=1.5)),
    "mistral": Case("MistralForCausalLM", LLAMA | {"sliding_window": 48}, {"sliding_window": 49}),
    "mistral-no-window": Case("MistralForCausalLM", LLAMA | {"sliding_window": None}),
}
CASES: dict[str, Case] = {**DECODERS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`decoder` runs over all rows of DECODERS, `decoder, wrong` over what must be noticed."""
    names = metafunc.fixturenames
    if "decoder" in names and "wrong" in names:
        rows = [(name, {k: v}) for name, case in DECODERS.items() for k, v in case.wrong.items()]
        metafunc.parametrize(
            ("decoder", "wrong"), rows, ids=[f"{n}-{next(iter(w))}" for n, w in rows]
        )
    elif "decoder" in names:
        metafunc.parametrize("decoder", DECODERS)


def reference(name: str) -> Any:
    """A random reference model in evaluation mode, its norms and biases random too."""
    case = CASES[name]
    made = getattr(transformers, case.model)
    config = made.config_class(**case.values)
    torch.manual_seed(sum(name.encode()))
    model = made(config)
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
