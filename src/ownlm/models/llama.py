"""LLaMA (Touvron et al. 2023, arXiv:2302.13971; LLaMA 3, arXiv:2407.21783).

Against GPT-2: RMSNorm, rotary positions, a gated feed-forward part (SwiGLU), no biases, and
from LLaMA 2 on fewer key/value heads than query heads.
"""

from dataclasses import replace
from typing import Any

from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names, Row, both, refuse
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.models.rope import read_rope
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, LayerKind, StackConfig


def _size(
    layers: int,
    dim: int,
    heads: int,
    hidden: int,
    context: int,
    vocab: int,
    kv_heads: int = 0,
    tied: bool = False,
    rope_theta: float = 10_000.0,
) -> ModelConfig:
    return ModelConfig(
        family="llama", layers=layers, dim=dim, heads=heads, kv_heads=kv_heads, hidden=hidden,
        context=context, vocab=vocab, tied=tied, rope_theta=rope_theta,
    )  # fmt: skip


SIZES = {
    # TinyStories models of llama2.c
    "llama-260k": _size(5, 64, 8, 172, 512, 512, kv_heads=4, tied=True),
    "llama-15m": _size(6, 288, 6, 768, 256, 32_000, tied=True),
    "llama-42m": _size(8, 512, 8, 1376, 1024, 32_000, tied=True),
    "llama-110m": _size(12, 768, 12, 2048, 1024, 32_000, tied=True),
    "llama-7b": _size(32, 4096, 32, 11_008, 2048, 32_000),
    "llama2-7b": _size(32, 4096, 32, 11_008, 4096, 32_000),
    "llama3-8b": _size(32, 4096, 32, 14_336, 8192, 128_256, kv_heads=8, rope_theta=500_000.0),
}


MIXTURE = ("experts", "experts_chosen")
"""Choices that only mixtures of experts have."""


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new LLaMA."""
    refuse(c, "window", *MIXTURE)
    return _to_hf(c)


def relative_to_hf(
    c: ModelConfig, model_type: str, architecture: str, **changes: Any
) -> dict[str, Any]:
    """config.json of a relative of LLaMA that leaves no choice about biases."""
    refuse(c, "bias", *(() if "num_experts_per_tok" in changes else MIXTURE))
    values = {k: v for k, v in _to_hf(c).items() if k not in ("attention_bias", "mlp_bias")}
    return values | {"architectures": [architecture], "model_type": model_type} | changes


def _to_hf(c: ModelConfig) -> dict[str, Any]:
    """ConfigError when heads cannot be rotated in pairs."""
    head_dim = c.head_dim or c.dim // c.heads
    if head_dim % 2:
        raise ConfigError(
            f"rotary positions turn pairs, but a head is {head_dim} wide",
            where="model.heads",
            next_command="choose heads so that dim / heads is even, or set head_dim",
        )
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": c.vocab,
        "max_position_embeddings": c.context,
        "hidden_size": c.dim,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads or c.heads,
        "head_dim": head_dim,
        "intermediate_size": c.hidden or gated_width(c.dim),
        "hidden_act": c.act or "silu",
        "rms_norm_eps": c.norm_eps,
        "rope_theta": c.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
        "attention_bias": c.bias,
        "mlp_bias": c.bias,
        "attention_dropout": c.dropout,
        "tie_word_embeddings": c.tied,
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": None,
        "ownlm": {"dropout": c.dropout},
    }


def gated_width(dim: int) -> int:
    """Two thirds of 4 dim, so that three matrices cost what two did; a multiple of 32."""
    return -(-8 * dim // 3 // 32) * 32


def from_hf(
    h: Reader,
    *,
    tied: bool = False,
    theta: float = 10_000.0,
    eps: float = 1e-6,
    head_dim: int = 0,
) -> Architecture:
    """The architecture of a LLaMA config.json; relatives differ in what an absent key means."""
    h.require({"pretraining_tp": (1,)})
    vocab = h.integer("vocab_size", "vocabulary", 32_000)
    dim = h.integer("hidden_size", "width", 4096)
    context = h.integer("max_position_embeddings", "positions", 2048)
    heads = h.integer("num_attention_heads", "heads", 32)
    kv_heads = h.integer("num_key_value_heads", "heads", heads)
    if heads % kv_heads:
        raise h.fault("num_key_value_heads", f"{heads} heads are no multiple of {kv_heads}")
    if not h.has("head_dim") and not head_dim and dim % heads:
        raise h.fault("num_attention_heads", f"hidden_size {dim} is no multiple of {heads}")
    head_dim = h.integer("head_dim", "width", head_dim or dim // heads)
    if head_dim % 2:
        raise h.fault("head_dim", f"rotary positions need an even width, found {head_dim}")
    dropout = h.section("ownlm").number("dropout", 0, 1, 0.0)
    return Architecture(
        embed=EmbedConfig(vocab=vocab, dim=dim, dropout=dropout),
        stack=StackConfig(
            layers=h.integer("num_hidden_layers", "layers", 32),
            dim=dim,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            hidden=h.integer("intermediate_size", "width", 11_008),
            causal=True,
            norm="rms",
            norm_eps=h.number("rms_norm_eps", 1e-12, 1, eps),
            act=h.choice("hidden_act", ACTIVATION_NAMES, "silu"),
            gated=True,
            bias_qkv=h.flag("attention_bias", False),
            bias_out=h.flag("attention_bias", False),
            bias_ffn=h.flag("mlp_bias", False),
            kinds=(LayerKind(rope=read_rope(h, context, theta)),),
            dropout=dropout,
            dropout_attention=h.number("attention_dropout", 0, 1, 0.0),
        ),
        head=HeadConfig(vocab=vocab, dim=dim, tied=h.flag("tie_word_embeddings", tied)),
        context=context,
        init=InitConfig(std=h.number("initializer_range", 0, 10, 0.02)),
    )


def with_stack(a: Architecture, **changes: Any) -> Architecture:
    """The same architecture but for some fields of its stack."""
    return replace(a, stack=replace(a.stack, **changes))


def names(a: Architecture) -> Names:
    """Tensor names of LlamaForCausalLM and of its relatives that norm elsewhere too."""
    # fmt: off
    t, o, c = "model.layers.#.", "stack.blocks.#.", a.stack
    heads = tuple(f"{t}self_attn.{p}_proj" for p in "qkv")
    gates = tuple(f"{t}mlp.{p}_proj" for p in ("gate", "up"))
    rows = (
        *both("model.embed_tokens",            "embed.tokens",      bias=False),
        *both(heads,                           o + "attn.body.qkv", bias=c.bias_qkv, sizes=c.qkv),
        *both(t + "self_attn.o_proj",          o + "attn.body.o",   bias=c.bias_out),
        *both(gates,                           o + "ffn.body.gate_up", bias=c.bias_ffn),
        *both(t + "mlp.down_proj",             o + "ffn.body.down", bias=c.bias_ffn),
        *both("model.norm",                    "stack.norm",        bias=False),
        *norm_names(a),
    )
    # fmt: on
    ignored = (t + "self_attn.rotary_emb.inv_freq",)
    if a.head.tied:
        return Names(rows, "model.", (*ignored, "lm_head.weight"))
    return Names((*rows, *both("lm_head", "head", bias=False)), "model.", ignored)


# fmt: off
_NORMS = {
    "pre":    ("input_layernorm", "",                         "post_attention_layernorm",  ""),
    "both":   ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
               "post_feedforward_layernorm"),
    "branch": ("",                "post_attention_layernorm", "", "post_feedforward_layernorm"),
}
# fmt: on


def norm_names(a: Architecture) -> tuple[Row, ...]:
    """Names of a layer's norms: before and after attention, then feed-forward; queries, keys."""
    t, o = "model.layers.#.", "stack.blocks.#."
    ours = ("attn.norm_in", "attn.norm_out", "ffn.norm_in", "ffn.norm_out")
    pairs = list(zip(_NORMS[a.stack.norm_at], ours, strict=True))
    if a.stack.qk_norm:
        pairs += [(f"self_attn.{p}_norm", f"attn.body.{p}_norm") for p in "qk"]
    return tuple(
        row for theirs, our in pairs if theirs for row in both(t + theirs, o + our, bias=False)
    )


LLAMA = Family(
    name="llama",
    model_types=("llama",),
    architectures=("LlamaForCausalLM", "LlamaModel"),
    sizes=SIZES,
    to_hf=to_hf,
    from_hf=from_hf,
    names=names,
)
