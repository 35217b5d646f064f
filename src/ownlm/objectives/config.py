"""What the model is to learn from plain text. No torch here: options are parsed with this."""

from typing import Literal

from pydantic import Field

from ownlm.config import Config

Kind = Literal[
    "auto",
    "causal",
    "prefix",
    "codes",
    "middle",
    "masked",
    "replaced",
    "permutation",
    "spans",
    "infilling",
    "seq2seq",
    "mixture",
]


class ObjectiveConfig(Config):
    """The task that text is turned into; what a field means is said where it applies."""

    kind: Kind = "auto"
    """causal: the next token; prefix: the same behind a beginning that is read both ways; codes:
    the same behind the control code of the text's source (CTRL; see data.codes); middle: the same,
    some documents with their middle last (fill in the middle); masked: hidden tokens (BERT);
    replaced: tokens that a small generator replaced (ELECTRA); permutation: some tokens in a
    random order (XLNet); spans: spans behind sentinels (T5); infilling: spans and sentences out of
    order (BART); seq2seq: the target of each source, from pairs such as translations; mixture:
    several of these (see mixture.tasks); auto: what the family was pretrained with."""
    rate: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the tokens that is hidden (masked, replaced, spans, infilling) or predicted
    (permutation), or of the documents that are rearranged (middle); 0: as in the paper."""
    span: float = Field(default=3.0, ge=1.0)
    """Mean length of a hidden span (spans, infilling)."""
    smoothing: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of each target that is spread over the vocabulary (seq2seq), in training only."""
    unit: Literal["token", "word", "chinese"] = "token"
    """What is hidden at once (masked): tokens, whole words, or words that a segmenter finds in
    Chinese text (`pip install ownlm[zh]`)."""
    dynamic: bool = True
    """Hide other tokens in every epoch (masked), as RoBERTa; BERT hid the same."""
    segments: int = Field(default=0, ge=0, le=1_000)
    """Contexts that are read one after another with a memory (families that have one); 0: 4 where
    the family has a memory, else 1."""
    pairs: Literal["auto", "none", "next", "order"] = "auto"
    """What is asked about two segments (masked): whether the second follows (next), whether they
    are in order (order); auto: next where the head answers it, as in BertForPreTraining."""
