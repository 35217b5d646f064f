"""T5 (Raffel et al. 2020, arXiv:1910.10683), its v1.1 and flan, and mT5 (arXiv:2010.11934).

Against the 2017 Transformer: the norm stands before each branch and only scales; positions are
a learned number for each bucket of distances, added to the scores, which are not divided by
the root of the head's width; no biases. v1.1 has a gated feed-forward part and an output matrix
of its own; mT5 is v1.1 in 101 languages.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names, Row, both, refuse
from ownlm.models.heads import (
    architecture_names,
    labels,
    read_head,
    task_of,
    task_rows,
    written_head,
)
from ownlm.models.hf_config import Reader
from ownlm.nn.config import (
    Activation,
    EmbedConfig,
    HeadConfig,
    InitConfig,
    StackConfig,
    TaskConfig,
)

HEADS = ("ForConditionalGeneration", "Model", "ForSequenceClassification", "ForQuestionAnswering")
FEED_FORWARD: dict[str, tuple[Activation, bool]] = {
    "relu": ("relu", False),
    "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True),
}
"""feed_forward_proj: the activation, and whether it gates."""


def _size(
    family: str, layers: int, dim: int, heads: int, hidden: int, act: str, vocab: int = 32_128
) -> ModelConfig:
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, head_dim=64, hidden=hidden, vocab=vocab,
        context=512, act=act, tied=act == "relu", norm_eps=1e-6, dropout=0.1,
    )  # fmt: skip


SIZES = {
    "t5-small": _size("t5", 6, 512, 8, 2048, "relu"),
    "t5-base": _size("t5", 12, 768, 12, 3072, "relu"),
    "t5-large": _size("t5", 24, 1024, 16, 4096, "relu"),
    "t5-v1.1-small": _size("t5", 8, 512, 6, 1024, "gelu_new"),
    "t5-v1.1-base": _size("t5", 12, 768, 12, 2048, "gelu_new"),
    "t5-v1.1-large": _size("t5", 24, 1024, 16, 2816, "gelu_new"),
}
MT5_SIZES = {
    "mt5-small": _size("mt5", 8, 512, 6, 1024, "gelu_new", 250_112),
    "mt5-base": _size("mt5", 12, 768, 12, 2048, "gelu_new", 250_112),
}


def to_hf(stem: str, c: ModelConfig) -> dict[str, Any]:
    """config.json of a new T5: v1.0 with `act` relu, else v1.1."""
    refuse(c, "kv_heads", "window", "bias")
    architectures = written_head(c, stem, HEADS)
    projections = {"": "gated-gelu", "gelu_new": "gated-gelu", "silu": "gated-silu"}
    return {
        "architectures": architectures,
        "model_type": c.family,
        "is_encoder_decoder": True,
        "vocab_size": c.vocab,
        "n_positions": c.context,
        "d_model": c.dim,
        "d_kv": c.head_dim or c.dim // c.heads,
        "d_ff": c.hidden or 4 * c.dim,
        "num_layers": c.layers,
        "num_decoder_layers": c.decoder_layers or c.layers,
        "num_heads": c.heads,
        "feed_forward_proj": projections.get(c.act, c.act),
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": c.dropout,
        "classifier_dropout": c.dropout,
        "layer_norm_epsilon": c.norm_eps,
        "initializer_factor": 1.0,
        "tie_word_embeddings": c.tied,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        **labels(c, architectures[0]),
    }


def from_hf(stem: str, h: Reader) -> Architecture:
    """The architecture of a T5 config.json.

    Whether v1.1 has an output matrix of its own shows in the file only; it is given one.
    """
    head = read_head(h, stem, HEADS)
    vocab, dim = h.integer("vocab_size", "vocabulary", 32_128), h.integer("d_model", "width", 512)
    dropout = h.number("dropout_rate", 0, 1, 0.1)
    scaled = stem == "T5" and h.flag("scale_decoder_outputs", h.flag("tie_word_embeddings", True))
    embed = EmbedConfig(vocab=vocab, dim=dim, dropout=dropout)
    encoder = _stack(h, dim, dropout)
    layers = h.integer("num_decoder_layers", "layers", encoder.layers)
    last = h.number("classifier_dropout", 0, 1, 0.0)
    pool = TaskConfig(dim=dim, pool="last", transform="tanh", dropout_pooled=last, dropout=last)
    writes = head == HEADS[0]
    return Architecture(
        embed=embed,
        stack=replace(encoder, layers=layers, causal=True, cross=True),
        head=HeadConfig(
            vocab=vocab if writes else 0, dim=dim, tied=scaled or not writes,
            scale=dim**-0.5 if scaled else 1.0,
        ),
        form=head,
        task=task_of(h, head, pool),
        source=embed,
        encoder=encoder,
        context=h.integer("n_positions", "positions", 512),
        init=InitConfig(policy="unscaled", std=h.number("initializer_factor", 0, 10, 1.0)),
    )  # fmt: skip


def _stack(h: Reader, dim: int, dropout: float) -> StackConfig:
    """The encoder's."""
    heads = h.integer("num_heads", "heads", 8)
    act, gated = h.choice("feed_forward_proj", FEED_FORWARD, "relu")
    return StackConfig(
        layers=h.integer("num_layers", "layers", 6),
        dim=dim,
        heads=heads,
        kv_heads=heads,
        head_dim=h.integer("d_kv", "width", 64),
        hidden=h.integer("d_ff", "width", 2048),
        causal=False,
        norm="rms",
        norm_eps=h.number("layer_norm_epsilon", 0, 1, 1e-6),
        act=act,
        gated=gated,
        scale=1.0,
        buckets=(
            h.integer("relative_attention_num_buckets", "heads", 32),
            h.integer("relative_attention_max_distance", "positions", 128),
        ),
        dropout=dropout,
        dropout_attention=dropout,
        dropout_hidden=dropout,
    )


def names(a: Architecture) -> Names:
    """Tensor names of T5ForConditionalGeneration and of the other heads."""
    base = "transformer." if a.form == "ForSequenceClassification" else ""
    rows = both(base + "shared", "embed.tokens", bias=False)
    rows += _stack_names(a, base + "encoder.", "encoder.", "1")
    rows += _stack_names(a, base + "decoder.", "stack.", "2")
    cross = base + "decoder.block.#.layer.1."
    ours, c = "stack.blocks.#.cross.", a.stack
    pair = tuple(f"{cross}EncDecAttention.{p}" for p in "kv")
    rows += both(cross + "layer_norm", ours + "norm_in", bias=False)
    rows += both(cross + "EncDecAttention.q", ours + "body.q", bias=False)
    rows += both(pair, ours + "body.kv", bias=False, sizes=c.qkv[1:])
    rows += both(cross + "EncDecAttention.o", ours + "body.o", bias=False)
    if not a.head.tied:
        rows += both("lm_head", "head", bias=False)
    if a.task is not None:
        out = "qa_outputs" if a.task.transform is None else "classification_head.out_proj"
        rows += task_rows(a.task, "classification_head.dense", out)
    written_twice = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    unused = cross.replace("#", "0") + "EncDecAttention.relative_attention_bias.weight"
    copies = (("lm_head.weight", base + "shared.weight"),)
    return Names(rows, base, (*written_twice, unused), copies)


def _stack_names(a: Architecture, theirs: str, ours: str, last: str) -> tuple[Row, ...]:
    """One side; `last` is the number of the feed-forward part in a layer."""
    # fmt: off
    t, o = theirs + "block.#.layer.", ours + "blocks.#."
    first, ffn = t + "0.SelfAttention.", f"{t}{last}.DenseReluDense."
    up: tuple[Row, ...] = both(ffn + "wi", o + "ffn.body.up", bias=False)
    if a.stack.gated:
        up = both((ffn + "wi_0", ffn + "wi_1"), o + "ffn.body.gate_up", bias=False)
    return (
        *both(tuple(first + p for p in "qkv"), o + "attn.body.qkv", bias=False, sizes=a.stack.qkv),
        *both(first + "o",                     o + "attn.body.o",   bias=False),
        *both(t + "0.layer_norm",              o + "attn.norm_in",  bias=False),
        *up,
        *both(ffn + "wo",                      o + "ffn.body.down", bias=False),
        *both(f"{t}{last}.layer_norm",         o + "ffn.norm_in",   bias=False),
        *both(theirs + "final_layer_norm",     ours + "norm",       bias=False),
        *both(theirs + "block.0.layer.0.SelfAttention.relative_attention_bias",
              ours + "relative", bias=False),
    )
    # fmt: on


T5 = Family(
    name="t5",
    model_types=("t5",),
    architectures=architecture_names("T5", HEADS),
    sizes=SIZES,
    to_hf=partial(to_hf, "T5"),
    from_hf=partial(from_hf, "T5"),
    names=names,
)
MT5 = Family(
    name="mt5",
    model_types=("mt5",),
    architectures=architecture_names("MT5", HEADS),
    sizes=MT5_SIZES,
    to_hf=partial(to_hf, "MT5"),
    from_hf=partial(from_hf, "MT5"),
    names=names,
)
