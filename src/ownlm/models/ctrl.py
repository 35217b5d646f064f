"""CTRL (Keskar et al. 2019, arXiv:1909.05858): text under the control of its first token.

A control code (Links, Books, Reviews, ...) is an ordinary token that begins each text in
training; at inference it decides domain and style. Against GPT-2: sinusoidal positions,
embeddings scaled by sqrt(dim), ReLU, and an output matrix, tied to the token table, with a bias.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Names, Paper, both, refuse
from ownlm.models.heads import SEQUENCE
from ownlm.models.hf_config import Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, StackConfig

SIZES = {
    "ctrl-1.6b": ModelConfig(
        family="ctrl", layers=48, dim=1280, heads=16, hidden=8192, context=256, vocab=246_534,
        tied=True, bias=True, norm_eps=1e-6,
    ),
}  # fmt: skip


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new CTRL, which has biases everywhere; its norms add 1e-6."""
    refuse(c, "window", "act", "experts")
    return {
        "vocab_size": c.vocab,
        "n_positions": c.context,
        "n_embd": c.dim,
        "dff": c.hidden or 4 * c.dim,
        "n_layer": c.layers,
        "n_head": c.heads,
        "resid_pdrop": c.dropout,
        "embd_pdrop": c.dropout,
        "layer_norm_epsilon": 1e-6,
        "tie_word_embeddings": c.tied,
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of a CTRL config.json."""
    h.require({"layer_norm_epsilon": (1e-6,)})
    vocab, dim = h.integer("vocab_size", "vocabulary", 246_534), h.even("n_embd", "width", 1280)
    context, heads = h.integer("n_positions", "positions", 256), h.integer("n_head", "heads", 16)
    return Architecture(
        embed=EmbedConfig(
            vocab=vocab,
            dim=dim,
            positions="sinusoidal",
            scale=dim**0.5,
            dropout=h.number("embd_pdrop", 0, 1, 0.1),
        ),
        stack=StackConfig(
            layers=h.integer("n_layer", "layers", 48),
            dim=dim,
            heads=heads,
            kv_heads=heads,
            head_dim=h.quotient("n_head", dim, heads),
            hidden=h.integer("dff", "width", 8192),
            causal=True,
            norm="layer",
            norm_eps=1e-6,
            act="relu",
            gated=False,
            bias_qkv=True,
            bias_out=True,
            bias_ffn=True,
            dropout=h.number("resid_pdrop", 0, 1, 0.1),
        ),
        head=HeadConfig(vocab=vocab, dim=dim, tied=h.flag("tie_word_embeddings", True), bias=True),
        context=context,
        init=InitConfig(std=h.number("initializer_range", 0, 10, 0.02)),
    )


def names(a: Architecture) -> Names:
    """Tensor names of CTRLLMHeadModel."""
    # fmt: off
    t, o = "transformer.h.#.", "stack.blocks.#."
    heads = tuple(f"{t}multi_head_attention.W{p}" for p in "qkv")
    rows = (
        *both("transformer.w",                    "embed.tokens", bias=False),
        *both(t + "layernorm1",                   o + "attn.norm_in"),
        *both(heads,                              o + "attn.body.qkv"),
        *both(t + "multi_head_attention.dense",   o + "attn.body.o"),
        *both(t + "layernorm2",                   o + "ffn.norm_in"),
        *both(t + "ffn.0",                        o + "ffn.body.up"),
        *both(t + "ffn.2",                        o + "ffn.body.down"),
        *both("transformer.layernorm",            "stack.norm"),
    )
    # fmt: on
    return Names(rows, "transformer.")


PAPER = Paper("CTRL: A Conditional Transformer Language Model for Controllable Generation",
              "Keskar et al.", 2019, "1909.05858")  # fmt: skip
CTRL = decoder(
    Family(
        "ctrl", "ctrl", decoder_heads("CTRL", SEQUENCE, writes="LMHeadModel"), SIZES, to_hf,
        from_hf, names, (PAPER,), after="gpt2",
    ),
    out={SEQUENCE: "classifier"},
)  # fmt: skip
