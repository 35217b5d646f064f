"""Gemma 3 (Gemma Team 2025, arXiv:2503.19786), the part that reads and writes text.

Against Gemma 2: no caps but normalised queries and keys; five sliding layers to one that sees
all, and the latter's rotary wavelengths are longer.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder
from ownlm.models.family import Architecture, Family, Paper, with_stack
from ownlm.models.gemma import both_sides, gemma_to_hf, size
from ownlm.models.heads import SEQUENCE, classes
from ownlm.models.hf_config import Reader
from ownlm.models.llama_names import names
from ownlm.models.rope import read_rope, read_ropes
from ownlm.models.windows import all_but_every, read_layers, read_window, written_layers
from ownlm.nn.config import LayerKind

HEADS = {"ForCausalLM": "Gemma3ForCausalLM"} | classes("Gemma3Text", "Model", SEQUENCE)
ROPES = {
    "full_attention": ("rope_theta", 1e6),
    "sliding_attention": ("rope_local_base_freq", 1e4),
}
LONG = {"context": 32_768, "window": 512, "vocab": 262_144, "rope_theta": 1e6}
SIZES = {
    "gemma3-270m": size("gemma3", 18, 640, 4, 1, 2048, **LONG),
    "gemma3-1b": size("gemma3", 26, 1152, 4, 1, 6912, **LONG),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Gemma 3; `window` 0 is 1,024."""
    values = gemma_to_hf(
        c,
        query_pre_attn_scalar=c.head_dim or c.dim // c.heads,
        sliding_window=c.window or 1024,
        layer_types=written_layers(all_but_every(6, c.layers)),
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": c.rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
        final_logit_softcapping=None,
        attn_logit_softcapping=None,
    )
    return {key: value for key, value in values.items() if key != "rope_theta"}


def from_hf(h: Reader) -> Architecture:
    """The architecture of a Gemma 3 config.json (text only)."""
    h.require({"attn_logit_softcapping": (None,)})
    if "final_logit_softcapping" not in h.values:
        h = Reader(dict(h.values) | {"final_logit_softcapping": None}, h.where)
    a = both_sides(h)
    every = h.integer("sliding_window_pattern", "layers", 6)
    slides = read_layers(h, all_but_every(every, a.stack.layers))
    ropes = read_ropes(h, a.context, ROPES)
    if not h.section("rope_parameters").has("full_attention"):
        ropes["full_attention"] = read_rope(h, a.context, 1e6)
    far = LayerKind(rope=ropes["full_attention"])
    near = LayerKind(window=read_window(h, 4096), rope=ropes["sliding_attention"])
    kinds = tuple(near if slide else far for slide in slides)
    return with_stack(a, qk_norm="head", kinds=kinds)


PAPER = Paper("Gemma 3 Technical Report", "Gemma Team", 2025, "2503.19786")
GEMMA3 = decoder(
    Family("gemma3", "gemma3_text", HEADS, SIZES, to_hf, from_hf, names, (PAPER,), after="gemma2")
)
