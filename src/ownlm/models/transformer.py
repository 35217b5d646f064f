"""The Transformer of 2017 (Vaswani et al., arXiv:1706.03762), in Marian's layout.

An encoder reads, a causal decoder writes and attends to it; the norm follows each sum; fixed
sinusoids tell positions (sines first, then cosines, as in tensor2tensor); token vectors are
multiplied by the root of the width and serve as output matrix; ReLU.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Paper
from ownlm.models.heads import classes, read_head
from ownlm.models.hf_config import Reader
from ownlm.models.pair import pair_from_hf, pair_names, pair_to_hf, size
from ownlm.nn.config import EmbedConfig

WRITES = "MTModel"
HEADS = classes("Marian", WRITES, "Model")

SIZES = {
    "transformer-base": size("marian", 6, 512, 8, 37_000, 1024),
    "transformer-big": size("marian", 6, 1024, 16, 37_000, 1024),
    "opus-mt": size("marian", 6, 512, 8, 58_101, 512, act="silu"),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new 2017 Transformer."""
    values = pair_to_hf(c, HEADS, "relu")
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
    head = read_head(h, HEADS)
    return pair_from_hf(h, head, embed, head == WRITES)


PAPERS = (
    Paper("Attention Is All You Need", "Vaswani et al.", 2017, "1706.03762"),
    Paper("Marian: Fast Neural Machine Translation in C++", "Junczys-Dowmunt et al.", 2018,
          "1804.00344"),
)  # fmt: skip
MARIAN = Family("marian", "marian", HEADS, SIZES, to_hf, from_hf, pair_names, PAPERS)
