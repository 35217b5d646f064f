"""GPT-2 (Radford et al. 2019): the Transformer decoder with the norm before each branch.

Learned positions, LayerNorm, GELU (tanh form), biases everywhere, the token table as output.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import GPT_OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Names, Paper, Row, both, refuse
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, StackConfig


def _size(layers: int, dim: int, heads: int) -> ModelConfig:
    return ModelConfig(
        family="gpt2", layers=layers, dim=dim, heads=heads, context=1024, vocab=50_257,
        tied=True, bias=True, dropout=0.0,
    )  # fmt: skip


SIZES = {
    "gpt2-124m": _size(12, 768, 12),
    "gpt2-355m": _size(24, 1024, 16),
    "gpt2-774m": _size(36, 1280, 20),
    "gpt2-1.5b": _size(48, 1600, 25),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new GPT-2; without biases it says so under `ownlm`."""
    refuse(c, "window", "experts")
    return plain_to_hf(c)


def plain_to_hf(c: ModelConfig) -> dict[str, Any]:
    """The keys of a GPT-2 config.json."""
    return {
        "vocab_size": c.vocab,
        "n_positions": c.context,
        "n_embd": c.dim,
        "n_layer": c.layers,
        "n_head": c.heads,
        "n_inner": c.hidden or 4 * c.dim,
        "activation_function": c.act or "gelu_new",
        "layer_norm_epsilon": c.norm_eps,
        "embd_pdrop": c.dropout,
        "attn_pdrop": c.dropout,
        "resid_pdrop": c.dropout,
        "tie_word_embeddings": c.tied,
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": None,
        "ownlm": {"bias": c.bias},
    }


def from_hf(h: Reader, head_dim: int = 0) -> Architecture:
    """The architecture of a GPT-2 config.json; `head_dim` 0 is width / heads."""
    h.require({
        "add_cross_attention": (False,),
        "scale_attn_by_inverse_layer_idx": (False,),
    })  # fmt: skip
    vocab, dim = h.integer("vocab_size", "vocabulary", 50_257), h.integer("n_embd", "width", 768)
    context, eps = h.integer("n_positions", "positions", 1024), _eps(h)
    heads, bias = h.integer("n_head", "heads", 12), h.section("ownlm").flag("bias", True)
    drop = {key: h.number(key, 0, 1, 0.1) for key in ("embd_pdrop", "attn_pdrop", "resid_pdrop")}
    return Architecture(
        embed=EmbedConfig(
            vocab=vocab, dim=dim, positions="learned", max_len=context, dropout=drop["embd_pdrop"]
        ),
        stack=StackConfig(
            layers=h.integer("n_layer", "layers", 12),
            dim=dim,
            heads=heads,
            kv_heads=heads,
            head_dim=head_dim or h.quotient("n_head", dim, heads),
            hidden=h.integer("n_inner", "width", 4 * dim),
            causal=True,
            norm="layer" if bias else "layer_no_bias",
            norm_eps=eps,
            act=h.choice("activation_function", ACTIVATION_NAMES, "gelu_new"),
            gated=False,
            bias_qkv=bias,
            bias_out=bias,
            bias_ffn=bias,
            scale=None if h.flag("scale_attn_weights", True) else 1.0,
            dropout=drop["resid_pdrop"],
            dropout_attention=drop["attn_pdrop"],
        ),
        head=HeadConfig(vocab=vocab, dim=dim, tied=h.flag("tie_word_embeddings", True)),
        context=context,
        init=InitConfig(std=h.number("initializer_range", 0, 10, 0.02)),
    )


def _eps(h: Reader) -> float:
    return h.number("layer_norm_epsilon", 1e-12, 1, 1e-5)


def names(a: Architecture) -> Names:
    """Tensor names of GPT2LMHeadModel; its Conv1D keeps matrices as (in, out)."""
    # fmt: off
    t, o = "transformer.h.#.", "stack.blocks.#."
    def norm(theirs: str, ours: str) -> tuple[Row, ...]:
        return both(theirs, ours, bias=a.stack.norm == "layer", zero_bias=True)

    def conv(theirs: str, ours: str) -> tuple[Row, ...]:
        return both(theirs, ours, bias=a.stack.bias_ffn, zero_bias=True, transpose=True)

    rows = (
        *both("transformer.wte",  "embed.tokens",    bias=False),
        *both("transformer.wpe",  "embed.positions", bias=False),
        *norm(t + "ln_1",         o + "attn.norm_in"),
        *conv(t + "attn.c_attn",  o + "attn.body.qkv"),
        *conv(t + "attn.c_proj",  o + "attn.body.o"),
        *norm(t + "ln_2",         o + "ffn.norm_in"),
        *conv(t + "mlp.c_fc",     o + "ffn.body.up"),
        *conv(t + "mlp.c_proj",   o + "ffn.body.down"),
        *norm("transformer.ln_f", "stack.norm"),
    )
    # fmt: on
    return Names(rows, "transformer.", (t + "attn.bias", t + "attn.masked_bias"))


PAPER = Paper("Language Models are Unsupervised Multitask Learners", "Radford et al.", 2019,
              place="OpenAI, gpt-2")  # fmt: skip
GPT2 = decoder(
    Family(
        "gpt2", "gpt2", decoder_heads("GPT2", *GPT_OUT, writes="LMHeadModel"), SIZES, to_hf,
        from_hf, names, (PAPER,), after="gpt1",
    ),
    out=GPT_OUT,
)  # fmt: skip
