"""GPT-NeoX (Black et al. 2022, arXiv:2204.06745) and Pythia (Biderman et al. 2023, 2304.01373).

Against GPT-2: rotary positions on a quarter of each head, and attention and feed-forward part
side by side, each with its own norm of the same input (as in GPT-J); the output matrix is not
the token table.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import GPT_OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Names, Paper, both, refuse, sizes_to_hf
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.models.rope import read_rope
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, LayerKind, StackConfig


def _size(layers: int, dim: int, heads: int, vocab: int = 50_304) -> ModelConfig:
    return ModelConfig(
        family="gpt-neox", layers=layers, dim=dim, heads=heads, context=2048, vocab=vocab,
        tied=False, bias=True,
    )  # fmt: skip


SIZES = {
    "pythia-14m": _size(6, 128, 4),
    "pythia-70m": _size(6, 512, 8),
    "pythia-160m": _size(12, 768, 12),
    "pythia-410m": _size(24, 1024, 16),
    "pythia-1b": _size(16, 2048, 8),
    "pythia-1.4b": _size(24, 2048, 16),
    "pythia-2.8b": _size(32, 2560, 32),
    "pythia-6.9b": _size(32, 4096, 32, 50_432),
    "pythia-12b": _size(36, 5120, 40, 50_688),
    "gpt-neox-20b": _size(44, 6144, 64, 50_432),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new GPT-NeoX; `bias` is that of attention, the rest always has one."""
    refuse(c, "window", "experts")
    return {
        **sizes_to_hf(c),
        "intermediate_size": c.hidden or 4 * c.dim,
        "hidden_act": c.act or "gelu",
        "layer_norm_eps": c.norm_eps,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": c.rope_theta,
            "partial_rotary_factor": 0.25,
        },
        "attention_bias": c.bias,
        "attention_dropout": c.dropout,
        "hidden_dropout": c.dropout,
        "use_parallel_residual": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of a GPT-NeoX config.json."""
    vocab = h.integer("vocab_size", "vocabulary", 50_432)
    dim = h.integer("hidden_size", "width", 6144)
    heads = h.integer("num_attention_heads", "heads", 64)
    head_dim = h.quotient("num_attention_heads", dim, heads)
    context = h.integer("max_position_embeddings", "positions", 2048)
    bias = h.flag("attention_bias", True)
    eps, dropout = h.number("layer_norm_eps", 1e-12, 1, 1e-5), h.number("hidden_dropout", 0, 1, 0.0)
    return Architecture(
        embed=EmbedConfig(vocab=vocab, dim=dim, dropout=dropout),
        stack=StackConfig(
            layers=h.integer("num_hidden_layers", "layers", 44),
            dim=dim, heads=heads, kv_heads=heads, head_dim=head_dim,
            hidden=h.integer("intermediate_size", "width", 24_576),
            causal=True,
            norm="layer",
            norm_eps=eps,
            act=h.choice("hidden_act", ACTIVATION_NAMES, "gelu"),
            gated=False,
            parallel=h.flag("use_parallel_residual", True),
            bias_qkv=bias,
            bias_out=bias,
            bias_ffn=True,
            kinds=(LayerKind(rope=_rope(h, context, head_dim)),),
            dropout=dropout,
            dropout_attention=h.number("attention_dropout", 0, 1, 0.0),
        ),
        head=HeadConfig(vocab=vocab, dim=dim, tied=h.flag("tie_word_embeddings", False)),
        context=context,
        init=InitConfig(std=h.number("initializer_range", 0, 10, 0.02)),
    )  # fmt: skip


def _rope(h: Reader, context: int, head_dim: int) -> Any:
    """Older files keep `rotary_pct` and `rotary_emb_base` beside the other keys."""
    rope = read_rope(h, context, h.number("rotary_emb_base", 1, 1e12, 10_000.0))
    if not h.section("rope_parameters").has("partial_rotary_factor"):
        rope = replace(rope, share=h.number("rotary_pct", 0, 1, 0.25))
    if int(head_dim * rope.share) % 2:
        raise h.fault("rotary_pct", f"rotates {int(head_dim * rope.share)} values, not pairs")
    return rope


def names(a: Architecture) -> Names:
    """Tensor names of GPTNeoXForCausalLM, which keeps queries, keys, values head by head."""
    # fmt: off
    t, o, c = "gpt_neox.layers.#.", "stack.blocks.#.", a.stack
    qkv = both(t + "attention.query_key_value", o + "attn.body.qkv", bias=c.bias_qkv)
    rows = (
        *both("gpt_neox.embed_in",             "embed.tokens", bias=False),
        *both(t + "input_layernorm",           o + "attn.norm_in"),
        *(replace(row, heads=c.heads) for row in qkv),
        *both(t + "attention.dense",           o + "attn.body.o", bias=c.bias_out),
        *both(t + "post_attention_layernorm",  o + "ffn.norm_in"),
        *both(t + "mlp.dense_h_to_4h",         o + "ffn.body.up"),
        *both(t + "mlp.dense_4h_to_h",         o + "ffn.body.down"),
        *both("gpt_neox.final_layer_norm",     "stack.norm"),
    )
    # fmt: on
    buffers = ("bias", "masked_bias", "rotary_emb.inv_freq")
    ignored = tuple(f"{t}attention.{buffer}" for buffer in buffers)
    spelt = (("lm_head.weight", "embed_out.weight"),)
    return Names(rows, "gpt_neox.", ignored, renamed=spelt)


PAPERS = (
    Paper("GPT-NeoX-20B: An Open-Source Autoregressive Language Model", "Black et al.", 2022,
          "2204.06745"),
    Paper("Pythia: A Suite for Analyzing Large Language Models Across Training and Scaling",
          "Biderman et al.", 2023, "2304.01373"),
)  # fmt: skip
GPT_NEOX = decoder(
    Family(
        "gpt-neox", "gpt_neox", decoder_heads("GPTNeoX", *GPT_OUT), SIZES, to_hf, from_hf, names,
        PAPERS, after="gpt2",
    ),
    out=GPT_OUT,
    vocabulary="embed_out",
)  # fmt: skip
