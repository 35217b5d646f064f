"""SmolLM3 (Bakouch et al. 2025, huggingface.co/blog/smollm3).

Against LLaMA 3: every fourth layer has no positions at all (NoPE, Yang et al. 2025,
arXiv:2501.18795), which helps over long inputs.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Paper, refuse, with_stack
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, relative_to_hf
from ownlm.models.llama_names import names
from ownlm.models.windows import all_but_every, read_layers, read_window, with_windows

SIZES = {
    "smollm3-3b": ModelConfig(
        family="smollm3", layers=36, dim=2048, heads=16, kv_heads=4, hidden=11_008,
        context=65_536, vocab=128_256, tied=True, rope_theta=5e6, norm_eps=1e-6,
    ),
}  # fmt: skip


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new SmolLM3."""
    refuse(c, "window")
    rotates = all_but_every(4, c.layers)
    return relative_to_hf(
        c,
        no_rope_layer_interval=4,
        no_rope_layers=[int(rotate) for rotate in rotates],
        pad_token_id=None,
    )


def smollm3_from_hf(h: Reader) -> Architecture:
    """The architecture of a SmolLM3 config.json."""
    a = from_hf(h, tied=True, theta=2e6)
    rotates = _rotating(h, a.stack.layers)
    kind = a.stack.kinds[0]
    kinds = tuple(kind if rotate else replace(kind, rope=None) for rotate in rotates)
    window = read_window(h, 0) if h.flag("use_sliding_window", False) else 0
    slides = read_layers(h, [bool(window) and not rotate for rotate in rotates])
    return with_windows(with_stack(a, kinds=kinds), [window * slide for slide in slides])


def _rotating(h: Reader, layers: int) -> Sequence[bool]:
    """Which layers rotate: 1 in `no_rope_layers` says yes, whatever the key's name says."""
    rotates = h.values.get("no_rope_layers")
    if rotates is None:
        return all_but_every(h.integer("no_rope_layer_interval", "layers", 4), layers)
    if not isinstance(rotates, list) or len(rotates) != layers:
        raise h.fault("no_rope_layers", f"expected a list of {layers} zeros and ones")
    return [bool(rotate) for rotate in rotates]


PAPER = Paper("SmolLM3: smol, multilingual, long-context reasoner", "Bakouch et al.", 2025,
              place="huggingface.co/blog/smollm3")  # fmt: skip
SMOLLM3 = decoder(
    Family(
        "smollm3", "smollm3", decoder_heads("SmolLM3", *OUT), SIZES, to_hf, smollm3_from_hf,
        names, (PAPER,), after="llama",
    ),
    span_prefix="transformer.",
)  # fmt: skip
