"""What a user sets about the tokenizer."""

from typing import Annotated, Literal

import pydantic

from ownlm.config import Config

MIB = 1 << 20


class TokenizerConfig(Config):
    """Which tokenizer to train on the user's text, or where an existing one is."""

    kind: Literal["bpe", "wordpiece", "unigram", "byte", "char"] = "bpe"
    """bpe (GPT, LLaMA), wordpiece (BERT), unigram (T5, XLNet), byte or char (learn nothing).
    All but wordpiece give back every text exactly."""

    vocab_size: Annotated[int, pydantic.Field(ge=1, le=1 << 20)] = 4096
    """Ids at most, control tokens included. byte always has 256 and the control tokens."""

    path: str = ""
    """An existing tokenizer.json or the folder that holds one; nothing is trained then."""

    sample_bytes: Annotated[int, pydantic.Field(ge=1)] = 6 * MIB
    """Bytes of text used for training at most, drawn evenly from all of it. Training holds about
    6 bytes of memory per byte of English and 110 per byte of text whose words never repeat, as in
    Chinese: 1 GB is not reached. unigram takes 3 MiB at most, since it learns slowly and holds
    twice as much; byte needs none."""

    lowercase: bool = False
    """Fold capitals before anything else. Decoding then gives lower case."""

    controls: tuple[str, ...] = ()
    """Further control tokens such as <|user|>, reserved at the end of the vocabulary."""
