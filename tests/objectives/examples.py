"""Windows of made-up text, and tokenizers with all the control tokens that objectives ask for;
for rows derived by hand a tokenizer whose tokens are known, and generators whose draws are."""

import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ownlm.objectives.make import CONTROLS, SENTINELS
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.vocabulary import Vocabulary, vocabulary
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer

TEXT = "".join(
    f"The {noun} of the old harbour {verb} in the morning. Nobody {verb} at night! "
    for noun in ("captain", "keeper", "painter", "boatswain", "fisherman")
    for verb in ("slept", "sang", "worked", "walked", "waited")
)

KNOWN = """[PAD] [UNK] [CLS] [SEP] [MASK] the man jumped up , put his basket on phil ##am ##mon ' s
head . one two three four five 我 们 在 北 京 大 学 习""".split()


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


@functools.cache
def known() -> Tokenizer:
    """A WordPiece vocabulary of the tokens KNOWN, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("\n".join(KNOWN), encoding="utf-8")
        return load_tokenizer(Path(folder))


def ids(tokens: str) -> np.ndarray:
    """Tokens of KNOWN as ids, "-" as IGNORE."""
    return np.array([IGNORE if name == "-" else KNOWN.index(name) for name in tokens.split()])


def shown(rows: Iterable[Iterable[int]]) -> list[str]:
    """Ids as tokens of KNOWN, IGNORE as "-": a text for each row."""
    return [" ".join("-" if id == IGNORE else KNOWN[id] for id in row) for row in rows]


def texts(*rows: str, partners: tuple[str, ...] = ()) -> Rows:
    """Windows of tokens of KNOWN, the last of each to be the first of the next; "|" stands where
    a document begins."""
    tokens = np.stack([ids(row.replace("|", "")) for row in rows])
    numbers = [
        [n for n, part in enumerate(row.split("|"), 1) for _ in part.split()] for row in rows
    ]
    others = np.stack([ids(row) for row in partners]) if partners else None
    return Rows(tokens, np.array(numbers, np.int32), 100 * np.arange(len(rows)), others)


class Draws:
    """A generator whose draws are told beforehand; each must be one that could be drawn."""

    def __init__(self, *draws: Any) -> None:
        self.draws = list(draws)

    def next(self, size: int | None = None) -> Any:
        drawn = np.asarray(self.draws.pop(0))
        assert drawn.shape == (() if size is None else (size,))
        return drawn if size is not None else drawn.item()

    def random(self, size: int | None = None) -> Any:
        return self.next(size)

    def poisson(self, mean: float) -> int:
        return self.next()

    def integers(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        low, high = (0, low) if high is None else (low, high)
        drawn = self.next(size)
        assert (low <= np.asarray(drawn)).all() and (np.asarray(drawn) < high).all()
        return drawn

    def choice(self, of: Any, size: int | None = None, replace: bool = True) -> Any:
        drawn = self.next(size)
        assert np.isin(drawn, np.arange(of) if isinstance(of, int) else of).all()
        return drawn

    def permutation(self, length: int) -> np.ndarray:
        """The first few are told; the others follow in their order."""
        first = list(self.draws.pop(0))
        return np.array(first + [n for n in range(length) if n not in first])


def told(monkeypatch: pytest.MonkeyPatch, *rows: Draws) -> list[Any]:
    """Let the rows of the next batches draw what is told; the keys that they ask with."""
    left, keys = list(rows), list[Any]()

    def generator(key: Any) -> Draws:
        keys.append(key)
        return left.pop(0)

    monkeypatch.setattr(np.random, "default_rng", generator)
    return keys
