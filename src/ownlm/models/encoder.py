"""What BERT shares with its relatives: RoBERTa, DistilBERT, ELECTRA."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Row, both, only_tied, refuse, sizes_to_hf
from ownlm.models.heads import read_dropout, task_of, written_head
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.nn.config import Activation, EmbedConfig, HeadConfig, InitConfig, StackConfig, TaskConfig

IGNORED = ("embeddings.position_ids",)
"""A table of 0, 1, 2... that older files hold."""


def size(
    family: str, layers: int, dim: int, heads: int, vocab: int, context: int, eps: float = 1e-12
) -> ModelConfig:
    """A named size of an encoder with learned positions."""
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, context=context, vocab=vocab,
        tied=True, bias=True, norm_eps=eps, dropout=0.1,
    )  # fmt: skip


def encoder_to_hf(c: ModelConfig, heads: Mapping[str, str]) -> dict[str, Any]:
    """What config.json says of BERT and of its nearest relatives."""
    refuse(c, "kv_heads", "head_dim", "window")
    only_tied(c)
    return {
        **written_head(c, heads),
        "model_type": c.family,
        **sizes_to_hf(c),
        "intermediate_size": c.hidden or 4 * c.dim,
        "hidden_act": c.act or "gelu",
        "layer_norm_eps": c.norm_eps,
        "hidden_dropout_prob": c.dropout,
        "attention_probs_dropout_prob": c.dropout,
        "type_vocab_size": 2,
        "pad_token_id": None,
    }


def encoder_from_hf(h: Reader, head: str, pooled: Activation) -> Architecture:
    """The architecture but for the vocabulary; `pooled` is the activation of the pooler."""
    h.require({
        "is_decoder": (False,), "add_cross_attention": (False,), "tie_word_embeddings": (True,),
        "position_embedding_type": ("absolute", None),
    })  # fmt: skip
    vocab, dim = h.integer("vocab_size", "vocabulary", 30_522), h.integer("hidden_size", "width")
    heads, eps = h.integer("num_attention_heads", "heads"), h.number("layer_norm_eps", 0, 1, 1e-12)
    context = h.integer("max_position_embeddings", "positions", 512)
    dropout = h.number("hidden_dropout_prob", 0, 1, 0.1)
    pool = TaskConfig(
        dim=dim, pool="first", transform=pooled,
        dropout=read_dropout(h, "classifier_dropout", "hidden_dropout_prob"),
    )  # fmt: skip
    return Architecture(
        embed=EmbedConfig(
            vocab=vocab, dim=dim, positions="learned", max_len=context, dropout=dropout,
            types=h.integer("type_vocab_size", "positions", 2), norm="layer", norm_eps=eps,
        ),
        stack=StackConfig(
            layers=h.integer("num_hidden_layers", "layers"),
            dim=dim,
            heads=heads,
            kv_heads=heads,
            head_dim=h.quotient("num_attention_heads", dim, heads),
            hidden=h.integer("intermediate_size", "width"),
            causal=False,
            norm="layer",
            norm_at="post",
            norm_eps=eps,
            act=h.choice("hidden_act", ACTIVATION_NAMES, "gelu"),
            gated=False,
            bias_qkv=True,
            bias_out=True,
            bias_ffn=True,
            dropout=dropout,
            dropout_attention=h.number("attention_probs_dropout_prob", 0, 1, 0.1),
        ),
        head=HeadConfig(vocab=0, dim=dim, tied=True),
        form=head,
        task=task_of(h, head, pool),
        context=context,
        init=InitConfig(policy="plain", std=h.number("initializer_range", 0, 10, 0.02)),
    )  # fmt: skip


def with_vocabulary(a: Architecture, act: Activation) -> Architecture:
    """The masked-LM head: dense, activation, norm, then the token table and a bias."""
    head = HeadConfig(
        vocab=a.embed.vocab, dim=a.stack.dim, width=a.embed.width, bias=True, tied=True,
        transform=act, norm="layer", norm_eps=a.stack.norm_eps,
    )  # fmt: skip
    return replace(a, head=head)


def vocabulary_names(a: Architecture, dense: str, norm: str, bias: str) -> tuple[Row, ...]:
    """Names of that head; none where there is no such head."""
    if not a.head.vocab:
        return ()
    return (*both(dense, "head.dense"), *both(norm, "head.norm"), Row((bias,), "head.bias"))


def encoder_names(a: Architecture, base: str) -> tuple[Row, ...]:
    """Names of embeddings and layers in BERT's style."""
    # fmt: off
    e, t, o = base + "embeddings.", base + "encoder.layer.#.", "stack.blocks.#."
    heads = tuple(f"{t}attention.self.{p}" for p in ("query", "key", "value"))
    return (
        *both(e + "word_embeddings",            "embed.tokens",    bias=False),
        *both(e + "position_embeddings",        "embed.positions", bias=False),
        *both(e + "token_type_embeddings",      "embed.types",     bias=False),
        *both(e + "LayerNorm",                  "embed.norm"),
        *both(heads,                            o + "attn.body.qkv"),
        *both(t + "attention.output.dense",     o + "attn.body.o"),
        *both(t + "attention.output.LayerNorm", o + "attn.norm_out"),
        *both(t + "intermediate.dense",         o + "ffn.body.up"),
        *both(t + "output.dense",               o + "ffn.body.down"),
        *both(t + "output.LayerNorm",           o + "ffn.norm_out"),
    )
    # fmt: on
