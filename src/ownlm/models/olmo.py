"""OLMo 2 (OLMo Team 2024, arXiv:2501.00656).

Against LLaMA: the norm stands after each branch, inside the residual (Liu et al. 2022, Swin v2),
and queries and keys are normalised over their whole width; training then spikes less.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Paper, refuse, with_stack
from ownlm.models.heads import SEQUENCE
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, relative_to_hf
from ownlm.models.llama_names import names


def _size(layers: int, dim: int, heads: int, hidden: int, kv_heads: int = 0) -> ModelConfig:
    return ModelConfig(
        family="olmo2", layers=layers, dim=dim, heads=heads, kv_heads=kv_heads, hidden=hidden,
        context=4096, vocab=100_352, tied=False, rope_theta=500_000.0, norm_eps=1e-6,
    )  # fmt: skip


SIZES = {
    "olmo2-1b": _size(16, 2048, 16, 8192),
    "olmo2-7b": _size(32, 4096, 32, 11_008),
    "olmo2-13b": _size(40, 5120, 40, 13_824),
    "olmo2-32b": _size(64, 5120, 40, 27_648, kv_heads=8),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new OLMo 2."""
    refuse(c, "window")
    return relative_to_hf(c)


def olmo2_from_hf(h: Reader) -> Architecture:
    """The architecture of an OLMo 2 config.json."""
    return with_stack(from_hf(h, eps=1e-5), norm_at="branch", qk_norm="full")


PAPER = Paper("2 OLMo 2 Furious", "OLMo Team", 2024, "2501.00656")
OLMO2 = decoder(
    Family(
        "olmo2", "olmo2", decoder_heads("Olmo2", SEQUENCE), SIZES, to_hf, olmo2_from_hf, names,
        (PAPER,), after="llama",
    )
)  # fmt: skip
