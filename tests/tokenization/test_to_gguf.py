"""Tokenizers as GGUF metadata: read back with the same ids, or refused."""

from pathlib import Path

import pytest

from ownlm.errors import ConfigError
from ownlm.tokenization.from_gguf import KEY, WORDS, from_gguf
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.to_gguf import MARKS, PROBES, to_gguf
from ownlm.tokenization.tokenizer import Tokenizer

from .conftest import trained as trained_here
from .nasty import NASTY
from .test_from_gguf import byte_level, pieces


def same(one: Tokenizer, other: Tokenizer) -> None:
    for text in (*NASTY.values(), *PROBES, MARKS):
        assert one.encode(text) == other.encode(text), text
        assert one.decode(one.encode(text)) == other.decode(other.encode(text))
    roles = [(t.bos_id, t.eos_id, t.unk_id, t.pad_id, t.start, t.vocab_size) for t in (one, other)]
    assert roles[0] == roles[1]
    assert one.special == other.special


@pytest.mark.parametrize(
    "pre", ["gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "megrez", "gpt-4o", "tekken"]
)
def test_words_keep_their_name(pre: str) -> None:
    first = from_gguf(byte_level(pre=pre), "")
    metadata = to_gguf(first, first.vocab_size)
    assert metadata[f"{KEY}pre"] == pre
    assert WORDS not in metadata
    same(from_gguf(metadata, ""), first)


@pytest.mark.parametrize("name", ["llama", "gemma", "llama-with-text-tokens"])
def test_sentencepiece(name: str) -> None:
    pytest.importorskip("sentencepiece")
    first = from_gguf(pieces(name)[1], "")
    metadata = to_gguf(first, first.vocab_size)
    assert metadata[f"{KEY}model"] == "llama"
    same(from_gguf(metadata, ""), first)


def test_our_own_words(tmp_path: Path) -> None:
    first = trained_here("bpe")
    metadata = to_gguf(first, first.vocab_size + 2, {first.eos_id, 5, 7})
    assert (metadata[f"{KEY}pre"], metadata[WORDS]) == ("dbrx", "ownlm")
    assert metadata[f"{KEY}tokens"][-1] == f"[PAD{first.vocab_size + 1}]"
    assert (metadata[f"{KEY}eot_token_id"], metadata[f"{KEY}eom_token_id"]) == (5, 7)
    again = from_gguf(metadata, "")
    same(again, first)
    again.save(tmp_path)  # and as a folder
    same(load_tokenizer(tmp_path), first)
    # The control: by the name that llama.cpp reads, long runs are cut otherwise.
    del metadata[WORDS]
    other = from_gguf(metadata, "")
    assert any(other.encode(text) != first.encode(text) for text in NASTY.values())


def test_templates_for_tools_are_written_too() -> None:
    first = from_gguf(byte_level(), "")
    first.settings["chat_template"] = [
        {"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"},
    ]  # fmt: skip
    metadata = to_gguf(first, first.vocab_size)
    key = "tokenizer.chat_template"
    assert (metadata[key], metadata[f"{key}.tool_use"]) == ("a", "b")


@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "byte", "char"])
def test_what_llama_cpp_has_no_form_for(kind: str) -> None:
    first = trained_here(kind)
    with pytest.raises(ConfigError, match="has no form for this tokenizer"):
        to_gguf(first, first.vocab_size)
