"""Gemma (Gemma Team 2024, arXiv:2403.08295) and Gemma 2 (arXiv:2408.00118).

Gemma against LLaMA: embeddings scaled by sqrt(dim), GELU in the gate, norm weights stored
around zero, heads of 256 whatever the width, and the token table as output.
Gemma 2: norms on both sides of each branch, every other layer with a sliding window, scores
and logits capped by tanh.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Paper, refuse, with_stack
from ownlm.models.heads import SEQUENCE, TOKEN
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, relative_to_hf
from ownlm.models.llama_names import names
from ownlm.models.windows import (
    all_but_every,
    read_layers,
    read_window,
    with_windows,
    written_layers,
)

ACT = "gelu_pytorch_tanh"


def size(
    family: str, layers: int, dim: int, heads: int, kv_heads: int, hidden: int, **more: Any
) -> ModelConfig:
    """A named size of any Gemma."""
    usual = {"context": 8192, "vocab": 256_000}
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, kv_heads=kv_heads, head_dim=256,
        hidden=hidden, tied=True, norm_eps=1e-6, **usual | more,
    )  # fmt: skip


SIZES = {
    "gemma-2b": size("gemma", 18, 2048, 8, 1, 16_384),
    "gemma-7b": size("gemma", 28, 3072, 16, 16, 24_576),
}
SIZES2 = {
    "gemma2-2b": size("gemma2", 26, 2304, 8, 4, 9216, window=4096),
    "gemma2-9b": size("gemma2", 42, 3584, 16, 8, 14_336, window=4096),
}


def gemma_to_hf(c: ModelConfig, **changes: Any) -> dict[str, Any]:
    """What config.json says of every Gemma."""
    refuse(c, "act")
    acts = {"hidden_act": ACT, "hidden_activation": ACT}
    return relative_to_hf(c, **acts, pad_token_id=None, **changes)


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Gemma."""
    refuse(c, "window")
    return gemma_to_hf(c)


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
    return gemma_to_hf(
        c,
        query_pre_attn_scalar=c.head_dim or c.dim // c.heads,
        sliding_window=c.window or 4096,
        layer_types=written_layers(all_but_every(2, c.layers)),
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
    )


def gemma2_from_hf(h: Reader) -> Architecture:
    """The architecture of a Gemma 2 config.json, but for the cap of its scores."""
    a = both_sides(h)
    slides = read_layers(h, all_but_every(2, a.stack.layers))
    window = read_window(h, 4096)
    return with_windows(a, [window * slide for slide in slides])


def both_sides(h: Reader) -> Architecture:
    """What Gemma 2 and 3 share: norms before and after each branch, a scale of their own."""
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


PAPER = Paper("Gemma: Open Models Based on Gemini Research and Technology", "Gemma Team", 2024,
              "2403.08295")  # fmt: skip
PAPER2 = Paper("Gemma 2: Improving Open Language Models at a Practical Size", "Gemma Team", 2024,
               "2408.00118")  # fmt: skip
GEMMA = decoder(
    Family(
        "gemma", "gemma", decoder_heads("Gemma", SEQUENCE, TOKEN), SIZES, to_hf, gemma_from_hf,
        names, (PAPER,), after="llama",
    )
)  # fmt: skip
GEMMA2 = decoder(
    Family(
        "gemma2", "gemma2", decoder_heads("Gemma2", SEQUENCE, TOKEN), SIZES2, gemma2_to_hf,
        gemma2_from_hf, names, (PAPER2,), after="gemma", adapt=cap_scores,
    )
)  # fmt: skip
