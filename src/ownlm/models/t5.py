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
from ownlm.models.family import Architecture, Family, Paper, refuse
from ownlm.models.heads import SEQUENCE, SPAN, TOKEN, classes, read_head, task_of, written_head
from ownlm.models.hf_config import Reader
from ownlm.models.t5_names import names
from ownlm.nn.config import Activation, EmbedConfig, HeadConfig, InitConfig, StackConfig, TaskConfig

WRITES, READS = "ForConditionalGeneration", ("EncoderModel", TOKEN)
"""The head it is pretrained with, and those that stand on the encoder alone."""
HEADS = {stem: classes(stem, WRITES, "Model", SEQUENCE, SPAN, *READS) for stem in ("T5", "MT5")}
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
    projections = {"": "gated-gelu", "gelu_new": "gated-gelu", "silu": "gated-silu"}
    return {
        **written_head(c, HEADS[stem]),
        "model_type": c.family,
        "is_encoder_decoder": c.head not in READS,
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
    }


def from_hf(stem: str, h: Reader) -> Architecture:
    """The architecture of a T5 config.json.

    Whether v1.1 has an output matrix of its own shows in the file only; it is given one.
    """
    head = read_head(h, HEADS[stem])
    vocab, dim = h.integer("vocab_size", "vocabulary", 32_128), h.integer("d_model", "width", 512)
    dropout = h.number("dropout_rate", 0, 1, 0.1)
    scaled = stem == "T5" and h.flag("scale_decoder_outputs", h.flag("tie_word_embeddings", True))
    embed = EmbedConfig(vocab=vocab, dim=dim, dropout=dropout)
    encoder = _stack(h, dim, dropout)
    layers = h.integer("num_decoder_layers", "layers", encoder.layers)
    decoder = replace(encoder, layers=layers, causal=True, cross=True)
    last = h.number("classifier_dropout", 0, 1, 0.0)
    pool = TaskConfig(dim=dim, pool="last", transform="tanh", dropout_pooled=last, dropout=last)
    alone, writes = head in READS, head == WRITES
    return Architecture(
        embed=embed,
        stack=encoder if alone else decoder,
        head=HeadConfig(
            vocab=vocab if writes else 0, dim=dim, tied=scaled or not writes,
            scale=dim**-0.5 if scaled else 1.0,
        ),
        form=head,
        task=task_of(h, head, pool),
        source=None if alone else embed,
        encoder=None if alone else encoder,
        context=h.integer("n_positions", "positions", 512),
        init=InitConfig(policy="unscaled", std=h.number("initializer_factor", 0, 10, 1.0)),
    )  # fmt: skip


def _stack(h: Reader, dim: int, dropout: float) -> StackConfig:
    """The encoder's."""
    heads = h.integer("num_heads", "heads", 8)
    act, gated = h.choice("feed_forward_proj", FEED_FORWARD, "relu")
    return StackConfig(
        layers=h.integer("num_layers", "layers", 6), dim=dim, heads=heads, kv_heads=heads,
        head_dim=h.integer("d_kv", "width", 64), hidden=h.integer("d_ff", "width", 2048),
        causal=False, norm="rms", norm_eps=h.number("layer_norm_epsilon", 0, 1, 1e-6),
        act=act, gated=gated, scale=1.0,
        buckets=(
            h.integer("relative_attention_num_buckets", "heads", 32),
            h.integer("relative_attention_max_distance", "positions", 128),
        ),
        dropout=dropout, dropout_attention=dropout, dropout_hidden=dropout, dropout_last=dropout,
    )  # fmt: skip


PAPERS = (
    Paper("Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
          "Raffel et al.", 2020, "1910.10683"),
    Paper("GLU Variants Improve Transformer", "Shazeer", 2020, "2002.05202"),
)  # fmt: skip
MT5_PAPER = Paper("mT5: A Massively Multilingual Pre-trained Text-to-Text Transformer",
                  "Xue et al.", 2021, "2010.11934")  # fmt: skip
T5 = Family(
    "t5", "t5", HEADS["T5"], SIZES, partial(to_hf, "T5"), partial(from_hf, "T5"), names, PAPERS,
    after="marian", example="t5-base",
)  # fmt: skip
MT5 = Family(
    "mt5", "mt5", HEADS["MT5"], MT5_SIZES, partial(to_hf, "MT5"), partial(from_hf, "MT5"), names,
    (MT5_PAPER,), after="t5", example="mt5-base",
)  # fmt: skip
