"""What llama.cpp calls things: metadata keys and tensor names of the architectures known here.

Each architecture is one line of LAYOUTS: what its metadata amount to as config.json, the names of
its tensors, and how their numbers are kept.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CheckpointError
from ownlm.models.gguf import GGUF
from ownlm.models.gguf_blocks import dequantise
from ownlm.nn.config import RopeScaling

ROPE_FACTORS = "rope_freqs.weight"
_LLAMA3_LENGTH, _LLAMA3_LOW, _LLAMA3_HIGH = 8192, 1.0, 4.0


class Keys:
    """A file's metadata about its architecture; what is missing is refused by key."""

    def __init__(self, file: GGUF) -> None:
        self.file, self.name = file, file.metadata.get("general.architecture")

    def __getitem__(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise self.fault(key, "missing")
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, which is a number in all that is read here."""
        value = self.file.metadata.get(f"{self.name}.{key}", default)
        if value is not None and not isinstance(value, int | float | str):
            raise self.fault(key, f"expected one value, found {value!r:.60}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A float32 as the shortest decimal that means it: 1e-05, not 9.99999974e-06."""
        value = self[key] if default is None else self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(key, f"expected a number, found {value!r:.60}")
        return float(str(np.float32(value)))

    def fault(self, key: str, what: str) -> CheckpointError:
        """The error to raise about one key."""
        return CheckpointError(f"{self.name}.{key}: {what}", where=str(self.file.path))

    def has(self, tensor: str) -> bool:
        """Whether the file holds a tensor."""
        return tensor in self.file.tensors

    @property
    def vocab(self) -> int:
        """Rows of the token table."""
        if not self.has("token_embd.weight"):
            raise CheckpointError("token_embd.weight: missing", where=str(self.file.path))
        return self.file.tensors["token_embd.weight"].shape[0]

    @property
    def tied(self) -> bool:
        """No output matrix of its own, or one equal to the token table byte for byte."""
        if not self.has("output.weight"):
            return True
        table, output = (self.file.tensors[f"{n}.weight"] for n in ("token_embd", "output"))
        same = (table.form, table.shape) == (output.form, output.shape)
        return same and np.array_equal(
            self.file.data("token_embd.weight"), self.file.data("output.weight")
        )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How llama.cpp keeps one architecture."""

    config: Callable[[Keys], dict[str, Any]]
    names: Mapping[str, str]
    """Of tensors without their last part; in layers what follows "blk.3."."""
    layers: str
    """What stands for "blk." in a Hugging Face folder."""
    rotated: bool = False
    """Rows of queries and keys have rotary pairs side by side."""
    around_one: bool = False
    """Norm weights are stored with one added."""
    transposed: tuple[str, ...] = ()
    """Matrices that the folder keeps as (in, out)."""


def _decoder(k: Keys, kind: str, architecture: str, act: str = "silu") -> dict[str, Any]:
    """config.json of LLaMA and its relatives."""
    heads, dim = k["attention.head_count"], k["embedding_length"]
    if not isinstance(heads, int) or heads < 1 or not isinstance(dim, int):
        raise k.fault("attention.head_count", f"{heads!r:.40} heads for a width of {dim!r:.40}")
    wide = k.get("attention.key_length", dim // heads)
    turned = k.get("rope.dimension_count", wide)
    if turned != wide or k.get("attention.value_length", wide) != wide:
        raise k.fault("rope.dimension_count", f"{turned} of {wide}: only whole heads can turn")
    return {
        "architectures": [architecture],
        "model_type": kind,
        "vocab_size": k.vocab,
        "max_position_embeddings": k["context_length"],
        "hidden_size": dim,
        "num_hidden_layers": k["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": k.get("attention.head_count_kv", heads),
        "head_dim": wide,
        "intermediate_size": k["feed_forward_length"],
        "hidden_act": act,
        "rms_norm_eps": k.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": k.number("rope.freq_base", 10_000.0),
        "rope_parameters": rope_parameters(k, wide),
    }


def rope_parameters(k: Keys, wide: int) -> dict[str, Any]:
    """How rotary positions are stretched, from keys and from a tensor of factors."""
    theta = k.number("rope.freq_base", 10_000.0)
    base = {"rope_type": "default", "rope_theta": theta}
    if k.has(ROPE_FACTORS):
        stored = k.file.tensors[ROPE_FACTORS]
        return base | _factors(dequantise(k.file.data(ROPE_FACTORS), stored.form), theta, wide, k)
    kind = k.get("rope.scaling.type", "linear" if k.get("rope.scale_linear") else "none")
    if kind == "none":
        return base
    factor = k.number("rope.scaling.factor", k.number("rope.scale_linear", 1.0))
    if kind == "linear":
        return base | {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        length = k.get("rope.scaling.original_context_length", k["context_length"])
        return base | {
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": length,
        }  # fmt: skip
    raise k.fault("rope.scaling.type", f"{kind!r:.40} is not supported; known: linear, yarn")


def llama3_factors(scaling: RopeScaling, theta: float, wide: int) -> NDArray[np.float32]:
    """What LLaMA 3's rule divides each rotary frequency of a head by."""
    waves = 2 * math.pi * theta ** (np.arange(0, wide, 2) / wide)
    smooth = (scaling.original / waves - scaling.low) / (scaling.high - scaling.low)
    least = 1 / scaling.factor
    factors = 1 / np.clip((1 - smooth) * least + smooth, least, 1)
    return np.asarray(factors, np.float32)


def _factors(factors: Any, theta: float, wide: int, k: Keys) -> dict[str, Any]:
    """What divides each frequency: LLaMA 3's rule where it gives these numbers, else as listed."""
    length, largest = _LLAMA3_LENGTH, float(np.max(factors, initial=1.0))
    usual = RopeScaling(
        kind="llama3", factor=largest, original=length, low=_LLAMA3_LOW, high=_LLAMA3_HIGH
    )
    rule = llama3_factors(usual, theta, wide)
    if rule.shape == factors.shape and np.allclose(rule, factors, rtol=1e-4):
        return {
            "rope_type": "llama3",
            "factor": largest,
            "low_freq_factor": _LLAMA3_LOW,
            "high_freq_factor": _LLAMA3_HIGH,
            "original_max_position_embeddings": length,
        }
    listed = [float(factor) for factor in factors]
    return {
        "rope_type": "longrope",
        "factor": 1.0,
        "attention_factor": 1.0,
        "short_factor": listed,
        "long_factor": listed,
        "original_max_position_embeddings": k["context_length"],
    }


def _llama(k: Keys) -> dict[str, Any]:
    biases = {"attention_bias": k.has("blk.0.attn_q.bias"), "mlp_bias": k.has("blk.0.ffn_up.bias")}
    return _decoder(k, "llama", "LlamaForCausalLM") | biases


def _gemma(k: Keys, kind: str, architecture: str) -> dict[str, Any]:
    act = "gelu_pytorch_tanh"
    return _decoder(k, kind, architecture, act) | {"hidden_activation": act}


def _sliding(k: Keys, values: dict[str, Any], every: int, largest: int) -> dict[str, Any]:
    """What Gemma 2 and 3 share: `every`th layer sees all, the largest model scales otherwise."""
    layers, wide = values["num_hidden_layers"], values["head_dim"]
    big = layers == largest
    if not isinstance(layers, int) or not 0 < layers <= 1000:
        raise k.fault("block_count", f"{layers!r:.40} is no number of layers")
    names = ("full_attention", "sliding_attention")
    return values | {
        "query_pre_attn_scalar": (
            values["hidden_size"] // values["num_attention_heads"] if big else wide
        ),
        "sliding_window": k["attention.sliding_window"],
        "layer_types": [names[(layer + 1) % every != 0] for layer in range(layers)],
    }


def _gemma2(k: Keys) -> dict[str, Any]:
    return _sliding(k, _gemma(k, "gemma2", "Gemma2ForCausalLM"), 2, 46) | {
        "attn_logit_softcapping": k.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": k.number("final_logit_softcapping", 30.0),
    }


def _gemma3(k: Keys) -> dict[str, Any]:
    values = _sliding(k, _gemma(k, "gemma3_text", "Gemma3ForCausalLM"), 6, 62)
    full = rope_parameters(k, values["head_dim"])
    theta = k.number("rope.freq_base", 1e6)
    local = {"rope_type": "default", "rope_theta": k.number("rope.freq_base_swa", 10_000.0)}
    cap = k.get("final_logit_softcapping")
    del values["rope_theta"]
    return values | {
        "rope_parameters": {
            "full_attention": full | {"rope_theta": theta}, "sliding_attention": local,
        },
        "attn_logit_softcapping": None,
        "final_logit_softcapping": cap and k.number("final_logit_softcapping"),
    }  # fmt: skip


def _gpt2(k: Keys) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": k.vocab,
        "n_positions": k["context_length"],
        "n_embd": k["embedding_length"],
        "n_layer": k["block_count"],
        "n_head": k["attention.head_count"],
        "n_inner": k["feed_forward_length"],
        "activation_function": "gelu_new",
        "layer_norm_epsilon": k.number("attention.layer_norm_epsilon"),
    }


_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BOTH_SIDES = _NAMES | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_GPT2_NAMES = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}

# fmt: off
LAYOUTS: dict[str, Layout] = {
    "llama": Layout(config=_llama, names=_NAMES, layers="model.layers.", rotated=True),
    "qwen2": Layout(config=lambda k: _decoder(k, "qwen2", "Qwen2ForCausalLM"),
                    names=_NAMES, layers="model.layers."),
    "qwen3": Layout(config=lambda k: _decoder(k, "qwen3", "Qwen3ForCausalLM"),
                    names=_NAMES, layers="model.layers."),
    "gemma": Layout(config=lambda k: _gemma(k, "gemma", "GemmaForCausalLM"),
                    names=_NAMES, layers="model.layers.", around_one=True),
    "gemma2": Layout(config=_gemma2, names=_BOTH_SIDES, layers="model.layers.", around_one=True),
    "gemma3": Layout(config=_gemma3, names=_BOTH_SIDES, layers="model.layers.", around_one=True),
    "gpt2": Layout(config=_gpt2, names=_GPT2_NAMES, layers="transformer.h.",
                   transposed=("attn_qkv", "attn_output", "ffn_up", "ffn_down")),
}
# fmt: on
"""By `general.architecture`."""
