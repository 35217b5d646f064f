"""vocab.txt: the ids of transformers' BertTokenizer, with every option."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from ownlm.errors import DataError
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer

from .conftest import trained
from .nasty import MIXED, NASTY, UNICODE

transformers = pytest.importorskip("transformers")

CONTROLS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CASES: dict[str, dict[str, Any]] = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "cased, no accents": {"do_lower_case": False, "strip_accents": True},
    "uncased, accents": {"strip_accents": False},
    "chinese characters together": {"tokenize_chinese_chars": False},
}


def write(folder: Path, tokens: list[str], **values: Any) -> Path:
    (folder / "vocab.txt").write_text("\n".join([*tokens, ""]), encoding="utf-8", newline="")
    if values:
        (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@functools.cache
def tokens() -> list[str]:
    """Of a small vocabulary in which the control tokens come first, as in BERT's."""
    made = trained("wordpiece")
    names = [made.token(id) for id in range(made.vocab_size)]
    return [*CONTROLS, *(name for name in names if name not in (*CONTROLS, "<|user|>"))]


@functools.cache
def both(name: str) -> tuple[Tokenizer, Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), tokens(), **CASES[name])
        theirs = transformers.BertTokenizer.from_pretrained(path)
        return load_tokenizer(path), theirs


def expected(theirs: Any, text: str) -> list[int]:
    library = theirs.backend_tokenizer
    library.encode_special_tokens = True
    ids: list[int] = library.encode(text, add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("name", CASES)
def test_nasty_texts(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(NASTY[text]) == expected(theirs, NASTY[text])


@pytest.mark.parametrize("name", CASES)
@given(text=UNICODE | MIXED)
@settings(max_examples=200)
def test_any_text(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(text) == expected(theirs, text)


def test_options_matter() -> None:
    """The control: each option gives other ids for some text."""
    text = "Café naïve 我是 HELLO"
    ids = [tuple(both(name)[0].encode(text)) for name in CASES]
    assert len(set(ids)) == len(CASES)


def test_roles_and_sentences() -> None:
    ours, theirs = both("uncased")
    assert (ours.bos_id, ours.eos_id, ours.pad_id, ours.unk_id) == (2, 3, 0, 1)
    assert ours.start == [2] == theirs("a").input_ids[:1]


def test_saved_and_opened_by_transformers(tmp_path: Path) -> None:
    ours, theirs = both("uncased")
    ours.save(tmp_path)
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in (NASTY["mixed"], NASTY["chinese"], "the quick brown fox"):
        assert opened(text, text).input_ids == theirs(text, text).input_ids
        found = opened(text, text, return_token_type_ids=True)
        assert found.token_type_ids == theirs(text, text).token_type_ids


@pytest.mark.parametrize("file", ["bert_uncased_vocab.txt", "bert_chinese_vocab.txt"])
def test_published_vocabularies(file: str, shared_data: Path, tmp_path: Path) -> None:
    data = (shared_data / "tokenizers" / file).read_bytes()
    (tmp_path / "vocab.txt").write_bytes(data)
    ours = load_tokenizer(tmp_path)
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    assert ours.vocab_size == len(theirs)
    for name, text in NASTY.items():
        assert ours.encode(text) == expected(theirs, text), name
    for name in ("tinyshakespeare.txt", "zh/sanguo_yanyi.txt"):
        text = (shared_data / "text" / name).read_text(encoding="utf-8")[:50_000]
        assert ours.encode(text) == expected(theirs, text)


def test_a_token_twice_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'the' is also in line 6") as caught:
        load_tokenizer(write(tmp_path, [*CONTROLS, "the", "a", "the"]))
    assert caught.value.where == f"{tmp_path / 'vocab.txt'}:8"


def test_a_list_of_words_is_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\[UNK\]' is not in the vocabulary"):
        load_tokenizer(write(tmp_path, ["some", "words"]))


def test_lines_end_as_they_do_on_windows_and_hold_other_separators(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*CONTROLS, "a", "\u2028", "b"]).encode())
    ours = load_tokenizer(tmp_path)
    assert [ours.token(id) for id in range(5, 8)] == ["a", "\u2028", "b"]
