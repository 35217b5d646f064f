"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108).

Against BERT: half the layers, taught by BERT's own predictions; no sentence types, no pooler.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.encoder import (
    encoder_from_hf,
    encoder_to_hf,
    size,
    vocabulary_names,
    with_vocabulary,
)
from ownlm.models.family import Architecture, Family, Names, Paper, both
from ownlm.models.heads import CLASSIFIERS, SPAN, TOKEN, classes, read_head, task_rows
from ownlm.models.hf_config import Reader

HEADS = classes("DistilBert", "ForMaskedLM", "Model", *CLASSIFIERS)
KEYS = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "seq_classif_dropout": "classifier_dropout",
}
"""What DistilBERT calls BERT's keys."""
DEFAULTS = {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072}
EPS = 1e-12
"""Of norms; no key says it."""

SIZES = {"distilbert-base-uncased": size("distilbert", 6, 768, 12, 30_522, 512)}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new DistilBERT; its norms' epsilon is fixed."""
    values = encoder_to_hf(c, HEADS)
    ours = {new: values.pop(old) for new, old in KEYS.items() if old in values}
    for unknown in ("type_vocab_size", "layer_norm_eps"):
        del values[unknown]
    return values | ours | {"seq_classif_dropout": c.dropout, "sinusoidal_pos_embds": False}


def from_hf(h: Reader) -> Architecture:
    """The architecture of a DistilBERT config.json."""
    head = read_head(h, HEADS)
    values: dict[str, Any] = {**DEFAULTS, **h.values}
    renamed: dict[str, Any] = {KEYS.get(key, key): value for key, value in values.items()}
    a = encoder_from_hf(Reader({"classifier_dropout": 0.2} | renamed, h.where), head, "relu")
    a = replace(a, embed=replace(a.embed, types=0, norm_eps=EPS))
    a = replace(a, stack=replace(a.stack, norm_eps=EPS))
    if head == TOKEN and a.task is not None:
        a = replace(a, task=replace(a.task, dropout=a.stack.dropout))
    return with_vocabulary(a, a.stack.act) if head == "ForMaskedLM" else a


def names(a: Architecture) -> Names:
    """Tensor names of DistilBertForMaskedLM and of the other heads."""
    # fmt: off
    base, o = "" if a.form == "Model" else "distilbert.", "stack.blocks.#."
    e, t = base + "embeddings.", base + "transformer.layer.#."
    heads = tuple(f"{t}attention.{p}_lin" for p in "qkv")
    rows = (
        *both(e + "word_embeddings",     "embed.tokens",    bias=False),
        *both(e + "position_embeddings", "embed.positions", bias=False),
        *both(e + "LayerNorm",           "embed.norm"),
        *both(heads,                     o + "attn.body.qkv"),
        *both(t + "attention.out_lin",   o + "attn.body.o"),
        *both(t + "sa_layer_norm",       o + "attn.norm_out"),
        *both(t + "ffn.lin1",            o + "ffn.body.up"),
        *both(t + "ffn.lin2",            o + "ffn.body.down"),
        *both(t + "output_layer_norm",   o + "ffn.norm_out"),
    )
    # fmt: on
    rows += vocabulary_names(a, "vocab_transform", "vocab_layer_norm", "vocab_projector.bias")
    out = "qa_outputs" if a.form == SPAN else "classifier"
    rows += task_rows(a.task, "pre_classifier", out)
    return Names(rows, "distilbert.", ("vocab_*", "distilbert.embeddings.position_ids"))


PAPER = Paper("DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter",
              "Sanh et al.", 2019, "1910.01108")  # fmt: skip
DISTILBERT = Family(
    "distilbert", "distilbert", HEADS, SIZES, to_hf, from_hf, names, (PAPER,), after="bert"
)
