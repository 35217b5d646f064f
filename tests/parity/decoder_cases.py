"""Decoders that transformers is to build: one row a family or variant."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

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

FAR: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_100.0}
SLIDING = {"use_sliding_window": True, "sliding_window": 48, "max_window_layers": 1}
UPPERMOST = ["full_attention", "full_attention", "sliding_attention"]
WIDE = {"head_dim": 12}
SMOLLM3 = {"num_hidden_layers": 4, "pad_token_id": 0}
GEMMA2 = {
    "query_pre_attn_scalar": 20,
    "sliding_window": 48,
    "attn_logit_softcapping": 2.0,
    "final_logit_softcapping": 30.0,
}


def _near(factor: float) -> dict[str, Any]:
    return {"rope_type": "linear", "rope_theta": 10_000.0, "factor": factor}


GEMMA3 = {
    "query_pre_attn_scalar": 20,
    "sliding_window": 48,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {"full_attention": _near(8.0), "sliding_attention": _near(1.0)},
}


NEOX = SMALL | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 340,
}
PHI3 = LLAMA | {"pad_token_id": 0, "sliding_window": 48}
MIXTRAL = {"num_local_experts": 5, "num_experts_per_tok": 2}
QWEN3_MOE = {"num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 20}


def _longrope(original: int, longest: int, pairs: int = 4) -> dict[str, Any]:
    short, long = ([1.0 + step * pair for pair in range(pairs)] for step in (0.1, 0.7))
    lengths = {
        "original_max_position_embeddings": original,
        "max_position_embeddings": longest,
        "sliding_window": None,
    }
    return lengths | _rope("longrope", short_factor=short, long_factor=long)


class Case(NamedTuple):
    """A reference model, and options of its config.json that must be noticed when changed."""

    model: str
    """Class in transformers."""
    values: dict[str, Any]
    wrong: Mapping[str, Any] = MappingProxyType({})
    heads: tuple[str, ...] = ()
    """What else stands on such a stack: endings of the class's name."""
    built: Mapping[str, Any] = MappingProxyType({})
    """A new model of ours (ModelConfig) that transformers is to read; empty: none."""


ONE = ("Model", "ForSequenceClassification")
TWO = (*ONE, "ForTokenClassification")
THREE = (*TWO, "ForQuestionAnswering")

# One row a variant: what transformers is to build, and what a wrong reading of it would be.
DECODERS: dict[str, Case] = {
    "gpt2": Case(
        "GPT2LMHeadModel",
        GPT2,
        {"layer_norm_epsilon": 0.01, "activation_function": "gelu", "n_head": 8},
        heads=THREE,
    ),
    "gpt2-untied": Case("GPT2LMHeadModel", GPT2 | {"tie_word_embeddings": False}),
    "gpt2-relu-unscaled": Case(
        "GPT2LMHeadModel",
        GPT2 | {"activation_function": "relu", "scale_attn_weights": False, "n_inner": 40},
    ),
    "llama": Case(
        "LlamaForCausalLM", LLAMA, {"rms_norm_eps": 0.01, "hidden_act": "gelu"}, heads=THREE
    ),
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
    "mistral": Case(
        "MistralForCausalLM",
        LLAMA | {"sliding_window": 48},
        {"sliding_window": 49},
        heads=THREE,
        built={"kv_heads": 2, "window": 48},
    ),
    "mistral-no-window": Case("MistralForCausalLM", LLAMA | {"sliding_window": None}),
    "qwen2": Case(
        "Qwen2ForCausalLM",
        LLAMA,
        {"rms_norm_eps": 0.01, "rope_parameters": FAR},
        heads=THREE,
        built={"kv_heads": 2, "window": 48},
    ),
    "qwen2-upper-layers-slide": Case(
        "Qwen2ForCausalLM", LLAMA | SLIDING, {"layer_types": UPPERMOST, "sliding_window": 49}
    ),
    "qwen3": Case(
        "Qwen3ForCausalLM",
        LLAMA | WIDE,
        {"rms_norm_eps": 0.01},
        heads=THREE,
        built={"kv_heads": 2, "head_dim": 12},
    ),
    "qwen3-upper-layers-slide-tied": Case(
        "Qwen3ForCausalLM",
        LLAMA | WIDE | SLIDING | {"tie_word_embeddings": True, "attention_bias": True},
        {"layer_types": UPPERMOST},
    ),
    "olmo2": Case(
        "Olmo2ForCausalLM",
        LLAMA,
        {"rms_norm_eps": 0.01, "rope_parameters": FAR},
        heads=ONE,
        built={"tied": False},
    ),
    "smollm3": Case(
        "SmolLM3ForCausalLM",
        LLAMA | SMOLLM3,
        {"no_rope_layers": [1, 1, 1, 1], "rope_parameters": FAR},
        heads=THREE,
        built={"layers": 5},
    ),
    "smollm3-slides": Case(
        "SmolLM3ForCausalLM",
        LLAMA | SMOLLM3 | {"use_sliding_window": True, "sliding_window": 48},
        {"sliding_window": 49},
    ),
    "gemma": Case(
        "GemmaForCausalLM", LLAMA | WIDE, {"rms_norm_eps": 0.01}, heads=TWO, built={"kv_heads": 1}
    ),
    "gemma2": Case(
        "Gemma2ForCausalLM",
        LLAMA | WIDE | GEMMA2,
        {
            "attn_logit_softcapping": 2.1,
            "final_logit_softcapping": 31.0,
            "query_pre_attn_scalar": 21,
            "sliding_window": 49,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
        heads=TWO,
        built={"kv_heads": 2, "window": 48},
    ),
    "gemma2-no-caps": Case(
        "Gemma2ForCausalLM",
        LLAMA | WIDE | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
    "gemma3": Case(
        "Gemma3ForCausalLM",
        LLAMA | WIDE | GEMMA3,
        {
            "query_pre_attn_scalar": 21,
            "sliding_window": 49,
            "rope_parameters": {"full_attention": _near(8.1), "sliding_attention": _near(1.0)},
        },
        heads=tuple(f"Text{head}" for head in ONE),
        built={"kv_heads": 2, "window": 48, "layers": 7},
    ),
    "gpt-neox": Case(
        "GPTNeoXForCausalLM",
        NEOX,
        {"layer_norm_eps": 0.01, "hidden_act": "relu"},
        heads=THREE,
        built={"bias": True, "tied": False},
    ),
    "gpt-neox-in-turn-tied": Case(
        "GPTNeoXForCausalLM",
        NEOX
        | {"use_parallel_residual": False, "tie_word_embeddings": True, "attention_bias": False}
        | _rope("default", partial_rotary_factor=1.0),
        {"use_parallel_residual": True},
    ),
    "gpt1": Case(
        "OpenAIGPTLMHeadModel",
        GPT2,
        {"layer_norm_epsilon": 0.01, "afn": "relu"},
        heads=ONE,
        built={"bias": True},
    ),
    "phi3": Case(
        "Phi3ForCausalLM",
        PHI3,
        {"rms_norm_eps": 0.01, "sliding_window": 49},
        heads=TWO,
        built={"kv_heads": 2, "window": 48},
    ),
    "phi3-longrope-short": Case(
        "Phi3ForCausalLM",
        PHI3 | _longrope(original=330, longest=660),
        {"max_position_embeddings": 990},
    ),
    "phi3-longrope-long-in-part": Case(
        "Phi3ForCausalLM",
        PHI3 | {"partial_rotary_factor": 0.75} | _longrope(original=50, longest=400, pairs=3),
        {"original_max_position_embeddings": 330},
    ),
    "mixtral": Case(
        "MixtralForCausalLM",
        LLAMA | MIXTRAL,
        {"rms_norm_eps": 0.01, "num_experts_per_tok": 1},
        heads=THREE,
        built={"kv_heads": 2, "experts": 3},
    ),
    "qwen3-moe": Case(
        "Qwen3MoeForCausalLM",
        LLAMA | WIDE | QWEN3_MOE | {"norm_topk_prob": True},
        {"norm_topk_prob": False},
        heads=THREE,
        built={"experts": 6, "experts_chosen": 2},
    ),
    "qwen3-moe-shares-as-they-are": Case("Qwen3MoeForCausalLM", LLAMA | WIDE | QWEN3_MOE),
    "ctrl": Case(
        "CTRLLMHeadModel", GPT2 | {"dff": 40}, {"n_head": 8}, heads=ONE, built={"bias": True}
    ),
}
