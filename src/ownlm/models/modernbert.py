"""ModernBERT (Warner et al. 2024, arXiv:2412.13663).

Against BERT: rotary positions with one wavelength for global and one for local layers; two
layers in three see 64 tokens to each side; the norm stands before each branch and has no bias,
as has no other layer; a gated feed-forward part; 8,192 tokens. The first block's attention has
no norm before it, for the embedding ends with one.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names, both, refuse
from ownlm.models.heads import (
    CLASSIFIERS,
    architecture_names,
    labels,
    only_tied,
    read_head,
    task_of,
    task_rows,
    written_head,
)
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.models.rope import read_rope
from ownlm.nn.config import (
    EmbedConfig,
    HeadConfig,
    InitConfig,
    LayerKind,
    NormKind,
    StackConfig,
    TaskConfig,
)

HEADS = ("ForMaskedLM", "Model", *CLASSIFIERS)
THETA = {"full_attention": 160_000.0, "sliding_attention": 10_000.0}
OLD_THETA = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}


def _size(layers: int, dim: int, heads: int, hidden: int) -> ModelConfig:
    return ModelConfig(
        family="modernbert", layers=layers, dim=dim, heads=heads, hidden=hidden, context=8192,
        vocab=50_368, tied=True, window=128, rope_theta=THETA["full_attention"],
    )  # fmt: skip


SIZES = {
    "modernbert-base": _size(22, 768, 12, 1152),
    "modernbert-large": _size(28, 1024, 16, 2624),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new ModernBERT; `window` counts both sides, as in the paper."""
    refuse(c, "kv_heads", "head_dim")
    only_tied(c)
    architectures = written_head(c, "ModernBert", HEADS)
    kinds = ["sliding_attention" if i % 3 else "full_attention" for i in range(c.layers)]
    theta = THETA | {"full_attention": c.rope_theta}
    return {
        "architectures": architectures,
        "model_type": "modernbert",
        "vocab_size": c.vocab,
        "max_position_embeddings": c.context,
        "hidden_size": c.dim,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "intermediate_size": c.hidden or 3 * c.dim // 2,
        "hidden_activation": c.act or "gelu",
        "norm_eps": c.norm_eps,
        "norm_bias": False,
        "attention_bias": c.bias,
        "mlp_bias": c.bias,
        "layer_types": kinds,
        "local_attention": c.window or 128,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": t} for kind, t in theta.items()
        },
        "embedding_dropout": c.dropout,
        "mlp_dropout": c.dropout,
        "attention_dropout": 0.0,
        "classifier_dropout": c.dropout,
        "tie_word_embeddings": c.tied,
        "initializer_range": 0.02,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id")),
        **dict.fromkeys(("cls_token_id", "sep_token_id")),
        **labels(c, architectures[0]),
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of a ModernBERT config.json."""
    h.require({"tie_word_embeddings": (True,)})
    head = read_head(h, "ModernBert", HEADS)
    vocab, dim = h.integer("vocab_size", "vocabulary", 50_368), h.integer("hidden_size", "width")
    heads, eps = h.integer("num_attention_heads", "heads"), h.number("norm_eps", 0, 1, 1e-5)
    layers = h.integer("num_hidden_layers", "layers")
    if dim % (2 * heads):
        raise h.fault("num_attention_heads", f"{dim} / {heads} is no even whole number")
    norm: NormKind = "layer" if h.flag("norm_bias", False) else "layer_no_bias"
    pool = TaskConfig(
        dim=dim,
        pool=h.choice("classifier_pooling", {"cls": "first", "mean": "mean"}, "cls"),
        transform=h.choice("classifier_activation", ACTIVATION_NAMES, "gelu"),
        transform_bias=h.flag("classifier_bias", False),
        norm=norm,
        norm_eps=eps,
        dropout=h.number("classifier_dropout", 0, 1, 0.0),
    )
    return Architecture(
        embed=EmbedConfig(
            vocab=vocab, dim=dim, norm=norm, norm_eps=eps,
            dropout=h.number("embedding_dropout", 0, 1, 0.0),
        ),
        stack=StackConfig(
            layers=layers,
            dim=dim,
            heads=heads,
            kv_heads=heads,
            head_dim=dim // heads,
            hidden=h.integer("intermediate_size", "width"),
            causal=False,
            norm=norm,
            norm_eps=eps,
            act=h.choice("hidden_activation", ACTIVATION_NAMES, "gelu"),
            gated=True,
            bias_qkv=h.flag("attention_bias", False),
            bias_out=h.flag("attention_bias", False),
            bias_ffn=h.flag("mlp_bias", False),
            kinds=_kinds(h, layers),
            dropout_hidden=h.number("mlp_dropout", 0, 1, 0.0),
            dropout_attention=h.number("attention_dropout", 0, 1, 0.0),
        ),
        head=_vocabulary(h, vocab, pool) if head == "ForMaskedLM"
        else HeadConfig(vocab=0, dim=dim, tied=True),
        form=head,
        task=_task(h, head, pool),
        context=h.integer("max_position_embeddings", "positions", 8192),
        init=InitConfig(std=h.number("initializer_range", 0, 10, 0.02)),
    )  # fmt: skip


def _kinds(h: Reader, layers: int) -> tuple[LayerKind, ...]:
    every = h.integer("global_attn_every_n_layers", "layers", 3)
    usual = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    types = h.values.get("layer_types") or usual
    if not isinstance(types, list) or len(types) != layers or not set(types) <= THETA.keys():
        raise h.fault("layer_types", f"expected {layers} of {', '.join(THETA)}")
    # Half of the window to each side, and the token itself.
    reach = h.integer("local_attention", "positions", 128) // 2 + 1
    rope = h.section("rope_parameters")
    context = h.integer("max_position_embeddings", "positions", 8192)
    return tuple(
        LayerKind(
            window=reach if kind == "sliding_attention" else 0,
            rope=read_rope(
                Reader({"rope_parameters": rope.section(kind).values}, f"{h.where}: {kind}"),
                context,
                h.number(OLD_THETA[kind], 1, 1e12, THETA[kind]),
            ),
        )
        for kind in types
    )


def _vocabulary(h: Reader, vocab: int, pool: TaskConfig) -> HeadConfig:
    return HeadConfig(
        vocab=vocab, dim=pool.dim, bias=h.flag("decoder_bias", True), tied=True,
        transform=pool.transform, transform_bias=pool.transform_bias,
        norm=pool.norm or "layer_no_bias", norm_eps=pool.norm_eps,
    )  # fmt: skip


def _task(h: Reader, head: str, pool: TaskConfig) -> TaskConfig | None:
    """Heads over tokens have the transform too."""
    task = task_of(h, head, pool)
    if task is None or task.pool != "token":
        return task
    return replace(pool, pool="token", outputs=task.outputs)


def adapt(model: Any) -> None:
    """The first block's attention reads the embedding as it is."""
    first = model.stack.blocks[0].attn
    first.norm_in = first.norm_out  # the identity


def names(a: Architecture) -> Names:
    """Tensor names of ModernBertForMaskedLM and of the other heads."""
    # fmt: off
    base, s = "" if a.form == "Model" else "model.", a.stack
    t, o, bias = base + "layers.#.", "stack.blocks.#.", a.stack.norm == "layer"
    rows = (
        *both(base + "embeddings.tok_embeddings", "embed.tokens",        bias=False),
        *both(base + "embeddings.norm",           "embed.norm",          bias=bias),
        *both(t + "attn.Wqkv",                    o + "attn.body.qkv",   bias=s.bias_qkv),
        *both(t + "attn.Wo",                      o + "attn.body.o",     bias=s.bias_out),
        *both(t + "mlp_norm",                     o + "ffn.norm_in",     bias=bias),
        *both(t + "mlp.Wi",                       o + "ffn.body.gate_up", bias=s.bias_ffn),
        *both(t + "mlp.Wo",                       o + "ffn.body.down",   bias=s.bias_ffn),
        *both(base + "final_norm",                "stack.norm",          bias=bias),
    )
    # fmt: on
    if s.layers > 1:  # the first has none
        rows += both(t + "attn_norm", o + "attn.norm_in", bias=bias)
    if a.head.vocab:
        rows += both("head.dense", "head.dense", bias=a.head.transform_bias)
        rows += both("head.norm", "head.norm", bias=bias)
        rows += both("decoder", "head")[1:] if a.head.bias else ()
    if a.task is not None:
        rows += task_rows(a.task, "head.dense", "classifier", norm="head.norm")
    return Names(rows, "model.", ("decoder.*", "head.*"))


MODERNBERT = Family(
    name="modernbert",
    model_types=("modernbert",),
    architectures=architecture_names("ModernBert", HEADS),
    sizes=SIZES,
    to_hf=to_hf,
    from_hf=from_hf,
    names=names,
    adapt=adapt,
)
