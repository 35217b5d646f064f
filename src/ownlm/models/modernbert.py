"""ModernBERT (Warner et al. 2024, arXiv:2412.13663).

Against BERT: rotary positions with one wavelength for global and one for local layers; two
layers in three see 64 tokens to each side; the norm stands before each branch and has no bias,
as has no other layer; a gated feed-forward part; 8,192 tokens. The first block's attention has
no norm before it, for the embedding ends with one.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Paper, only_tied, refuse, sizes_to_hf
from ownlm.models.heads import CLASSIFIERS, classes, read_head, task_of, written_head
from ownlm.models.hf_config import ACTIVATION_NAMES, Reader
from ownlm.models.modernbert_names import names
from ownlm.models.rope import read_ropes
from ownlm.models.windows import read_layers, written_layers
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, LayerKind, StackConfig, TaskConfig

HEADS = classes("ModernBert", "ForMaskedLM", "Model", *CLASSIFIERS)
ROPES = {
    "full_attention": ("global_rope_theta", 160_000.0),
    "sliding_attention": ("local_rope_theta", 10_000.0),
}
"""Kinds of layers, what older files call the base of their wavelengths, and what it usually is."""


def _size(layers: int, dim: int, heads: int, hidden: int) -> ModelConfig:
    return ModelConfig(
        family="modernbert", layers=layers, dim=dim, heads=heads, hidden=hidden, context=8192,
        vocab=50_368, tied=True, window=128, rope_theta=160_000.0,
    )  # fmt: skip


SIZES = {
    "modernbert-base": _size(22, 768, 12, 1152),
    "modernbert-large": _size(28, 1024, 16, 2624),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new ModernBERT; `window` counts both sides, as in the paper."""
    refuse(c, "kv_heads", "head_dim")
    only_tied(c)
    theta = {"full_attention": c.rope_theta, "sliding_attention": 10_000.0}
    ropes = {kind: {"rope_type": "default", "rope_theta": t} for kind, t in theta.items()}
    tokens = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    return {
        **written_head(c, HEADS),
        "model_type": "modernbert",
        **sizes_to_hf(c),
        "intermediate_size": c.hidden or 3 * c.dim // 2,
        "hidden_activation": c.act or "gelu",
        "norm_eps": c.norm_eps,
        "norm_bias": False,
        "attention_bias": c.bias,
        "mlp_bias": c.bias,
        "layer_types": written_layers(_local(c.layers, 3)),
        "local_attention": c.window or 128,
        "rope_parameters": ropes,
        "embedding_dropout": c.dropout,
        "mlp_dropout": c.dropout,
        "attention_dropout": 0.0,
        "classifier_dropout": c.dropout,
        **dict.fromkeys(tokens),
    }


def _local(layers: int, every: int) -> list[bool]:
    """All layers look near but the first of each `every`."""
    return [bool(layer % every) for layer in range(layers)]


def from_hf(h: Reader) -> Architecture:
    """The architecture of a ModernBERT config.json."""
    h.require({"tie_word_embeddings": (True,)})
    head, context = read_head(h, HEADS), h.integer("max_position_embeddings", "positions", 8192)
    vocab, dim = h.integer("vocab_size", "vocabulary", 50_368), h.integer("hidden_size", "width")
    heads, eps = h.integer("num_attention_heads", "heads"), h.number("norm_eps", 0, 1, 1e-5)
    layers, bias = h.integer("num_hidden_layers", "layers"), h.flag("attention_bias", False)
    pool = TaskConfig(
        dim=dim, pool=h.choice("classifier_pooling", {"cls": "first", "mean": "mean"}, "cls"),
        transform=h.choice("classifier_activation", ACTIVATION_NAMES, "gelu"),
        transform_bias=h.flag("classifier_bias", False), norm_eps=eps,
        norm="layer" if h.flag("norm_bias", False) else "layer_no_bias",
        dropout=h.number("classifier_dropout", 0, 1, 0.0),
    )  # fmt: skip
    norm = pool.norm or "layer"
    words = HeadConfig(
        vocab=vocab, dim=dim, bias=h.flag("decoder_bias", True), tied=True, norm=norm,
        norm_eps=eps, transform=pool.transform, transform_bias=pool.transform_bias,
    )  # fmt: skip
    task = task_of(h, head, pool)
    if task is not None and task.pool == "token":  # these have the transform too
        task = replace(pool, pool="token", outputs=task.outputs)
    return Architecture(
        embed=EmbedConfig(
            vocab=vocab, dim=dim, norm=norm, norm_eps=eps,
            dropout=h.number("embedding_dropout", 0, 1, 0.0),
        ),
        stack=StackConfig(
            layers=layers, dim=dim, heads=heads, kv_heads=heads,
            head_dim=2 * h.quotient("num_attention_heads", dim, 2 * heads),
            hidden=h.integer("intermediate_size", "width"),
            causal=False, norm=norm, norm_eps=eps,
            act=h.choice("hidden_activation", ACTIVATION_NAMES, "gelu"), gated=True,
            bias_qkv=bias, bias_out=bias, bias_ffn=h.flag("mlp_bias", False),
            kinds=_kinds(h, layers, context),
            dropout_hidden=h.number("mlp_dropout", 0, 1, 0.0),
            dropout_attention=h.number("attention_dropout", 0, 1, 0.0),
        ),
        head=words if head == "ForMaskedLM" else HeadConfig(vocab=0, dim=dim, tied=True),
        form=head,
        task=task,
        context=context,
        init=InitConfig(std=h.number("initializer_range", 0, 10, 0.02)),
    )  # fmt: skip


def _kinds(h: Reader, layers: int, context: int) -> tuple[LayerKind, ...]:
    """What each layer sees: half of the window to each side, and the token itself, or all."""
    local = read_layers(h, _local(layers, h.integer("global_attn_every_n_layers", "layers", 3)))
    reach = h.integer("local_attention", "positions", 128) // 2 + 1
    ropes = read_ropes(h, context, ROPES)
    far = LayerKind(rope=ropes["full_attention"])
    near = LayerKind(window=reach, rope=ropes["sliding_attention"])
    return tuple(near if looks_near else far for looks_near in local)


def adapt(model: Any) -> None:
    """The first block's attention reads the embedding as it is; what attention writes is
    dropped as often as its weights are."""
    blocks = model.stack.blocks
    blocks[0].attn.norm_in = blocks[0].attn.norm_out  # the identity
    for block in blocks:
        block.attn.drop.p = model.architecture.stack.dropout_attention


PAPER = Paper("Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder",
              "Warner et al.", 2024, "2412.13663")  # fmt: skip
MODERNBERT = Family(
    "modernbert", "modernbert", HEADS, SIZES, to_hf, from_hf, names, (PAPER,),
    after="bert", adapt=adapt,
)  # fmt: skip
