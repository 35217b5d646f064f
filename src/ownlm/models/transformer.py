"""The Transformer of 2017 (Vaswani et al., arXiv:1706.03762), in Marian's layout.

An encoder reads, a causal decoder writes and attends to it; the norm follows each sum; fixed
sinusoids tell positions (sines first, then cosines, as in tensor2tensor); token vectors are
multiplied by the root of the width and serve as output matrix; ReLU.
"""

from typing import Any

from ownlm.models.bart import pair_from_hf, pair_names, pair_to_hf
from ownlm.models.bart import size as bart_size
from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family
from ownlm.models.heads import architecture_names, read_head, written_head
from ownlm.models.hf_config import Reader
from ownlm.nn.config import EmbedConfig

HEADS = ("MTModel", "Model")

SIZES = {
    "transformer-base": bart_size("marian", 6, 512, 8, 37_000, 1024),
    "transformer-big": bart_size("marian", 6, 1024, 16, 37_000, 1024),
    "opus-mt": bart_size("marian", 6, 512, 8, 58_101, 512, act="silu"),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new 2017 Transformer."""
    values = pair_to_hf(c, written_head(c, "Marian", HEADS), "relu")
    shared = {"share_encoder_decoder_embeddings": True, "decoder_vocab_size": c.vocab}
    start = {"decoder_start_token_id": values["pad_token_id"]}
    return values | {"scale_embedding": True} | shared | start


def from_hf(h: Reader) -> Architecture:
    """The architecture of a Marian config.json."""
    vocab = h.integer("vocab_size", "vocabulary", 58_101)
    h.require({
        "share_encoder_decoder_embeddings": (True,), "decoder_vocab_size": (vocab, None),
        "normalize_before": (False,), "normalize_embedding": (False,),
        "add_final_layer_norm": (False,), "static_position_embeddings": (True,),
    })  # fmt: skip
    embed = EmbedConfig(
        vocab=vocab, dim=h.integer("d_model", "width", 1024), positions="sinusoidal",
        max_len=h.integer("max_position_embeddings", "positions", 1024),
    )  # fmt: skip
    return pair_from_hf(h, read_head(h, "Marian", HEADS), embed)


MARIAN = Family(
    name="marian",
    model_types=("marian",),
    architectures=architecture_names("Marian", HEADS),
    sizes=SIZES,
    to_hf=to_hf,
    from_hf=from_hf,
    names=pair_names,
)
