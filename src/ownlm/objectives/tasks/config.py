"""How a task reads its records. No torch here: options are parsed with this."""

from typing import Literal

from pydantic import Field

from ownlm.config import Config

TaskKind = Literal["classify", "pair", "regress", "tag", "span", "seq2seq", "chat", "embed"]


class TaskOptions(Config):
    """What a finetuned model's folder keeps, so that it reads new records as it read these."""

    longest: int = Field(default=0, ge=0)
    """Tokens of a sequence at most; 0: as many as the model can see, but not more than 512."""
    stride: int = Field(default=128, ge=0)
    """Tokens that neighbouring windows of a long text share (tag, span)."""
    multi_label: bool = False
    """A text may have several labels, or none (classify, pair)."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rare classes count more, all classes the same together (classify, pair)."""
    smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each target that is spread over all classes, in training only."""
    prefix: str = ""
    """Words before every text that name the task (T5's habit; seq2seq)."""
    every_piece: bool = False
    """All pieces of a word carry its tag, not the first alone (tag)."""
    unanswerable: bool = False
    """A question may have no answer in its text (span), as in SQuAD 2."""
    none_threshold: float = 0.0
    """How much the score of no answer must exceed the best answer's to be believed (span)."""
    longest_answer: int = Field(default=30, ge=1)
    """Tokens of an answer at most (span)."""
    separator: str = "\n"
    """Stands between a source and what a decoder writes for it (seq2seq)."""
    both_ways: bool = False
    """A decoder reads sources in both directions, as an encoder does (seq2seq)."""
    beams: int = Field(default=4, ge=1)
    """Translations that are followed at once (seq2seq, chat); 1: the likeliest token each time."""
    temperature: float = Field(default=0.05, gt=0.0)
    """Divides the similarities of pairs before the softmax (embed)."""
    pooling: Literal["", "mean", "first", "last"] = ""
    """What becomes the vector of a text: the mean of its tokens, the first or the last one (embed);
    empty: as the folder of a sentence-transformers model says, else the mean."""
