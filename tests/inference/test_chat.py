"""Answers: asked by messages, ended by the template's end of turn, saved for other programs."""

import json
from pathlib import Path

import pytest

from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM, load, load_tokenizer_of
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.train import train_tokenizer

from .conftest import Script

ASK = [{"role": "user", "content": "Is it noon?"}]


@pytest.fixture
def lm() -> LM:
    plain = train_tokenizer(["Is it noon? Yes it is. No."], TokenizerConfig(vocab_size=300))
    tokenizer = with_template(plain)
    config = ModelConfig(layers=1, dim=8, heads=2, context=64, vocab=tokenizer.vocab_size)
    return LM(build_model(config, seed=0), tokenizer)


def scripted(lm: LM) -> LM:
    """Says "Yes", ends its turn, and goes on with "No" all the same."""
    say, end = lm.tokenizer.encode, lm.tokenizer.special["<|im_end|>"]
    lm.writer = Script([*say("Yes"), end, *say("No"), lm.tokenizer.eos_id], lm.model.vocab)
    return lm


def test_an_answer_ends_with_its_turn(lm: LM) -> None:
    assert scripted(lm).generate(ASK) == "Yes"
    assert scripted(lm).generate("Is it noon?") == "YesNo"  # a text goes on


def test_messages_are_written_by_the_template(lm: LM) -> None:
    assert lm.prompt_ids(ASK) == lm.tokenizer.need_chat().prompt(ASK)
    begin, end = (lm.tokenizer.special[name] for name in ("<|im_start|>", "<|im_end|>"))
    say = lm.tokenizer.encode
    asked = [begin, *say("user\nIs it noon?"), end, *say("\n")]
    assert lm.prompt_ids(ASK) == [*asked, begin, *say("assistant\n")]
    assert lm.turn_ids == {lm.tokenizer.eos_id, end}


def test_a_saved_model_names_the_end_of_turn(lm: LM, tmp_path: Path) -> None:
    lm.save(tmp_path)
    end = lm.tokenizer.special["<|im_end|>"]
    for name in ("config.json", "generation_config.json"):
        values = json.loads((tmp_path / name).read_text())
        assert values["eos_token_id"] == [lm.tokenizer.eos_id, end]
    again = load(tmp_path)
    assert again.prompt_ids(ASK) == lm.prompt_ids(ASK)
    assert again.stop_ids == again.turn_ids == lm.turn_ids
    assert load_tokenizer_of(tmp_path).digest == lm.tokenizer.digest


def test_messages_need_a_template() -> None:
    tokenizer = train_tokenizer(["Is it noon?"], TokenizerConfig(vocab_size=300))
    config = ModelConfig(layers=1, dim=8, heads=2, context=64, vocab=tokenizer.vocab_size)
    with pytest.raises(ConfigError, match="no chat template"):
        LM(build_model(config, seed=0), tokenizer).generate(ASK)
