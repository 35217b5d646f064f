"""Decoding: whole, id by id, and of ids that mean nothing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import decoders, models

from ownlm.errors import DataError
from ownlm.tokenization.pieces import Pieces
from ownlm.tokenization.tokenizer import Tokenizer

from .conftest import KINDS, OTHERS, TEXT, trained


def streamed(tokenizer: Tokenizer, ids: list[int], *, skip_special: bool = True) -> list[str]:
    stream = tokenizer.stream(skip_special=skip_special)
    return [*(stream.push(id) for id in ids), stream.end()]


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=100))
@settings(max_examples=80, deadline=None)
def test_streaming_gives_the_whole_text_in_whole_characters(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    ids = tokenizer.encode(text)
    parts = streamed(tokenizer, ids)
    assert "".join(parts) == tokenizer.decode(ids)
    if "\ufffd" not in text:
        assert not any("\ufffd" in part for part in parts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skip_special", [True, False])
def test_any_ids_stream_as_they_decode(kind: str, skip_special: bool) -> None:
    """A model may produce anything: halves of characters, controls, padded rows."""
    tokenizer, draw = trained(kind), random.Random(1)
    for _ in range(200):
        ids = [draw.randrange(-2, tokenizer.vocab_size + 3) for _ in range(draw.randrange(30))]
        parts = streamed(tokenizer, ids, skip_special=skip_special)
        assert "".join(parts) == tokenizer.decode(ids, skip_special=skip_special)


def test_a_character_is_held_back_until_it_is_complete() -> None:
    byte = trained("byte")
    assert streamed(byte, list("é中😀".encode())) == [
        *("", "é"),
        *("", "", "中"),
        *("", "", "", "😀"),
        "",
    ]
    assert streamed(byte, [0xE4, 0xB8]) == ["", "", "\ufffd"]
    assert streamed(byte, [0xE4, 0x41]) == ["", "\ufffdA", ""]


def test_controls_are_left_out_or_shown(tokenizer: Tokenizer) -> None:
    ids = [*tokenizer.encode("the dog"), tokenizer.eos_id]
    name = next(n for n, id in tokenizer.special.items() if id == tokenizer.eos_id)
    assert tokenizer.decode(ids) == tokenizer.decode(ids[:-1]) == "the dog"
    assert tokenizer.decode(ids, skip_special=False).replace(" ", "") == "thedog" + name


def test_unknown_ids_show_as_replacement_characters(tokenizer: Tokenizer) -> None:
    for id in (-1, -100, tokenizer.vocab_size, 10**9):
        assert tokenizer.decode([id]) == "\ufffd"


def test_decoding_is_that_of_the_library(tokenizer: Tokenizer) -> None:
    library = LibraryTokenizer.from_str(tokenizer._text)
    for text in (TEXT, OTHERS, " leading", "a b"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == library.decode(ids)


def test_bytes_of_tokens_add_up_to_the_text(exact: Tokenizer) -> None:
    """What bits per byte and byte-wise constraints rest on."""
    ids = exact.encode(OTHERS)
    assert b"".join(exact.pieces[id] for id in ids) == OTHERS.encode()


METASPACE = decoders.Metaspace()
LLAMA = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)


@pytest.mark.parametrize("decoder", [METASPACE, LLAMA, None], ids=["T5", "LLaMA 2", "none"])
def test_decoders_that_drop_the_first_space(decoder: decoders.Decoder | None) -> None:
    tokens = ["▁the", "▁dog", "s", "▁", "<0xE4>", "<0xB8>", "<0xAD>", "."]
    pieces = Pieces(tokens, decoder, frozenset(), frozenset())
    library = LibraryTokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, "s"))
    if decoder:
        library.decoder = decoder
    for ids in ([0, 1, 2, 7], [1], [2, 0], [3, 0], [0, 4, 5, 6, 7], []):
        assert pieces.join(ids, skip_special=True).decode() == library.decode(ids)


def test_a_decoder_that_needs_more_than_one_token_is_refused() -> None:
    with pytest.raises(DataError, match="decoder: CTC is not supported"):
        Pieces(["a"], decoders.Sequence([decoders.CTC()]), frozenset(), frozenset())
