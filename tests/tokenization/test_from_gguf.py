"""Tokenizers out of GGUF metadata: the same ids as from the files they were made of."""

from pathlib import Path
from typing import Any

import pytest

from ownlm.errors import DataError
from ownlm.tokenization.from_gguf import from_gguf
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.spm import read_spm
from ownlm.tokenization.tokenizer import Tokenizer

from .conftest import trained as trained_here
from .nasty import NASTY
from .test_from_merges import bytes_files, write

K = "tokenizer.ggml."


def byte_level(**more: Any) -> dict[str, Any]:
    """What llama.cpp's converter writes of a byte-level tokenizer."""
    vocab, merges = bytes_files("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokens = sorted(vocab, key=vocab.__getitem__)
    values = {
        "model": "gpt2", "pre": "default", "tokens": tokens,
        "token_type": [3] * 3 + [1] * (len(tokens) - 3),
        "merges": [" ".join(pair) for pair in merges],
        "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, "padding_token_id": 2,
    }  # fmt: skip
    return {K + key: value for key, value in (values | more).items() if value is not None}


def test_byte_level_by_default(tmp_path: Path) -> None:
    ours = from_gguf(byte_level(), "x.gguf")
    other = load_tokenizer(
        write(tmp_path, bytes_files("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    )
    for text in NASTY.values():
        assert ours.encode(text) == other.encode(text)
        assert ours.decode(ours.encode(text)) == text
    assert (ours.bos_id, ours.eos_id, ours.unk_id, ours.pad_id) == (1, 2, 0, None)
    assert ours.start == []
    assert not {0, 1, 2} & set(ours.encode("<|im_start|>user<|im_end|><|endoftext|>"))


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    pre = tokenizer._inner.pre_tokenizer
    return [text[begin:end] for _, (begin, end) in pre.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("gpt-2", ["It", "'s", " 1234", "!!", "\n", " x", "YZ"]),
        ("smollm", ["It", "'s", " ", "1", "2", "3", "4", "!!", "\n", " x", "YZ"]),
        ("llama-bpe", ["It", "'s", " ", "123", "4", "!!\n", " x", "YZ"]),
        ("qwen2", ["It", "'s", " ", "1", "2", "3", "4", "!!\n", " x", "YZ"]),
        ("gpt-4o", ["It's", " ", "123", "4", "!!\n", " x", "YZ"]),
        ("tekken", ["It", "'s", " ", "1", "2", "3", "4", "!!\n", " x", "YZ"]),
    ],
)
def test_words_by_name(pre: str, expected: list[str]) -> None:
    text = "It's 1234!!\n xYZ"
    found = words(from_gguf(byte_level(pre=pre), "x.gguf"), text)
    if pre in ("gpt-2", "smollm", "llama-bpe", "qwen2"):
        expected = [*expected[:-2], " xYZ"]
    assert found == expected


def test_llama_3_begins_a_text_unless_the_file_says_otherwise() -> None:
    assert from_gguf(byte_level(pre="llama-bpe"), "").start == [1]
    assert from_gguf(byte_level(pre="llama-bpe", add_bos_token=False), "").start == []
    assert from_gguf(byte_level(add_bos_token=True), "").start == [1]


def test_the_chat_template_is_kept(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    ours = from_gguf(byte_level() | {"tokenizer.chat_template": template}, "")
    assert ours.settings["chat_template"] == template
    ours.save(tmp_path)
    assert load_tokenizer(tmp_path).settings["chat_template"] == template


def pieces(name: str) -> tuple[bytes, dict[str, Any]]:
    from .test_from_sentencepiece import trained

    model = read_spm(trained(name))
    values = {
        "model": "llama",
        "tokens": [piece.text for piece in model.pieces],
        "scores": [piece.score for piece in model.pieces],
        "token_type": [piece.type for piece in model.pieces],
        "bos_token_id": model.bos_id,
        "eos_token_id": model.eos_id,
        "unknown_token_id": model.unk_id,
        "add_space_prefix": model.prefix,
    }  # fmt: skip
    return trained(name), {K + key: value for key, value in values.items()}


@pytest.mark.parametrize("name", ["llama", "gemma", "llama-with-text-tokens"])
def test_sentencepiece_without_its_file(name: str) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    data, metadata = pieces(name)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
    ours = from_gguf(metadata, "x.gguf")
    for case, text in NASTY.items():
        assert ours.encode(text) == theirs.encode(text), case
    assert ours.start == [theirs.bos_id()]


def test_runs_of_spaces_may_be_spelled_with_spaces() -> None:
    """As in files of Gemma."""
    sentencepiece = pytest.importorskip("sentencepiece")
    data, metadata = pieces("gemma")
    tokens = metadata[K + "tokens"]
    metadata[K + "tokens"] = [" " * len(t) if set(t) == {"▁"} and len(t) > 1 else t for t in tokens]
    assert metadata[K + "tokens"] != tokens
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
    text = NASTY["runs of spaces"]
    assert from_gguf(metadata, "x.gguf").encode(text) == theirs.encode(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "rwkv"}, "tokenizer.ggml.model: 'rwkv' is not supported; known: gpt2, llama"),
        ({"model": None}, "tokenizer.ggml.model: None is not supported"),
        ({"pre": "future"}, "words of kind 'future' are unknown; known: default"),
        ({"pre": 7}, "words of kind 7"),
        ({"tokens": None}, "tokenizer.ggml.tokens: expected a list of str"),
        ({"tokens": ["a", "b", "a"], "token_type": None}, "tokens[2]: 'a' is also piece 0"),
        ({"tokens": [], "token_type": None}, "tokens: there are none"),
        ({"token_type": [1, 2]}, "token_type: 2 values for"),
        ({"token_type": "1"}, "token_type: expected a list of int"),
        ({"merges": ["a b c"]}, "merges[0]: 'a b c' needs 'b c'"),
        ({"merges": ["Q Q"]}, "merges[0]: 'Q Q' needs 'QQ'"),
        ({"merges": [5]}, "merges: expected a list of str"),
        ({"eos_token_id": 10**6}, "eos_token_id: 1000000 is none of"),
        ({"eos_token_id": -1}, "eos_token_id: -1 is none of"),
        ({"bos_token_id": "x"}, "bos_token_id: 'x' is none of"),
    ],
)
def test_refused_by_key(change: dict[str, Any], words: str) -> None:
    metadata = byte_level(**change)
    with pytest.raises(DataError) as caught:
        from_gguf(metadata, "x.gguf")
    assert words in caught.value.what
    assert caught.value.where == "x.gguf"


def test_same_ids_as_the_tokenizer_it_was_made_of() -> None:
    """Our own tokenizer, written the way llama.cpp's converter would."""
    made = trained_here("bpe")
    assert from_gguf(byte_level(), "").vocab_size == made.vocab_size - len(made.special) + 3
