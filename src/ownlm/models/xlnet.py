"""XLNet (Yang et al. 2019, arXiv:1906.08237): tokens predicted in any order, none masked out.

Against Transformer-XL: every token sees every other, and a second stream of queries stands
beside the content, so that a token can be predicted from any set of others without being seen
(`model(ids, order=...)`, see nn/streams.py); sentences are told apart by relation, not by name.
From left to right it writes text: `model.writer`.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names, Paper, Row, both, refuse
from ownlm.models.heads import (
    CHOICE,
    SEQUENCE,
    TOKEN,
    classes,
    read_head,
    task_of,
    task_rows,
    vocabulary_rows,
    written_head,
)
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, StackConfig, TaskConfig

SPAN = "ForQuestionAnsweringSimple"
HEADS = classes("XLNet", "LMHeadModel", "Model", SEQUENCE, TOKEN, SPAN, CHOICE)
OUT = {SEQUENCE: "logits_proj", CHOICE: "logits_proj", TOKEN: "classifier", SPAN: "qa_outputs"}
"""Where the classes are read off."""

FIXED = {
    "attn_type": "bi", "bi_data": False, "clamp_len": -1, "same_length": False, "reuse_len": None,
    "untie_r": True, "summary_type": "last", "summary_use_proj": True,
    "summary_activation": "tanh", "summary_last_dropout": 0.1,
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
}  # fmt: skip
"""What every new model says alike."""


def _size(layers: int, dim: int, heads: int) -> ModelConfig:
    return ModelConfig(
        family="xlnet", layers=layers, dim=dim, heads=heads, context=512, memory=384, vocab=32_000,
        tied=True, dropout=0.1, norm_eps=1e-12,
    )  # fmt: skip


SIZES = {"xlnet-base-cased": _size(12, 768, 12), "xlnet-large-cased": _size(24, 1024, 16)}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new XLNet; `memory` 0 is the context's length."""
    refuse(c, "kv_heads", "head_dim", "window", "experts", "pattern")
    return {
        **written_head(c, HEADS),
        "model_type": "xlnet",
        "vocab_size": c.vocab,
        "d_model": c.dim,
        "d_head": c.dim // c.heads,
        "d_inner": c.hidden or 4 * c.dim,
        "n_head": c.heads,
        "n_layer": c.layers,
        "ff_activation": c.act or "gelu",
        "mem_len": c.memory or c.context,
        "dropout": c.dropout,
        "layer_norm_eps": c.norm_eps,
        "initializer_range": 0.02,
        "tie_word_embeddings": c.tied,
        **FIXED,
        "ownlm": {"context": c.context},
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of an XLNet config.json."""
    h.require({
        "bi_data": (False,), "same_length": (False,), "untie_r": (True,),
        "summary_type": ("last",), "summary_use_proj": (True,), "summary_activation": ("tanh",),
    })  # fmt: skip
    head, dropout = read_head(h, HEADS), h.number("dropout", 0, 1, 0.1)
    vocab, dim = h.integer("vocab_size", "vocabulary", 32_000), h.even("d_model", "width", 1024)
    heads = h.integer("n_head", "heads", 16)
    head_dim = h.quotient("n_head", dim, heads)
    h.require({"d_head": (head_dim, None)})
    last = h.number("summary_last_dropout", 0, 1, 0.1)
    pooled = TaskConfig(dim=dim, pool="last", transform="tanh", dropout=last)
    form, writes = head.removesuffix("Simple"), head == "LMHeadModel"
    tied = h.flag("tie_word_embeddings", True) or not writes
    return Architecture(
        embed=EmbedConfig(vocab=vocab, dim=dim, dropout=dropout),
        stack=StackConfig(
            layers=h.integer("n_layer", "layers", 24), dim=dim, heads=heads, kv_heads=heads,
            head_dim=head_dim, hidden=h.integer("d_inner", "width", 4096),
            causal=h.choice("attn_type", {"bi": False, "uni": True}, "bi"), dropout=dropout,
            norm="layer", norm_at="post", norm_eps=h.number("layer_norm_eps", 0, 1, 1e-12),
            act=h.choice("ff_activation", ACTIVATION_NAMES, "gelu"), gated=False, bias_ffn=True,
            dropout_attention=dropout, dropout_hidden=dropout, dropout_last=dropout,
        ),
        head=HeadConfig(vocab=vocab * writes, dim=dim, bias=writes, tied=tied),
        form=head,
        task=task_of(h, form, pooled),
        context=h.section("ownlm").integer("context", "positions", 512),
        init=InitConfig(policy="plain", std=h.number("initializer_range", 0, 10, 0.02)),
    )  # fmt: skip


def names(a: Architecture) -> Names:
    """Tensor names of XLNetLMHeadModel and the other heads; matrices are (in, heads, width)."""
    base, heads = "" if a.form == "Model" else "transformer.", a.stack.heads
    # fmt: off
    t, o = base + "layer.#.rel_attn.", "stack.blocks.#."
    b, f = o + "attn.body.", base + "layer.#.ff."

    def matrix(theirs: tuple[str, ...], ours: str, transpose: bool = True) -> Row:
        return Row(tuple(t + n for n in theirs), b + ours, transpose, spread=heads)

    rows = (
        *both(base + "word_embedding",   "embed.tokens", bias=False),
        Row((base + "mask_emb",),        "stack.mask.weight", lead=True),
        matrix(("q", "k", "v"),          "qkv.weight"),
        matrix(("r",),                   "r.weight"),
        matrix(("o",),                   "o.weight", transpose=False),
        matrix(("seg_embed",),           "types.weight", transpose=False),
        Row((t + "r_w_bias",),           b + "content_bias"),
        Row((t + "r_r_bias",),           b + "distance_bias"),
        Row((t + "r_s_bias",),           b + "types_bias"),
        *both(t + "layer_norm",          o + "attn.norm_out"),
        *both(f + "layer_1",             o + "ffn.body.up"),
        *both(f + "layer_2",             o + "ffn.body.down"),
        *both(f + "layer_norm",          o + "ffn.norm_out"),
    )
    # fmt: on
    rows += task_rows(a.task, "sequence_summary.summary", OUT.get(a.form, ""))
    rows += vocabulary_rows(a.head, "lm_loss")
    return Names(rows, "transformer.", ("lm_loss.*", "sequence_summary.*", "logits_proj.*"))


def make(a: Architecture, family: Family, config: dict[str, Any]) -> Any:
    """The model of two streams."""
    from ownlm.models.two_streams import two_streams

    return two_streams(a, family, config)


PAPER = Paper("XLNet: Generalized Autoregressive Pretraining for Language Understanding",
              "Yang et al.", 2019, "1906.08237")  # fmt: skip
XLNET = Family(
    "xlnet", "xlnet", HEADS, SIZES, to_hf, from_hf, names, (PAPER,), "transformer-xl", make=make
)
