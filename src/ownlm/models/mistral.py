"""Mistral 7B (Jiang et al. 2023, arXiv:2310.06825).

Against LLaMA 2: each layer sees a sliding window of the last tokens, so that the cache stops
growing; what lies further back arrives through the layers below. Releases from 0.2 on have no
window.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Paper
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, relative_to_hf
from ownlm.models.llama_names import names
from ownlm.models.windows import read_window, with_windows


def _size(window: int, vocab: int = 32_000, rope_theta: float = 1e6) -> ModelConfig:
    return ModelConfig(
        family="mistral", layers=32, dim=4096, heads=32, kv_heads=8, hidden=14_336,
        context=32_768, vocab=vocab, window=window, rope_theta=rope_theta, tied=False,
    )  # fmt: skip


SIZES = {
    "mistral-7b-v0.1": _size(4096, rope_theta=10_000.0),
    "mistral-7b-v0.2": _size(0),
    "mistral-7b-v0.3": _size(0, vocab=32_768),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Mistral; `window` 0 is none."""
    return relative_to_hf(c, sliding_window=c.window or None)


def mistral_from_hf(h: Reader) -> Architecture:
    """The architecture of a Mistral config.json."""
    return with_windows(from_hf(h), [read_window(h, 4096)])


PAPER = Paper("Mistral 7B", "Jiang et al.", 2023, "2310.06825")
MISTRAL = decoder(
    Family(
        "mistral", "mistral", decoder_heads("Mistral", *OUT), SIZES, to_hf, mistral_from_hf,
        names, (PAPER,), after="llama",
    )
)  # fmt: skip
