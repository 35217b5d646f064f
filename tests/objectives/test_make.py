"""Which objective a model gets, and what is refused before any text is read."""

import examples
import numpy as np
import pytest

from ownlm.errors import ConfigError
from ownlm.inspection.architecture import sketch
from ownlm.models.config import ModelConfig
from ownlm.models.load import hf_values
from ownlm.objectives.config import ObjectiveConfig
from ownlm.objectives.make import chinese_words, make_objective, settled
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer


def settle(family: str, head: str = "", **options):
    bias = family not in ("t5", "gpt2")
    config = ModelConfig(family=family, layers=1, dim=16, heads=2, vocab=300, head=head, bias=bias)
    architecture = sketch(hf_values(config)).architecture
    return settled(ObjectiveConfig(**options), architecture, family)


@pytest.mark.parametrize(("family", "kind", "pairs", "rate"), [
    ("gpt2", "causal", "none", 0.0), ("bert", "masked", "next", 0.15),
    ("roberta", "masked", "none", 0.15), ("t5", "spans", "none", 0.15),
    ("bart", "infilling", "none", 0.3), ("marian", "spans", "none", 0.15),
])  # fmt: skip
def test_what_a_family_learns_unless_told(family: str, kind: str, pairs: str, rate: float) -> None:
    found = settle(family)
    assert (found.kind, found.pairs, found.rate) == (kind, pairs, rate)


@pytest.mark.parametrize(("family", "options", "words"), [
    ("bert", {"kind": "causal"}, "bert is an encoder, which cannot learn 'causal'"),
    ("gpt2", {"kind": "spans"}, "gpt2 is a decoder, which cannot learn 'spans'"),
    ("t5", {"kind": "masked"}, "t5 is an encoder-decoder"),
    ("bert", {"kind": "prefix"}, "these can: gpt1, gpt2, .*llama"),
    ("lstm", {"kind": "prefix"}, "lstm reads in one direction only"),
    ("roberta", {"pairs": "next"}, "no head that answers for pairs"),
])  # fmt: skip
def test_what_a_model_cannot_learn_is_refused(family: str, options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        settle(family, **options)
    assert error.value.next_command


def test_a_head_without_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="says no words"):
        settle("bert", head="ForSequenceClassification")


@pytest.mark.parametrize("kind", ["masked", "spans", "infilling", "middle"])
def test_a_tokenizer_without_the_marks_is_refused(kind: str) -> None:
    bare = train_tokenizer([examples.TEXT], TokenizerConfig(kind="bpe", vocab_size=300))
    with pytest.raises(ConfigError) as error:
        make_objective(ObjectiveConfig(kind=kind, rate=0.2, pairs="none"), bare)
    assert "controls" in error.value.next_command
    made = make_objective(ObjectiveConfig(kind=kind, rate=0.2, pairs="none"), examples.bpe())
    assert made.window(64) >= 60


def test_words_of_chinese_text() -> None:
    pytest.importorskip("jieba")
    tokenizer = train_tokenizer(["我们在北京大学学习自然语言处理。"], TokenizerConfig(kind="char"))
    text = "我们在北京大学学习"
    numbers = chinese_words(tokenizer)(np.array(tokenizer.encode(text)))
    words: dict[int, str] = {}
    for character, number in zip(text, numbers.tolist(), strict=True):
        words[number] = words.get(number, "") + character
    assert list(words.values()) == ["我们", "在", "北京大学", "学习"]
