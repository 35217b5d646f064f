"""Qwen2 (Yang et al. 2024, arXiv:2407.10671) and Qwen3 (Yang et al. 2025, arXiv:2505.09388).

Qwen2 against LLaMA 3: queries, keys and values have a bias. Qwen3 against Qwen2: no biases;
instead queries and keys are normalised head by head. Both can let their upper layers slide.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Paper, with_stack
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, relative_to_hf
from ownlm.models.llama_names import names
from ownlm.models.windows import read_layers, read_window, with_windows


def _size(
    family: str,
    layers: int,
    dim: int,
    heads: int,
    kv_heads: int,
    hidden: int,
    context: int,
    tied: bool = False,
    head_dim: int = 0,
    vocab: int = 151_936,
) -> ModelConfig:
    return ModelConfig(
        family=family, layers=layers, dim=dim, heads=heads, kv_heads=kv_heads, hidden=hidden,
        head_dim=head_dim, context=context, vocab=vocab, tied=tied, rope_theta=1e6, norm_eps=1e-6,
    )  # fmt: skip


QWEN2_SIZES = {
    "qwen2.5-0.5b": _size("qwen2", 24, 896, 14, 2, 4864, 32_768, tied=True),
    "qwen2.5-1.5b": _size("qwen2", 28, 1536, 12, 2, 8960, 131_072, tied=True),
    "qwen2.5-3b": _size("qwen2", 36, 2048, 16, 2, 11_008, 32_768, tied=True),
    "qwen2.5-7b": _size("qwen2", 28, 3584, 28, 4, 18_944, 131_072, vocab=152_064),
}
QWEN3_SIZES = {
    "qwen3-0.6b": _size("qwen3", 28, 1024, 16, 8, 3072, 40_960, tied=True, head_dim=128),
    "qwen3-1.7b": _size("qwen3", 28, 2048, 16, 8, 6144, 40_960, tied=True, head_dim=128),
    "qwen3-4b": _size("qwen3", 36, 2560, 32, 8, 9728, 40_960, tied=True, head_dim=128),
    "qwen3-8b": _size("qwen3", 36, 4096, 32, 8, 12_288, 40_960, head_dim=128),
}


def _with_windows(a: Architecture, h: Reader) -> Architecture:
    """Layers from `max_window_layers` on slide, if any do."""
    window = read_window(h, 4096) if h.flag("use_sliding_window", False) else 0
    first, layers = int(h.number("max_window_layers", 0, 1e6, 28)), a.stack.layers
    slides = read_layers(h, [layer >= first for layer in range(layers)])
    return with_windows(a, [window * slide for slide in slides] if window else [0])


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Qwen2 or Qwen3; a window that is asked for is every layer's."""
    return relative_to_hf(
        c,
        use_sliding_window=bool(c.window),
        sliding_window=c.window or None,
        max_window_layers=0,
    )


def qwen2_from_hf(h: Reader) -> Architecture:
    """The architecture of a Qwen2 config.json."""
    return _with_windows(with_stack(from_hf(h), bias_qkv=True), h)


def qwen3_from_hf(h: Reader) -> Architecture:
    """The architecture of a Qwen3 config.json."""
    return _with_windows(with_stack(from_hf(h, head_dim=128), qk_norm="head"), h)


PAPER2 = Paper("Qwen2 Technical Report", "Yang et al.", 2024, "2407.10671")
PAPER3 = Paper("Qwen3 Technical Report", "Yang et al.", 2025, "2505.09388")
QWEN2 = decoder(
    Family(
        "qwen2", "qwen2", decoder_heads("Qwen2", *OUT), QWEN2_SIZES, to_hf, qwen2_from_hf, names,
        (PAPER2,), after="llama",
    ),
    span_prefix="transformer.",
)  # fmt: skip
QWEN3 = decoder(
    Family(
        "qwen3", "qwen3", decoder_heads("Qwen3", *OUT), QWEN3_SIZES, to_hf, qwen3_from_hf, names,
        (PAPER3,), after="qwen2",
    ),
    span_prefix="transformer.",
)  # fmt: skip
