"""Windows of made-up text, and tokenizers with all the control tokens that objectives ask for."""

import functools
from typing import NamedTuple

import numpy as np

from ownlm.objectives.make import CONTROLS, SENTINELS
from ownlm.objectives.vocabulary import Vocabulary, vocabulary
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer

TEXT = "".join(
    f"The {noun} of the old harbour {verb} in the morning. Nobody {verb} at night! "
    for noun in ("captain", "keeper", "painter", "boatswain", "fisherman")
    for verb in ("slept", "sang", "worked", "walked", "waited")
)


class Rows(NamedTuple):
    tokens: np.ndarray
    documents: np.ndarray | None
    sample_ids: np.ndarray
    partners: np.ndarray | None
    heads: np.ndarray | None = None
    parts: np.ndarray | None = None


@functools.cache
def wordpiece() -> Tokenizer:
    return train_tokenizer([TEXT], TokenizerConfig(kind="wordpiece", vocab_size=300))


@functools.cache
def bpe() -> Tokenizer:
    names = {*CONTROLS["middle"], *CONTROLS["masked"], *SENTINELS[:20]}
    config = TokenizerConfig(kind="bpe", vocab_size=400, controls=tuple(sorted(names)))
    return train_tokenizer([TEXT], config)


@functools.cache
def small_bpe() -> Tokenizer:
    """Hardly more than bytes: every word has several pieces."""
    config = TokenizerConfig(kind="bpe", vocab_size=300, controls=CONTROLS["masked"])
    return train_tokenizer([TEXT], config)


def facts(tokenizer: Tokenizer) -> Vocabulary:
    return vocabulary(tokenizer)


def rows(
    tokenizer: Tokenizer, count: int = 4, length: int = 48, borders: tuple[int, ...] = ()
) -> Rows:
    """`count` windows of `length` + 1 tokens; a new document begins at each of `borders`."""
    ids = np.array(tokenizer.encode(TEXT * 9))
    begins = np.arange(count) * 53
    places = begins[:, None] + np.arange(length + 1)
    documents = np.ones((count, length + 1), np.int32)
    for border in borders:
        documents[:, border:] += 1
    others = places + len(ids) // 2
    return Rows(ids[places], documents, begins, ids[others % len(ids)])


def part(whole: Rows, first: int, last: int) -> Rows:
    return Rows(*(None if x is None else x[first:last] for x in whole))
