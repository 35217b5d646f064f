"""Transformer-XL (Dai et al. 2019, arXiv:1901.02860): attention beyond a fixed length.

Against GPT-1: positions are distances, seen by the scores alone (3.3), so that what was read
before can be read on; and each segment of a text sees the memory of the one before it (3.2).
`model.new_memory()` makes a memory; give it as `cache` with every segment, in training too.

transformers has dropped the class; config.json and tensors are named as there, model_type
"transfo-xl", for models with one softmax over the vocabulary (`cutoffs` empty: the paper's
character models). The adaptive softmax of its word model is not read.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Names, Paper, Row, both, refuse
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, LayerKind, StackConfig


def _size(layers: int, dim: int, hidden: int, vocab: int, **values: Any) -> ModelConfig:
    return ModelConfig(
        family="transformer-xl", layers=layers, dim=dim, heads=8, hidden=hidden, vocab=vocab,
        tied=True, **({"context": 512, "memory": 512, "dropout": 0.1} | values),
    )  # fmt: skip


SIZES = {
    "transformer-xl-41m": _size(12, 512, 2048, 204),  # enwik8, bytes
    "transformer-xl-277m": _size(24, 1024, 3072, 204, context=768, memory=768, dropout=0.15),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Transformer-XL; `memory` 0 is the context's length."""
    refuse(c, "kv_heads", "window", "experts", "pattern")
    return {
        "vocab_size": c.vocab,
        "cutoffs": [],
        "div_val": 1,
        "adaptive": False,
        "tgt_len": c.context,
        "mem_len": c.memory or c.context,
        "clamp_len": 0,
        "same_length": False,
        "d_model": c.dim,
        "d_embed": c.dim,
        "d_head": c.head_dim or c.dim // c.heads,
        "d_inner": c.hidden or 4 * c.dim,
        "n_head": c.heads,
        "n_layer": c.layers,
        "dropout": c.dropout,
        "dropatt": 0.0,
        "untie_r": True,
        "pre_lnorm": False,
        "attn_type": 0,
        "layer_norm_epsilon": c.norm_eps,
        "tie_word_embeddings": c.tied,
        "init_std": 0.02,
        "ownlm": {"act": c.act or "relu"},
        "bos_token_id": None,
        "eos_token_id": None,
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of such a config.json."""
    h.require({
        "cutoffs": ([],), "div_val": (1,), "untie_r": (True,), "pre_lnorm": (False,),
        "attn_type": (0,),
    })  # fmt: skip
    vocab, dim = h.integer("vocab_size", "vocabulary"), h.even("d_model", "width", 1024)
    h.require({"d_embed": (dim, None)})
    heads, dropout = h.integer("n_head", "heads", 16), h.number("dropout", 0, 1, 0.1)
    memory = h.integer("mem_len", "positions", 1600)
    kind = LayerKind(window=memory if h.flag("same_length", False) else 0)
    return Architecture(
        embed=EmbedConfig(vocab=vocab, dim=dim, scale=dim**0.5, dropout=dropout),
        stack=StackConfig(
            layers=h.integer("n_layer", "layers", 18),
            dim=dim,
            heads=heads,
            kv_heads=heads,
            head_dim=h.integer("d_head", "width", 64),
            hidden=h.integer("d_inner", "width", 4096),
            causal=True,
            norm="layer",
            norm_at="post",
            norm_eps=h.number("layer_norm_epsilon", 1e-12, 1, 1e-5),
            act=h.section("ownlm").choice("act", ACTIVATION_NAMES, "relu"),
            gated=False,
            kinds=(kind,),
            bias_ffn=True,
            dropout=dropout,
            dropout_attention=h.number("dropatt", 0, 1, 0.0),
            dropout_hidden=dropout,
            dropout_last=dropout,
        ),
        head=HeadConfig(vocab=vocab, dim=dim, tied=h.flag("tie_word_embeddings", True), bias=True),
        context=h.integer("tgt_len", "positions", 128),
        init=InitConfig(policy="plain", std=h.number("init_std", 0, 10, 0.02)),
    )


def names(a: Architecture) -> Names:
    """Tensor names of TransfoXLLMHeadModel."""
    # fmt: off
    t, o = "transformer.layers.#.", "stack.blocks.#."
    rows = (
        *both("transformer.word_emb.emb_layers.0", "embed.tokens", bias=False),
        *both(t + "dec_attn.qkv_net",     o + "attn.body.qkv", bias=False),
        *both(t + "dec_attn.r_net",       o + "attn.body.r",   bias=False),
        *both(t + "dec_attn.o_net",       o + "attn.body.o",   bias=False),
        Row((t + "dec_attn.r_w_bias",),   o + "attn.body.content_bias"),
        Row((t + "dec_attn.r_r_bias",),   o + "attn.body.distance_bias"),
        *both(t + "dec_attn.layer_norm",  o + "attn.norm_out"),
        *both(t + "pos_ff.CoreNet.0",     o + "ffn.body.up"),
        *both(t + "pos_ff.CoreNet.3",     o + "ffn.body.down"),
        *both(t + "pos_ff.layer_norm",    o + "ffn.norm_out"),
    )
    # fmt: on
    return Names(rows, "transformer.", ("transformer.pos_emb.inv_freq",))


def make(a: Architecture, family: Family, config: dict[str, Any]) -> Any:
    """The model: blocks that see distances, and a memory between segments."""
    from ownlm.models.model import SingleStack
    from ownlm.nn.segments import RelativeStack

    h = Reader(config)
    memory = h.integer("mem_len", "positions", 1600)
    clamp = max(0, int(h.number("clamp_len", -1, 1e9, 0)))
    return SingleStack(a, family, config, RelativeStack(a.stack, memory, clamp))


PAPER = Paper("Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context",
              "Dai et al.", 2019, "1901.02860")  # fmt: skip
TRANSFORMER_XL = decoder(
    Family(
        "transformer-xl", "transfo-xl", decoder_heads("TransfoXL", writes="LMHeadModel"), SIZES,
        to_hf, from_hf, names, (PAPER,), after="gpt1", make=make,
    ),
    vocabulary="crit.out_layers.0",
)  # fmt: skip
