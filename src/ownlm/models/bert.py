"""BERT (Devlin et al. 2019, arXiv:1810.04805): the Transformer's encoder alone, made to fill gaps.

Against GPT-2: every token sees every other; the norm follows each sum, as in 2017; tokens know
whether they belong to sentence A or B; the head transforms before it reads words off. A pooler
on the first token serves the next-sentence head and classifiers.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names, Row, both, refuse
from ownlm.models.heads import (
    CLASSIFIERS,
    architecture_names,
    labels,
    only_tied,
    read_dropout,
    read_head,
    task_of,
    task_rows,
    written_head,
)
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.nn.config import Activation, EmbedConfig, HeadConfig, InitConfig, StackConfig, TaskConfig

HEADS = ("ForPreTraining", "ForMaskedLM", "ForNextSentencePrediction", "Model", *CLASSIFIERS)
VOCABULARY = ("ForPreTraining", "ForMaskedLM")
"""Heads that give logits over the vocabulary."""
OUT = {
    "ForPreTraining": "cls.seq_relationship",
    "ForNextSentencePrediction": "cls.seq_relationship",
    "ForQuestionAnswering": "qa_outputs",
}
"""Where the classes are read off; elsewhere `classifier`."""
IGNORED = ("embeddings.position_ids",)
"""A table of 0, 1, 2... that older files hold."""
RENAMED = ((".gamma", ".weight"), (".beta", ".bias"))
"""Norms of files made from TensorFlow."""


def size(
    family: str, layers: int, dim: int, heads: int, vocab: int, context: int, eps: float = 1e-12
) -> ModelConfig:
    """A named size of an encoder with learned positions."""
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, context=context, vocab=vocab,
        tied=True, bias=True, norm_eps=eps, dropout=0.1,
    )  # fmt: skip


SIZES = {
    "bert-tiny": size("bert", 2, 128, 2, 30_522, 512),
    "bert-mini": size("bert", 4, 256, 4, 30_522, 512),
    "bert-base-uncased": size("bert", 12, 768, 12, 30_522, 512),
    "bert-base-chinese": size("bert", 12, 768, 12, 21_128, 512),
    "bert-large-uncased": size("bert", 24, 1024, 16, 30_522, 512),
}


def encoder_to_hf(c: ModelConfig, stem: str, heads: tuple[str, ...]) -> dict[str, Any]:
    """What config.json says of BERT and of its nearest relatives."""
    refuse(c, "kv_heads", "head_dim", "window")
    only_tied(c)
    architectures = written_head(c, stem, heads)
    return {
        "architectures": architectures,
        "model_type": c.family,
        "vocab_size": c.vocab,
        "max_position_embeddings": c.context,
        "hidden_size": c.dim,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "intermediate_size": c.hidden or 4 * c.dim,
        "hidden_act": c.act or "gelu",
        "layer_norm_eps": c.norm_eps,
        "hidden_dropout_prob": c.dropout,
        "attention_probs_dropout_prob": c.dropout,
        "type_vocab_size": 2,
        "tie_word_embeddings": c.tied,
        "initializer_range": 0.02,
        "pad_token_id": None,
        **labels(c, architectures[0]),
    }


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new BERT."""
    return encoder_to_hf(c, "Bert", HEADS)


def encoder_from_hf(h: Reader, head: str, pooled: Activation) -> Architecture:
    """What BERT shares with its relatives; `pooled` is the activation of the pooler."""
    h.require({
        "is_decoder": (False,), "add_cross_attention": (False,), "tie_word_embeddings": (True,),
        "position_embedding_type": ("absolute", None),
    })  # fmt: skip
    vocab, dim = h.integer("vocab_size", "vocabulary", 30_522), h.integer("hidden_size", "width")
    heads, eps = h.integer("num_attention_heads", "heads"), h.number("layer_norm_eps", 0, 1, 1e-12)
    if dim % heads:
        raise h.fault("num_attention_heads", f"hidden_size {dim} is not a multiple of {heads}")
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
            head_dim=dim // heads,
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


def from_hf(h: Reader) -> Architecture:
    """The architecture of a BERT config.json."""
    head = read_head(h, "Bert", HEADS)
    a = encoder_from_hf(h, head, "tanh")
    pooler = TaskConfig(dim=a.stack.dim, pool="first", transform="tanh")
    if head in ("ForPreTraining", "ForNextSentencePrediction"):
        a = replace(a, task=replace(pooler, outputs=2))
    if head == "Model":
        a = replace(a, task=pooler)
    return with_vocabulary(a, a.stack.act) if head in VOCABULARY else a


def layer_names(a: Architecture, t: str) -> tuple[Row, ...]:
    """Names of a layer in BERT's style, below `t`."""
    # fmt: off
    o = "stack.blocks.#."
    heads = tuple(f"{t}attention.self.{p}" for p in ("query", "key", "value"))
    return (
        *both(heads,                            o + "attn.body.qkv"),
        *both(t + "attention.output.dense",     o + "attn.body.o"),
        *both(t + "attention.output.LayerNorm", o + "attn.norm_out"),
        *both(t + "intermediate.dense",         o + "ffn.body.up"),
        *both(t + "output.dense",               o + "ffn.body.down"),
        *both(t + "output.LayerNorm",           o + "ffn.norm_out"),
    )
    # fmt: on


def encoder_names(a: Architecture, base: str) -> tuple[Row, ...]:
    """Names of embeddings and layers in BERT's style."""
    # fmt: off
    e = base + "embeddings."
    return (
        *both(e + "word_embeddings",       "embed.tokens",    bias=False),
        *both(e + "position_embeddings",   "embed.positions", bias=False),
        *both(e + "token_type_embeddings", "embed.types",     bias=False),
        *both(e + "LayerNorm",             "embed.norm"),
        *layer_names(a, base + "encoder.layer.#."),
    )
    # fmt: on


def names(a: Architecture) -> Names:
    """Tensor names of BertForPreTraining and of the other heads."""
    base, lm = "" if a.form == "Model" else "bert.", "cls.predictions."
    rows = encoder_names(a, base)
    if a.head.vocab:
        rows += (
            *both(lm + "transform.dense", "head.dense"),
            *both(lm + "transform.LayerNorm", "head.norm"),
            Row((lm + "bias",), "head.bias"),
        )
    if a.task is not None:
        rows += task_rows(a.task, base + "pooler.dense", OUT.get(a.form, "classifier"))
    copies = ((lm + "bias", lm + "decoder.bias"),)
    return Names(rows, "bert.", (*IGNORED, "cls.*", "bert.pooler.*"), copies, RENAMED)


BERT = Family(
    name="bert",
    model_types=("bert",),
    architectures=architecture_names("Bert", HEADS),
    sizes=SIZES,
    to_hf=to_hf,
    from_hf=from_hf,
    names=names,
)
