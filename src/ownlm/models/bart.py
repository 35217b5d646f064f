"""BART (Lewis et al. 2020, arXiv:1910.13461).

Against the 2017 Transformer: learned positions that begin at the table's third row, a norm
after the embedding, GELU; trained to restore text in which spans were masked and sentences
shuffled.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names, Row, both, refuse
from ownlm.models.heads import (
    architecture_names,
    labels,
    only_tied,
    read_head,
    task_of,
    task_rows,
    written_head,
)
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, StackConfig, TaskConfig

HEADS = ("ForConditionalGeneration", "Model", "ForSequenceClassification", "ForQuestionAnswering")
OFFSET = 2
"""Rows of the position table that are never used."""


def size(
    family: str, layers: int, dim: int, heads: int, vocab: int, context: int, **more: Any
) -> ModelConfig:
    """A named size."""
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, vocab=vocab, context=context,
        tied=True, bias=True, dropout=0.1, **more,
    )  # fmt: skip


SIZES = {
    "bart-base": size("bart", 6, 768, 12, 50_265, 1024),
    "bart-large": size("bart", 12, 1024, 16, 50_265, 1024),
}


def pair_to_hf(c: ModelConfig, architectures: list[str], act: str) -> dict[str, Any]:
    """What BART and Marian say alike."""
    refuse(c, "kv_heads", "head_dim", "window")
    only_tied(c)
    sides = {"encoder": c.layers, "decoder": c.decoder_layers or c.layers}
    values: dict[str, Any] = {}
    for side, layers in sides.items():
        values |= {
            f"{side}_layers": layers,
            f"{side}_attention_heads": c.heads,
            f"{side}_ffn_dim": c.hidden or 4 * c.dim,
        }
    return values | {
        "architectures": architectures,
        "model_type": c.family,
        "is_encoder_decoder": True,
        "vocab_size": c.vocab,
        "max_position_embeddings": c.context,
        "d_model": c.dim,
        "activation_function": c.act or act,
        "dropout": c.dropout,
        "attention_dropout": c.dropout,
        "activation_dropout": 0.0,
        "classifier_dropout": c.dropout,
        "scale_embedding": False,
        "tie_word_embeddings": c.tied,
        "init_std": 0.02,
        "bos_token_id": None,
        "forced_eos_token_id": None,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        **labels(c, architectures[0]),
    }


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new BART."""
    return pair_to_hf(c, written_head(c, "Bart", HEADS), "gelu")


def pair_from_hf(h: Reader, head: str, embed: EmbedConfig) -> Architecture:
    """What BART and Marian read alike."""
    h.require({"tie_word_embeddings": (True,)})
    dim = embed.dim
    embed = replace(embed, scale=dim**0.5 if h.flag("scale_embedding", False) else 1.0,
                    dropout=h.number("dropout", 0, 1, 0.1))  # fmt: skip
    last = h.number("classifier_dropout", 0, 1, 0.0)
    pool = TaskConfig(dim=dim, pool="last", transform="tanh", dropout_pooled=last, dropout=last)
    writes = head == "MTModel" or head == HEADS[0]
    return Architecture(
        embed=embed,
        stack=replace(_stack(h, dim, "decoder"), causal=True, cross=True),
        head=HeadConfig(vocab=embed.vocab if writes else 0, dim=dim, tied=True, bias=writes),
        form=head,
        task=task_of(h, head, pool, 3),
        source=embed,
        encoder=_stack(h, dim, "encoder"),
        context=h.integer("max_position_embeddings", "positions", 1024),
        init=InitConfig(policy="plain", std=h.number("init_std", 0, 10, 0.02)),
    )


def _stack(h: Reader, dim: int, side: str) -> StackConfig:
    heads = h.integer(f"{side}_attention_heads", "heads", 16)
    if dim % heads:
        raise h.fault(f"{side}_attention_heads", f"d_model {dim} is not a multiple of {heads}")
    return StackConfig(
        layers=h.integer(f"{side}_layers", "layers", 12),
        dim=dim,
        heads=heads,
        kv_heads=heads,
        head_dim=dim // heads,
        hidden=h.integer(f"{side}_ffn_dim", "width", 4096),
        causal=False,
        norm="layer",
        norm_at="post",
        act=h.choice("activation_function", ACTIVATION_NAMES, "gelu"),
        gated=False,
        bias_qkv=True,
        bias_out=True,
        bias_ffn=True,
        dropout=h.number("dropout", 0, 1, 0.1),
        dropout_attention=h.number("attention_dropout", 0, 1, 0.0),
        dropout_hidden=h.number("activation_dropout", 0, 1, 0.0),
    )


def from_hf(h: Reader) -> Architecture:
    """The architecture of a BART config.json."""
    h.require({"normalize_before": (False,), "add_final_layer_norm": (False,)})
    context = h.integer("max_position_embeddings", "positions", 1024)
    embed = EmbedConfig(
        vocab=h.integer("vocab_size", "vocabulary", 50_265),
        dim=h.integer("d_model", "width", 1024),
        positions="learned",
        max_len=context + OFFSET,
        offset=OFFSET,
        norm="layer",
    )
    return pair_from_hf(h, read_head(h, "Bart", HEADS), embed)


def pair_names(a: Architecture) -> Names:
    """Tensor names of BartForConditionalGeneration, its other heads, and MarianMTModel."""
    base = "" if a.form == "Model" else "model."
    rows = both(base + "shared", "embed.tokens", bias=False)
    for theirs, embed, stack in (("encoder.", "source", "encoder"), ("decoder.", "embed", "stack")):
        rows += _side(a, base + theirs, embed, f"{stack}.blocks.#.")
    t, o = base + "decoder.layers.#.encoder_attn", "stack.blocks.#.cross."
    rows += both(t + ".q_proj", o + "body.q")
    rows += both((t + ".k_proj", t + ".v_proj"), o + "body.kv")
    rows += both(t + ".out_proj", o + "body.o")
    rows += both(t + "_layer_norm", o + "norm_out")
    if a.head.bias:
        rows += (Row(("final_logits_bias",), "head.bias", lead=True),)
    if a.task is not None:
        out = "qa_outputs" if a.task.transform is None else "classification_head.out_proj"
        rows += task_rows(a.task, "classification_head.dense", out)
    twice = ("lm_head.weight", "model.encoder.embed_tokens.weight",
             "model.decoder.embed_tokens.weight", "final_logits_bias")  # fmt: skip
    fixed = tuple(f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder"))
    return Names(rows, "model.", (*twice, *fixed))


def _side(a: Architecture, theirs: str, embed: str, o: str) -> tuple[Row, ...]:
    # fmt: off
    t = theirs + "layers.#."
    heads = tuple(f"{t}self_attn.{p}_proj" for p in "qkv")
    rows = (
        *both(heads,                      o + "attn.body.qkv"),
        *both(t + "self_attn.out_proj",   o + "attn.body.o"),
        *both(t + "self_attn_layer_norm", o + "attn.norm_out"),
        *both(t + "fc1",                  o + "ffn.body.up"),
        *both(t + "fc2",                  o + "ffn.body.down"),
        *both(t + "final_layer_norm",     o + "ffn.norm_out"),
    )
    # fmt: on
    if a.embed.positions == "learned":
        rows += both(theirs + "embed_positions", embed + ".positions", bias=False)
    if a.embed.norm:
        rows += both(theirs + "layernorm_embedding", embed + ".norm")
    return rows


BART = Family(
    name="bart",
    model_types=("bart",),
    architectures=architecture_names("Bart", HEADS),
    sizes=SIZES,
    to_hf=to_hf,
    from_hf=from_hf,
    names=pair_names,
)
