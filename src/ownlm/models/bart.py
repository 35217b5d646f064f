"""BART (Lewis et al. 2020, arXiv:1910.13461).

Against the 2017 Transformer: learned positions that begin at the table's third row, a norm
after the embedding, GELU; trained to restore text in which spans were masked and sentences
shuffled.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Paper
from ownlm.models.heads import SEQUENCE, SPAN, classes, read_head
from ownlm.models.hf_config import Reader
from ownlm.models.pair import pair_from_hf, pair_names, pair_to_hf, size
from ownlm.nn.config import EmbedConfig

WRITES = "ForConditionalGeneration"
HEADS = classes("Bart", WRITES, "Model", SEQUENCE, SPAN)
OFFSET = 2
"""Rows of the position table that are never used."""

SIZES = {
    "bart-base": size("bart", 6, 768, 12, 50_265, 1024),
    "bart-large": size("bart", 12, 1024, 16, 50_265, 1024),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new BART."""
    return pair_to_hf(c, HEADS, "gelu")


def from_hf(h: Reader) -> Architecture:
    """The architecture of a BART config.json."""
    h.require({"normalize_before": (False,), "add_final_layer_norm": (False,)})
    embed = EmbedConfig(
        vocab=h.integer("vocab_size", "vocabulary", 50_265),
        dim=h.integer("d_model", "width", 1024),
        positions="learned",
        max_len=h.integer("max_position_embeddings", "positions", 1024) + OFFSET,
        offset=OFFSET,
        norm="layer",
    )
    head = read_head(h, HEADS)
    return pair_from_hf(h, head, embed, head == WRITES)


PAPER = Paper("BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation",
              "Lewis et al.", 2020, "1910.13461")  # fmt: skip
BART = Family("bart", "bart", HEADS, SIZES, to_hf, from_hf, pair_names, (PAPER,), after="marian")
