"""OLMo 2 (OLMo Team 2024, arXiv:2501.00656).

Against LLaMA: the norm stands after each branch, inside the residual (Liu et al. 2022, Swin v2),
and queries and keys are normalised over their whole width; training then spikes less.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, refuse
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, names, relative_to_hf, with_stack


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
    return relative_to_hf(c, "olmo2", "Olmo2ForCausalLM")


def olmo2_from_hf(h: Reader) -> Architecture:
    """The architecture of an OLMo 2 config.json."""
    return with_stack(from_hf(h, eps=1e-5), norm_at="branch", qk_norm="full")


OLMO2 = Family(
    name="olmo2",
    model_types=("olmo2",),
    architectures=("Olmo2ForCausalLM", "Olmo2Model"),
    sizes=SIZES,
    to_hf=to_hf,
    from_hf=olmo2_from_hf,
    names=names,
)
