"""What BART and Marian, the 2017 Transformer, share: an encoder and a decoder alike."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Names, Row, both, only_tied, refuse
from ownlm.models.heads import task_of, task_rows, written_head
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, StackConfig, TaskConfig


def size(
    family: str, layers: int, dim: int, heads: int, vocab: int, context: int, **more: Any
) -> ModelConfig:
    """A named size."""
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, vocab=vocab, context=context,
        tied=True, bias=True, dropout=0.1, **more,
    )  # fmt: skip


def pair_to_hf(c: ModelConfig, heads: Mapping[str, str], act: str) -> dict[str, Any]:
    """What both say alike; `act` is the usual activation."""
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
        **written_head(c, heads),
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
    }


def pair_from_hf(h: Reader, head: str, embed: EmbedConfig, writes: bool) -> Architecture:
    """What both read alike; a model that `writes` has logits over the vocabulary."""
    h.require({"tie_word_embeddings": (True,)})
    dim = embed.dim
    embed = replace(embed, scale=dim**0.5 if h.flag("scale_embedding", False) else 1.0,
                    dropout=h.number("dropout", 0, 1, 0.1))  # fmt: skip
    last = h.number("classifier_dropout", 0, 1, 0.0)
    pool = TaskConfig(dim=dim, pool="last", transform="tanh", dropout_pooled=last, dropout=last)
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
    return StackConfig(
        layers=h.integer(f"{side}_layers", "layers", 12),
        dim=dim,
        heads=heads,
        kv_heads=heads,
        head_dim=h.quotient(f"{side}_attention_heads", dim, heads),
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
    span = a.task is not None and a.task.pool == "token"
    out = "qa_outputs" if span else "classification_head.out_proj"
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
