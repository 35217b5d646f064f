"""tiktoken rank files: the ids of the `tiktoken` package, whatever the text."""

import base64
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from ownlm.errors import DataError
from ownlm.tokenization import patterns
from ownlm.tokenization.from_tiktoken import known_encoding
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.words import byte_alphabet

from .conftest import trained
from .nasty import MIXED, NASTY, UNICODE

tiktoken = pytest.importorskip("tiktoken")

Ranks = dict[bytes, int]
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def write(folder: Path, ranks: Ranks, file: str = "x.tiktoken", **values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    (folder / file).write_text("".join(lines), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@functools.cache
def ranks() -> Ranks:
    """Of our own small byte-level tokenizer: bytes first, then merged tokens in their order."""
    byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    made = trained("bpe")
    names = [made.token(id) for id in range(made.vocab_size) if id not in made.special.values()]
    return {bytes(byte_of[c] for c in name): rank for rank, name in enumerate(names)}


@functools.cache
def both() -> tuple[Tokenizer, Any]:
    end = len(ranks())
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), ranks(), eos_token="<|end|>",
                     added_tokens_decoder={str(end + 2): {"content": "<|end|>"}})  # fmt: skip
        ours = load_tokenizer(path)
    theirs = tiktoken.Encoding(
        "small", pat_str=patterns.CL100K, mergeable_ranks=ranks(), special_tokens={}
    )
    return ours, theirs


@pytest.mark.parametrize("text", NASTY)
def test_nasty_texts(text: str) -> None:
    ours, theirs = both()
    assert ours.encode(NASTY[text]) == theirs.encode(NASTY[text], disallowed_special=())
    assert ours.decode(ours.encode(NASTY[text])) == NASTY[text]


@given(text=UNICODE | MIXED)
@settings(max_examples=400)
def test_any_text(text: str) -> None:
    ours, theirs = both()
    assert ours.encode(text) == theirs.encode(text, disallowed_special=())


def test_ids_between_ranks_and_controls_are_reserved() -> None:
    ours, _ = both()
    end = len(ranks())
    assert ours.vocab_size == end + 3
    reserved = {f"<|reserved_token_{id}|>": id for id in (end, end + 1)}
    assert ours.special == {"<|end|>": end + 2} | reserved
    assert (ours.eos_id, ours.pad_id, ours.bos_id) == (end + 2, None, None)


@pytest.mark.parametrize("name", ["O200K", "QWEN", "TEKKEN"])
@given(text=UNICODE | MIXED)
@settings(max_examples=150)
def test_patterns_cut_as_the_engine_of_tiktoken_does(name: str, text: str) -> None:
    import regex

    pattern = getattr(patterns, name)
    words = patterns.bytes_by(pattern).pre_tokenize_str(text)
    expected = [text[m.start() : m.end()] for m in regex.finditer(pattern, text)]
    assert [text[begin:end] for _, (begin, end) in words] == expected


def test_gpt2_by_its_number_of_ranks(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "tokenizers"
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    published = data_gym_to_mergeable_bpe_ranks(
        str(folder / "gpt2_vocab.bpe"), str(folder / "gpt2_encoder.json")
    )
    ours = load_tokenizer(write(tmp_path, published))
    theirs = tiktoken.Encoding("gpt2", pat_str=GPT2, mergeable_ranks=published,
                               special_tokens={"<|endoftext|>": 50_256})  # fmt: skip
    for name, text in NASTY.items():
        assert ours.encode(text) == theirs.encode(text, disallowed_special=()), name
    assert (ours.vocab_size, ours.eos_id) == (50_257, 50_256)


def test_published_encodings_bring_their_control_tokens() -> None:
    llama = known_encoding(128_000)
    assert len(llama.controls) == 256
    places = {"<|begin_of_text|>": 0, "<|end_of_text|>": 1, "<|reserved_special_token_0|>": 2,
              "<|start_header_id|>": 6, "<|end_header_id|>": 7, "<|reserved_special_token_4|>": 8,
              "<|eot_id|>": 9, "<|reserved_special_token_250|>": 255}  # fmt: skip
    assert {name: id - 128_000 for name, id in llama.controls.items()}.items() >= places.items()
    assert known_encoding(100_256).controls["<|endoftext|>"] == 100_257
    assert known_encoding(199_998).controls["<|endofprompt|>"] == 200_018
    assert known_encoding(151_643).controls["<|im_start|>"] == 151_644
    assert known_encoding(151_643).composed


def test_llama_3_begins_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is called tokenizer.model, as SentencePiece's are."""
    encoding = known_encoding(128_000)
    shift = {name: id - 128_000 + len(ranks()) for name, id in encoding.controls.items()}
    monkeypatch.setattr("ownlm.tokenization.from_tiktoken.known_encoding",
                        lambda count: encoding._replace(controls=shift))  # fmt: skip
    ours = load_tokenizer(write(tmp_path, ranks(), "tokenizer.model"))
    assert ours.vocab_size == len(ranks()) + 256
    assert ours.start == [len(ranks())] == [ours.bos_id]
    assert ours.token(ours.eos_id) == "<|end_of_text|>"
    assert ours.special["<|eot_id|>"] not in ours.encode("<|eot_id|>")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("????  5", "expected base64, a space and a rank"),
        ("IQ==", "expected base64, a space and a rank"),
        ("IQ== -1", "expected base64, a space and a rank"),
        ("IQ== 1e3", "expected base64"),
        ("IQ== " + "9" * 5000, "expected base64"),
        (" 700", "expected base64"),
        ("IQ== 700", "b'!' already has rank"),
        ("//79 5", "rank 5 is also in"),
    ],
)
def test_a_bad_line_is_named(line: str, words: str, tmp_path: Path) -> None:
    path = write(tmp_path, ranks()) / "x.tiktoken"
    lines = path.read_text().split("\n")
    lines.insert(300, line)
    path.write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        load_tokenizer(tmp_path)
    assert words in caught.value.what
    assert caught.value.where == f"{path}:301"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({b"far": 10**6}, "id 1000000 is far beyond"),
        ({b"long" * 20_000: 599}, "tokens are too long, up to 80,000 characters"),
        ({}, "the byte 65 has no rank"),
    ],
)
def test_a_bad_file_is_named(change: Ranks, words: str, tmp_path: Path) -> None:
    kept = dict(ranks()) if change else {k: v for k, v in ranks().items() if k != b"A"}
    with pytest.raises(DataError) as caught:
        load_tokenizer(write(tmp_path, kept | change))
    assert words in caught.value.what
    assert caught.value.where == str(tmp_path / "x.tiktoken")
