"""Where words end, and that no word is long."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from ownlm.tokenization import words

SPLITTERS = {
    "bytes": words.byte_words(),
    "runs": words.byte_runs(),
    "characters": words.char_runs(),
    "bert": words.bert_words(),
}


def cut(text: str) -> list[str]:
    splits = words.byte_words().pre_tokenize_str(text)
    return [text[start:end] for _, (start, end) in splits]


def plain(pattern: str) -> str:
    """The pattern without its bounds, as cl100k has it."""
    return pattern.replace(f"{{1,{words.RUN}}}", "+").replace("{0,16}", "*").replace("{1,16}", "+")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world", ["Hello", ",", " world"]),
        ("don't we'LL", ["don", "'t", " we", "'LL"]),
        ("in 2026: 12345", ["in", " ", "202", "6", ":", " ", "123", "45"]),
        ("a  b\n\n c", ["a", " ", " b", "\n\n", " c"]),
        ("天下，分久", ["天下", "，分久"]),
        ("हिन्दी", ["हिन्दी"]),  # with \p{L}+ alone the vowel signs would be cut off
        ("cafe\u0301!", ["cafe\u0301", "!"]),
        ("<|endoftext|>", ["<|", "endoftext", "|>"]),
        ("[MASK]<b>", ["[MASK", "]<", "b", ">"]),
    ],
)
def test_words_of_the_pattern(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@pytest.mark.parametrize("name", SPLITTERS)
@pytest.mark.parametrize(
    "unit", ["a", " ", "\n", "!", "1", "中", "\u0301", "😀", " \n", "!\n", "'"]
)
def test_no_word_is_longer_than_the_limit(name: str, unit: str) -> None:
    for text in (unit * 5000, "x" + unit * 5000 + "x", " " + unit * 5000):
        spans = [span for _, span in SPLITTERS[name].pre_tokenize_str(text)]
        assert all(end - start <= words.WORD_LIMIT for start, end in spans)
    control = pre_tokenizers.Split(Regex(plain(words.PATTERN)), "isolated")
    longest = max(end - start for _, (start, end) in control.pre_tokenize_str("a" * 5000))
    assert longest == 5000, "without bounds a word is as long as its text"


def test_bounds_change_nothing_in_real_text(shared_data: Path) -> None:
    unbounded = pre_tokenizers.Split(Regex(plain(words.PATTERN)), "isolated")
    bounded = pre_tokenizers.Split(Regex(words.PATTERN), "isolated")
    assert "{1,64}" not in plain(words.PATTERN)
    for name in ("tinyshakespeare.txt", "zh/sanguo_yanyi.txt"):
        text = (shared_data / "text" / name).read_text(encoding="utf-8")[:100_000]
        assert bounded.pre_tokenize_str(text) == unbounded.pre_tokenize_str(text)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_words_cover_the_text(text: str) -> None:
    assert "".join(cut(text)) == text


@given(st.from_regex(r"[<\[][a-z|_ ]*[a-zA-Z][a-z|_ ]*[>\]]", fullmatch=True))
@settings(max_examples=60, deadline=None)
def test_a_marker_is_never_one_word(name: str) -> None:
    """So none of its tokens can be the marker itself."""
    for text in (name, f"a{name}b", f" {name} ", name * 3, f"<{name}>"):
        assert not any(name in word for word in cut(text))
    assert re.fullmatch(r"<\|.*\|>", "<|x|>")


def test_byte_alphabet_is_the_one_of_the_library() -> None:
    alphabet = words.byte_alphabet()
    assert sorted(alphabet) == sorted(pre_tokenizers.ByteLevel.alphabet())
    ((shown, _),) = words.byte_runs().pre_tokenize_str("é中 \n")
    assert shown == "".join(alphabet[byte] for byte in "é中 \n".encode())


def test_only_our_own_sections_are_bounded() -> None:
    ours = {"type": "Split", "pattern": {"Regex": words.ANY_RUN}, "behavior": "Isolated"}
    assert words.is_bounded(None, ours | {"invert": False})
    assert words.is_bounded({"type": "Lowercase"}, ours | {"invert": False})
    assert not words.is_bounded({"type": "BertNormalizer"}, ours | {"invert": False})
    assert not words.is_bounded(None, {"type": "ByteLevel", "use_regex": True})
    assert not words.is_bounded(None, None)
