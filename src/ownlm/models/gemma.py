"""Gemma (Gemma Team 2024, arXiv:2403.08295; Gemma 2, arXiv:2408.00118; 3, arXiv:2503.19786).

Gemma against LLaMA: embeddings scaled by sqrt(dim), GELU in the gate, norm weights stored
around zero, heads of 256 whatever the width, and the token table as output.
Gemma 2: norms on both sides of each branch, every other layer with a sliding window, scores
and logits capped by tanh.
Gemma 3: no caps but normalised queries and keys; five sliding layers to one that sees all, and
the latter's rotary wavelengths are longer.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, refuse
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, names, relative_to_hf, with_stack
from ownlm.models.rope import read_rope
from ownlm.models.windows import read_layers, read_window, with_windows
from ownlm.nn.config import LayerKind, RopeConfig

ACT = "gelu_pytorch_tanh"


def _size(
    family: str,
    layers: int,
    dim: int,
    heads: int,
    kv_heads: int,
    hidden: int,
    context: int = 8192,
    window: int = 0,
    vocab: int = 256_000,
) -> ModelConfig:
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, kv_heads=kv_heads, head_dim=256,
        hidden=hidden, context=context, vocab=vocab, window=window, tied=True, norm_eps=1e-6,
        rope_theta=1e6 if family == "gemma3" else 1e4,
    )  # fmt: skip


GEMMA_SIZES = {
    "gemma-2b": _size("gemma", 18, 2048, 8, 1, 16_384),
    "gemma-7b": _size("gemma", 28, 3072, 16, 16, 24_576),
}
GEMMA2_SIZES = {
    "gemma2-2b": _size("gemma2", 26, 2304, 8, 4, 9216, window=4096),
    "gemma2-9b": _size("gemma2", 42, 3584, 16, 8, 14_336, window=4096),
}
GEMMA3_SIZES = {
    "gemma3-270m": _size("gemma3", 18, 640, 4, 1, 2048, 32_768, 512, 262_144),
    "gemma3-1b": _size("gemma3", 26, 1152, 4, 1, 6912, 32_768, 512, 262_144),
}


def _to_hf(c: ModelConfig, kind: str, architecture: str, **changes: Any) -> dict[str, Any]:
    refuse(c, "act")
    return relative_to_hf(
        c, kind, architecture, hidden_act=ACT, hidden_activation=ACT, pad_token_id=None, **changes
    )


def gemma_to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Gemma."""
    refuse(c, "window")
    return _to_hf(c, "gemma", "GemmaForCausalLM")


def gemma_from_hf(h: Reader) -> Architecture:
    """The architecture of a Gemma config.json; "gelu" in old ones means its tanh form."""
    h.require({
        "hidden_act": ("gelu", ACT),
        "hidden_activation": (None, ACT),
        "use_bidirectional_attention": (None, False),
    })  # fmt: skip
    a = with_stack(from_hf(h, tied=True, head_dim=256), norm="rms_offset", act="gelu_tanh")
    return replace(a, embed=replace(a.embed, scale=a.embed.dim**0.5))


def gemma2_to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Gemma 2; `window` 0 is 4,096."""
    return _to_hf(
        c,
        "gemma2",
        "Gemma2ForCausalLM",
        query_pre_attn_scalar=c.head_dim or c.dim // c.heads,
        sliding_window=c.window or 4096,
        layer_types=_layer_types(c.layers, 2),
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
    )


def gemma2_from_hf(h: Reader) -> Architecture:
    """The architecture of a Gemma 2 config.json, but for the cap of its scores."""
    a = _both_sides(h)
    slides = read_layers(h, _slides(a.stack.layers, 2))
    window = read_window(h, 4096)
    return with_windows(a, [window * slide for slide in slides])


def _both_sides(h: Reader) -> Architecture:
    a = gemma_from_hf(h)
    scale = h.number("query_pre_attn_scalar", 1e-3, 1e6, 256) ** -0.5
    head = replace(a.head, softcap=_cap(h, "final_logit_softcapping", 30.0))
    return replace(with_stack(a, norm_at="both", scale=scale), head=head)


def _cap(h: Reader, key: str, default: float) -> float:
    """null says no cap (0), an absent key says `default`."""
    if key in h.values and not h.has(key):
        return 0.0
    return h.number(key, 0, 1e6, default)


def cap_scores(model: Any) -> None:
    """Give a new Gemma 2 its attention."""
    from ownlm.models.capped import cap_attention

    if softcap := _cap(Reader(model.config), "attn_logit_softcapping", 50.0):
        cap_attention(model, softcap)


def gemma3_to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Gemma 3; `window` 0 is 1,024."""
    values = _to_hf(
        c,
        "gemma3_text",
        "Gemma3ForCausalLM",
        query_pre_attn_scalar=c.head_dim or c.dim // c.heads,
        sliding_window=c.window or 1024,
        layer_types=_layer_types(c.layers, 6),
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": c.rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
        final_logit_softcapping=None,
        attn_logit_softcapping=None,
    )
    return {key: value for key, value in values.items() if key != "rope_theta"}


def gemma3_from_hf(h: Reader) -> Architecture:
    """The architecture of a Gemma 3 config.json (text only)."""
    h.require({"attn_logit_softcapping": (None,)})
    if "final_logit_softcapping" not in h.values:
        h = Reader(dict(h.values) | {"final_logit_softcapping": None}, h.where)
    a = _both_sides(h)
    every = h.integer("sliding_window_pattern", "layers", 6)
    slides = read_layers(h, _slides(a.stack.layers, every))
    window, (full, local) = read_window(h, 4096), _ropes(h, a.context)
    kinds = tuple(
        LayerKind(window=window, rope=local) if slide else LayerKind(rope=full) for slide in slides
    )
    return with_stack(a, qk_norm="head", kinds=kinds)


def _ropes(h: Reader, context: int) -> tuple[RopeConfig, RopeConfig]:
    """Rotary positions of layers that see all and of those that slide."""
    both = h.section("rope_parameters")
    if not both.has("full_attention"):
        return read_rope(h, context, 1e6), RopeConfig(
            theta=h.number("rope_local_base_freq", 1, 1e12, 1e4)
        )
    full, local = (
        read_rope(
            Reader({"rope_parameters": both.section(kind).values}, both.where), context, theta
        )
        for kind, theta in (("full_attention", 1e6), ("sliding_attention", 1e4))
    )
    return full, local


def _slides(layers: int, every: int) -> list[bool]:
    """All layers slide but each `every`th."""
    return [bool((layer + 1) % every) for layer in range(layers)]


def _layer_types(layers: int, every: int) -> list[str]:
    names = ("full_attention", "sliding_attention")
    return [names[slide] for slide in _slides(layers, every)]


GEMMA = Family(
    name="gemma",
    model_types=("gemma",),
    architectures=("GemmaForCausalLM", "GemmaModel"),
    sizes=GEMMA_SIZES,
    to_hf=gemma_to_hf,
    from_hf=gemma_from_hf,
    names=names,
)
GEMMA2 = Family(
    name="gemma2",
    model_types=("gemma2",),
    architectures=("Gemma2ForCausalLM", "Gemma2Model"),
    sizes=GEMMA2_SIZES,
    to_hf=gemma2_to_hf,
    from_hf=gemma2_from_hf,
    names=names,
    adapt=cap_scores,
)
GEMMA3 = Family(
    name="gemma3",
    model_types=("gemma3_text",),
    architectures=("Gemma3ForCausalLM", "Gemma3TextModel"),
    sizes=GEMMA3_SIZES,
    to_hf=gemma3_to_hf,
    from_hf=gemma3_from_hf,
    names=names,
)
