"""What of a pretrained model moves when it is adapted. No torch: options are parsed with this."""

from typing import Literal

from pydantic import Field

from ownlm.config import Config

Kind = Literal["all", "last", "head", "lora", "dora", "qlora"]
Target = Literal["q", "k", "v", "o", "gate", "up", "down", "all"]


class AdaptConfig(Config):
    """Which parameters train. The head of a new task always does."""

    kind: Kind = "all"
    """all: every weight; last: the last blocks, the norm after them and the head; head: the head
    alone; lora: low-rank additions to frozen matrices (Hu et al. 2021, arXiv:2106.09685); dora:
    the same with a length of its own for each row (Liu et al. 2024, arXiv:2402.09353); qlora: lora
    on frozen matrices of 4 or 8 bits (Dettmers et al. 2023, arXiv:2305.14314)."""
    layers: int = Field(default=2, ge=1)
    """last: blocks that train, counted from the end."""
    rank: int = Field(default=16, ge=1, le=4096)
    """lora, dora, qlora: rank of what is added to a matrix."""
    alpha: float = Field(default=32.0, gt=0)
    """lora, dora, qlora: what is added is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """lora, dora, qlora: share of the additions' inputs that is dropped in training."""
    targets: tuple[Target, ...] = Field(default=("all",), min_length=1)
    """lora, dora, qlora: matrices that get an addition: q k v o of attention, gate up down of the
    feed-forward part, or all. Where a family keeps several in one matrix (GPT-2's c_attn), naming
    one means that matrix."""
    bits: Literal[4, 8] = 4
    """qlora: 4 is NormalFloat in blocks of 64 numbers, 8 whole numbers with a scale a row."""

    @property
    def low_rank(self) -> bool:
        """Whether matrices stay frozen and get additions."""
        return self.kind in ("lora", "dora", "qlora")
