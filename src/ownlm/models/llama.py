"""LLaMA (Touvron et al. 2023, arXiv:2302.13971; LLaMA 3, arXiv:2407.21783).

Against GPT-2: RMSNorm, rotary positions, a gated feed-forward part (SwiGLU), no biases, and
from LLaMA 2 on fewer key/value heads than query heads.
"""

from typing import Any

from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.decoders import OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Paper, refuse, sizes_to_hf
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.models.llama_names import names
from ownlm.models.rope import read_rope
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, LayerKind, StackConfig


def _size(
    layers: int, dim: int, heads: int, hidden: int, context: int, vocab: int, **more: Any
) -> ModelConfig:
    return ModelConfig(
        family="llama", layers=layers, dim=dim, heads=heads, hidden=hidden, context=context,
        vocab=vocab, **{"tied": False} | more,
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


def relative_to_hf(c: ModelConfig, **changes: Any) -> dict[str, Any]:
    """config.json of a relative of LLaMA that leaves no choice about biases."""
    refuse(c, "bias", *(() if "num_experts_per_tok" in changes else MIXTURE))
    values = {k: v for k, v in _to_hf(c).items() if k not in ("attention_bias", "mlp_bias")}
    return values | changes


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
        **sizes_to_hf(c),
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
    if not h.has("head_dim"):
        head_dim = head_dim or h.quotient("num_attention_heads", dim, heads)
    head_dim = h.integer("head_dim", "width", head_dim)
    if head_dim % 2:
        raise h.fault("head_dim", f"rotary positions need an even width, found {head_dim}")
    dropout = h.section("ownlm").number("dropout", 0, 1, 0.0)
    return Architecture(
        embed=EmbedConfig(vocab=vocab, dim=dim, dropout=dropout),
        stack=StackConfig(
            layers=h.integer("num_hidden_layers", "layers", 32), dim=dim, heads=heads,
            kv_heads=kv_heads, head_dim=head_dim,
            hidden=h.integer("intermediate_size", "width", 11_008),
            causal=True, norm="rms", norm_eps=h.number("rms_norm_eps", 1e-12, 1, eps),
            act=h.choice("hidden_act", ACTIVATION_NAMES, "silu"), gated=True,
            bias_qkv=h.flag("attention_bias", False), bias_out=h.flag("attention_bias", False),
            bias_ffn=h.flag("mlp_bias", False),
            kinds=(LayerKind(rope=read_rope(h, context, theta)),),
            dropout=dropout,
            dropout_attention=h.number("attention_dropout", 0, 1, 0.0),
        ),
        head=HeadConfig(vocab=vocab, dim=dim, tied=h.flag("tie_word_embeddings", tied)),
        context=context,
        init=InitConfig(std=h.number("initializer_range", 0, 10, 0.02)),
    )  # fmt: skip


PAPERS = (
    Paper("LLaMA: Open and Efficient Foundation Language Models", "Touvron et al.", 2023,
          "2302.13971"),
    Paper("The Llama 3 Herd of Models", "Grattafiori et al.", 2024, "2407.21783"),
)  # fmt: skip
LLAMA = decoder(
    Family(
        "llama", "llama", decoder_heads("Llama", *OUT), SIZES, to_hf, from_hf, names, PAPERS,
        after="gpt2", example="llama3-8b",
    ),
    span_prefix="transformer.",
)  # fmt: skip
