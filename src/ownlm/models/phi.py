"""Phi-3 (Abdin et al. 2024, arXiv:2404.14219) and Phi-4-mini (arXiv:2503.01743).

Against LLaMA 2: queries, keys and values come from one matrix, gate and up from another, and
long inputs are reached by LongRoPE, two sets of searched factors for the rotary frequencies
(Ding et al. 2024, arXiv:2402.13753). Phi-4-mini rotates three quarters of each head.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Names, Paper, Row, both, with_stack
from ownlm.models.heads import SEQUENCE, TOKEN
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, relative_to_hf
from ownlm.models.llama_names import norm_names
from ownlm.models.windows import read_window, with_windows

SIZES = {
    "phi3-mini-4k": ModelConfig(
        family="phi3", layers=32, dim=3072, heads=32, kv_heads=32, hidden=8192, context=4096,
        vocab=32_064, window=2047, tied=False,
    ),
    "phi3-medium-4k": ModelConfig(
        family="phi3", layers=40, dim=5120, heads=40, kv_heads=10, hidden=17_920, context=4096,
        vocab=32_064, window=2047, tied=False,
    ),
}  # fmt: skip


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Phi-3; `window` 0 is none."""
    rope = {"rope_type": "default", "rope_theta": c.rope_theta, "partial_rotary_factor": 1.0}
    return relative_to_hf(
        c,
        sliding_window=c.window or None,
        original_max_position_embeddings=c.context,
        resid_pdrop=c.dropout,
        embd_pdrop=c.dropout,
        rope_parameters=rope,
        pad_token_id=None,
    )


def phi3_from_hf(h: Reader) -> Architecture:
    """The architecture of a Phi-3 config.json."""
    a = from_hf(_with_length(h), eps=1e-5)
    rope = a.stack.kinds[0].rope
    assert rope is not None, "every layer rotates"
    pairs = int(a.stack.head_dim * rope.share) // 2
    scaling = rope.scaling
    if scaling and {len(scaling.short_factors), len(scaling.long_factors)} != {pairs}:
        raise h.fault("rope_parameters", f"expected {pairs} short and long factors, one a pair")
    dropout = h.number("embd_pdrop", 0, 1, 0.0)
    a = with_stack(a, dropout=h.number("resid_pdrop", 0, 1, 0.0))
    a = replace(a, embed=replace(a.embed, dropout=dropout))
    return with_windows(a, [read_window(h, 0)])


def _with_length(h: Reader) -> Reader:
    """What stands beside the rotary positions counts as part of them."""
    key = "rope_parameters" if h.has("rope_parameters") else "rope_scaling"
    section = dict(h.section(key).values)
    for name in ("original_max_position_embeddings", "partial_rotary_factor"):
        if h.has(name) and section.get("rope_type", section.get("type")) is not None:
            section[name] = h.values[name]
    if h.has("partial_rotary_factor"):
        section["partial_rotary_factor"] = h.values["partial_rotary_factor"]
    return Reader(dict(h.values) | {key: section}, h.where)


def names(a: Architecture) -> Names:
    """Tensor names of Phi3ForCausalLM."""
    # fmt: off
    t, o = "model.layers.#.", "stack.blocks.#."
    rows: tuple[Row, ...] = (
        *both("model.embed_tokens",      "embed.tokens",          bias=False),
        *both(t + "self_attn.qkv_proj",  o + "attn.body.qkv",     bias=False),
        *both(t + "self_attn.o_proj",    o + "attn.body.o",       bias=False),
        *both(t + "mlp.gate_up_proj",    o + "ffn.body.gate_up",  bias=False),
        *both(t + "mlp.down_proj",       o + "ffn.body.down",     bias=False),
        *norm_names(a),
    )
    # fmt: on
    return Names(rows, "model.")


PAPERS = (
    Paper("Phi-3 Technical Report: A Highly Capable Language Model Locally on Your Phone",
          "Abdin et al.", 2024, "2404.14219"),
    Paper("Phi-4-Mini Technical Report", "Abouelenin et al.", 2025, "2503.01743"),
)  # fmt: skip
PHI3 = decoder(
    Family(
        "phi3", "phi3", decoder_heads("Phi3", SEQUENCE, TOKEN), SIZES, to_hf, phi3_from_hf, names,
        PAPERS, after="llama",
    )
)  # fmt: skip
