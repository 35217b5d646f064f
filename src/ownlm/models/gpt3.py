"""GPT-3 (Brown et al. 2020, arXiv:2005.14165): GPT-2, larger, every other layer with a band.

Dense layers alternate with locally banded sparse ones (Child et al. 2019, arXiv:1904.10509),
where a token sees only the last ones before it. The paper does not tell the width of the band;
256 is GPT-Neo's. transformers has no such family: the folder is a GPT-2 folder with two keys
more and a `model_type` of its own.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import GPT_OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Paper, refuse
from ownlm.models.gpt import from_hf, names, plain_to_hf
from ownlm.models.hf_config import Reader
from ownlm.models.windows import with_windows

BAND = 256


def _size(layers: int, dim: int, heads: int, head_dim: int) -> ModelConfig:
    return ModelConfig(
        family="gpt3", layers=layers, dim=dim, heads=heads, head_dim=head_dim, context=2048,
        vocab=50_257, window=BAND, tied=True, bias=True,
    )  # fmt: skip


SIZES = {  # table 2.1, heads that do not fill the width included
    "gpt3-125m": _size(12, 768, 12, 64),
    "gpt3-350m": _size(24, 1024, 16, 64),
    "gpt3-760m": _size(24, 1536, 16, 96),
    "gpt3-1.3b": _size(24, 2048, 24, 128),
    "gpt3-2.7b": _size(32, 2560, 32, 80),
    "gpt3-6.7b": _size(32, 4096, 32, 128),
    "gpt3-13b": _size(40, 5140, 40, 128),
    "gpt3-175b": _size(96, 12_288, 96, 128),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new GPT-3; `window` 0 is 256."""
    refuse(c, "experts")
    return plain_to_hf(c) | {
        "head_dim": c.head_dim or c.dim // c.heads,
        "window_size": c.window or BAND,
    }


def gpt3_from_hf(h: Reader) -> Architecture:
    """The architecture of such a config.json: even layers are dense, odd ones banded."""
    a = from_hf(h, head_dim=h.integer("head_dim", "width") if h.has("head_dim") else 0)
    band = h.integer("window_size", "positions", BAND)
    return with_windows(a, [band * (layer % 2) for layer in range(a.stack.layers)])


PAPER = Paper("Language Models are Few-Shot Learners", "Brown et al.", 2020, "2005.14165")
GPT3 = decoder(
    Family(
        "gpt3", "gpt3", decoder_heads("GPT3", *GPT_OUT, writes="LMHeadModel"), SIZES, to_hf,
        gpt3_from_hf, names, (PAPER,), after="gpt2",
    ),
    out=GPT_OUT,
)  # fmt: skip
