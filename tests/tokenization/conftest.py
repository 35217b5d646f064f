import functools
from collections.abc import Callable

import pytest

from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer

ENGLISH = (
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind; it's 1984 again.\n"
    "She said: “We'll see in 2026!” and they've seen <|endoftext|> and [MASK] since.\n\n"
    "\tdef answer(x):\n\t\treturn {'key': [x, 42]}  # a comment\n"
)
CHINESE = "話說天下大勢，分久必合，合久必分：周末七國分爭，并入於秦。“孔明曰：善！”玄德謝之。\n"
OTHERS = "Füße naïve Привет мир こんにちは العربية हिन्दी भाषा 👩🏽‍🚀 café\n"
WORDS = " ".join(
    "".join("aeiou"[n * k % 5] + "bcdfgklmnprstvz"[n * (k + 3) % 15] for k in range(1, 2 + n % 4))
    for n in range(1, 4000)
)
TEXT = (ENGLISH * 8 + CHINESE * 8 + OTHERS * 4) * 4 + WORDS

KINDS = ["bpe", "wordpiece", "unigram", "byte", "char"]
EXACT = ["bpe", "unigram", "byte", "char"]


@functools.cache
def trained(kind: str) -> Tokenizer:
    """A small tokenizer of each kind, trained once."""
    config = TokenizerConfig.parse({"kind": kind, "vocab_size": 600, "controls": ["<|user|>"]})
    return train_tokenizer([TEXT], config)


@pytest.fixture(scope="session")
def tokenizers_by_kind() -> Callable[[str], Tokenizer]:
    return trained


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Each kind in turn."""
    return trained(request.param)


@pytest.fixture(params=EXACT)
def exact(request: pytest.FixtureRequest) -> Tokenizer:
    """Each kind that gives back every text."""
    return trained(request.param)
