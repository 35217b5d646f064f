"""Raw text in memory is the stream that `prepare` would have written."""

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus, measure
from ownlm.data.document import BATCH, PIECE, Document
from ownlm.data.prepare import prepare
from ownlm.evaluation.text import TextStream, encode
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Short documents, empty ones, and one that comes in three pieces."""
    texts = ["first", "", "naïve 中文 🦙", "long line of words\n" * (2 * PIECE // 19 + 99), "last"]
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    return path


def test_it_equals_prepared_data(text: Path, tmp_path: Path) -> None:
    config = DataConfig(path=str(text), validation=0.0)
    data = prepare(config, tmp_path / "data", TokenizerConfig(kind="bpe", vocab_size=300))
    tokenizer = load_tokenizer(data.tokenizer_folder)
    stream = encode(Corpus(str(text), config), tokenizer)
    assert (stream.tokens, stream.text_bytes) == (data.train.tokens, data.train.text_bytes)
    assert np.array_equal(stream.starts, data.train.starts)
    begins = np.array([0, 3, len("first"), stream.tokens - 9, stream.tokens // 2])
    for method in ("gather", "documents"):
        mine, theirs = (getattr(s, method)(begins, 9) for s in (stream, data.train))
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


def test_nothing_is_an_empty_stream(text: Path, tmp_path: Path) -> None:
    config = DataConfig(path=str(text), validation=0.0)
    data = prepare(config, tmp_path / "data", TokenizerConfig(kind="byte"))
    stream = encode([], load_tokenizer(data.tokenizer_folder))
    assert isinstance(stream, TextStream)
    assert (stream.tokens, stream.text_bytes, len(stream.starts)) == (0, 0, 0)


def test_a_long_text_is_tokenised_a_little_at_a_time(text: Path, tmp_path: Path) -> None:
    """Tokenising holds hundreds of bytes a character: 64 long pieces at once would take 1 GB."""
    config = DataConfig(path=str(text), validation=0.0)
    prepare(config, tmp_path / "data", TokenizerConfig(kind="byte"))
    tokenizer, asked = load_tokenizer(tmp_path / "data"), []

    class Watching:
        eos_id = tokenizer.eos_id

        def encode_batch(self, texts: list[str]) -> list[list[int]]:
            asked.append(sum(map(len, texts)))
            return [[1] for _ in texts]

    whole = measure(["x" * 40 * PIECE])
    pieces = (Document("x" * PIECE, "a.txt", 0, part, whole) for part in range(40))
    assert encode(pieces, cast(Tokenizer, Watching())).tokens == 41
    assert sum(asked) == 40 * PIECE and max(asked) < BATCH + PIECE
