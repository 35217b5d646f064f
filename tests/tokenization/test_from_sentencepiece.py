"""SentencePiece models give the ids of the `sentencepiece` package, whatever the text."""

import contextlib
import functools
import io
import json
import struct
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import DataError
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.spm import read_spm
from ownlm.tokenization.tokenizer import Tokenizer

from .conftest import CHINESE, ENGLISH, TEXT
from .nasty import MIXED, NASTY, UNICODE

sentencepiece = pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")

LLAMA: dict[str, Any] = {
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
}
TRAINED: dict[str, dict[str, Any]] = {
    "unigram": {"vocab_size": 700},
    "unigram-nfkc": {"vocab_size": 700, "normalization_rule_name": "nfkc"},
    "unigram-folded": {"vocab_size": 700, "normalization_rule_name": "nmt_nfkc_cf"},
    "unigram-bytes": {"vocab_size": 900, "byte_fallback": True},
    "unigram-plain": {
        "vocab_size": 700,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
    },
    "t5": {
        "vocab_size": 700, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1,
    },
    "bpe": {"vocab_size": 700, "model_type": "bpe"},
    "llama": LLAMA | {"vocab_size": 900},
    "gemma": LLAMA
    | {
        "vocab_size": 1000,
        "add_dummy_prefix": False,
        "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3,
        "eos_piece": "<eos>", "bos_piece": "<bos>",
        "user_defined_symbols": ["<mask>", "<start_of_turn>", "<end_of_turn>", "\n\n", "▁▁",
                                 "▁▁▁", "<table>", "</h1>", "<unused0>"],
    },
    "llama-with-text-tokens": LLAMA | {"vocab_size": 900, "user_defined_symbols": ["def", "\n\n"]},
}  # fmt: skip


@functools.cache
def trained(name: str) -> bytes:
    """A small model, trained once."""
    return spm([line for line in TEXT.split("\n") if line] * 2, **TRAINED[name])


def spm(lines: list[str], **options: Any) -> bytes:
    """A model file trained on lines."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        character_coverage=0.999,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return written.getvalue()


def folder_of(folder: Path, data: bytes, file: str = "tokenizer.model", **values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(data)
    if values:
        (folder / "tokenizer_config.json").write_text(json.dumps(values))
    return folder


@functools.cache
def both(name: str) -> tuple[Tokenizer, Any]:
    with tempfile.TemporaryDirectory() as folder:
        ours = load_tokenizer(folder_of(Path(folder), trained(name)))
    return ours, sentencepiece.SentencePieceProcessor(model_proto=trained(name))


def expected(theirs: Any, text: str) -> list[int]:
    ids: list[int] = theirs.encode(text)
    return ids


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("name", TRAINED)
def test_nasty_texts(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(NASTY[text]) == expected(theirs, NASTY[text])


@pytest.mark.parametrize("name", TRAINED)
@given(text=UNICODE)
@settings(max_examples=300)
def test_any_text(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(text) == expected(theirs, text)


@pytest.mark.parametrize("name", TRAINED)
@given(text=MIXED.filter(lambda text: "\ufdd0" not in text))  # see charsmap.py
@settings(max_examples=200)
def test_glued_texts(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(text) == expected(theirs, text)


PUBLISHED = ["llama2_tokenizer.model", "sentencepiece_test_model.model"]


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_models(file: str, shared_data: Path, tmp_path: Path) -> None:
    data = (shared_data / "tokenizers" / file).read_bytes()
    ours = load_tokenizer(folder_of(tmp_path, data))
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
    for name, text in NASTY.items():
        assert ours.encode(text) == theirs.encode(text), name
    for file in ("tinyshakespeare.txt", "zh/sanguo_yanyi.txt"):
        text = (shared_data / "text" / file).read_text(encoding="utf-8")[:50_000]
        ids = ours.encode(text)
        assert ids == theirs.encode(text)
        if ours.unk_id not in ids:  # " ⁇ " there
            assert ours.decode(ids) == theirs.decode(ids)


# What the settings add: families.


def opened(name: str, folder: Path, file: str = "spiece.model", **values: Any) -> Tokenizer:
    return load_tokenizer(folder_of(folder, trained(name), file, **values))


def test_t5_has_sentinels_after_its_pieces(tmp_path: Path) -> None:
    ours = opened("t5", tmp_path, tokenizer_class="T5Tokenizer")
    theirs = transformers.T5Tokenizer.from_pretrained(tmp_path)
    size = both("t5")[0].vocab_size
    assert ours.vocab_size == len(theirs) == size + 100
    assert ours.special["<extra_id_0>"] == size + 99 == theirs.convert_tokens_to_ids("<extra_id_0>")
    assert (ours.pad_id, ours.eos_id, ours.unk_id, ours.bos_id) == (0, 1, 2, None)
    assert ours.start == []
    for text in ("the quick brown fox", NASTY["chinese"], "<extra_id_0>"):
        assert ours.encode(text) == both("t5")[0].encode(text)


@pytest.mark.parametrize("extra", [{"extra_ids": 0}, {}])
def test_mt5_has_none(extra: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mt5"}')
    ours = opened("t5", tmp_path, **extra)
    assert ours.vocab_size == both("t5")[0].vocab_size


def test_llama_begins_a_text(tmp_path: Path) -> None:
    ours = opened("llama", tmp_path, "tokenizer.model", tokenizer_class="LlamaTokenizer")
    theirs = transformers.LlamaTokenizer.from_pretrained(tmp_path, add_bos_token=True)
    assert (ours.unk_id, ours.bos_id, ours.eos_id, ours.pad_id) == (0, 1, 2, None)
    assert ours.start == [1]
    ours.save(tmp_path / "saved")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in ("the quick brown fox", NASTY["emoji"], NASTY["code"]):
        assert ours.start + ours.encode(text) == theirs(text).input_ids == again(text).input_ids
    plain = opened("llama", tmp_path / "plain", "tokenizer.model", add_bos_token=False)
    assert plain.start == []


def test_gemma_keeps_markup_and_hides_turns(tmp_path: Path) -> None:
    ours = opened("gemma", tmp_path, "tokenizer.model", tokenizer_class="GemmaTokenizer")
    assert (ours.pad_id, ours.eos_id, ours.bos_id, ours.unk_id) == (0, 1, 2, 3)
    assert ours.start == [2]
    assert [ours.token(id) for id in ours.encode("<table></h1>")] == ["<table>", "</h1>"]
    turn = ours.special["<start_of_turn>"]
    assert turn not in ours.encode("<start_of_turn>user")
    assert turn in both("gemma")[1].encode("<start_of_turn>user")
    assert ours.decode([turn, *ours.encode("hello")]) == "hello"


def test_tokens_beyond_the_pieces(tmp_path: Path) -> None:
    """Phi-3 and others add control tokens to LLaMA's model."""
    size = both("llama")[0].vocab_size
    ours = opened(
        "llama", tmp_path, "tokenizer.model",
        added_tokens_decoder={
            str(size): {"content": "<|end|>", "special": True},
            str(size + 1): {"content": "<|user|>", "special": True},
        },
        eos_token="<|end|>", pad_token="<|end|>",
    )  # fmt: skip
    assert ours.vocab_size == size + 2
    assert (ours.eos_id, ours.pad_id) == (size, None)
    assert not {size, size + 1} & set(ours.encode("<|end|><|user|>"))
    older = folder_of(tmp_path / "older", trained("llama"))
    (older / "added_tokens.json").write_text(json.dumps({"<|end|>": size}))
    (older / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    assert load_tokenizer(older).eos_id == size


def xlnet(folder: Path) -> Any:
    """What transformers makes of an XLNet model file (and published as tokenizer.json)."""
    from transformers.convert_slow_tokenizer import XLNetConverter

    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    original = types.SimpleNamespace(
        vocab_file=str(folder / "spiece.model"),
        keep_accents=False,
        do_lower_case=False,
        convert_tokens_to_ids=model.piece_to_id,
    )
    return XLNetConverter(original).converted()


def test_xlnet_cleans_a_text_first(tmp_path: Path) -> None:
    controls = ["<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    lines = [f"In 19{n}, about {n},000 sheep, ``{n}'' of them" for n in range(10, 99)]
    data = spm(lines, vocab_size=220, control_symbols=controls)
    ours = load_tokenizer(
        folder_of(tmp_path, data, "spiece.model", tokenizer_class="XLNetTokenizer")
    )
    theirs = xlnet(tmp_path)
    for text in (*lines[:9], "Café  1,997,\n``q'' 12,000,", "naïve\u2003 ① 5,"):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    plain = load_tokenizer(folder_of(tmp_path / "plain", data))
    assert plain.encode(lines[0]) != ours.encode(lines[0])
    assert ours.special.keys() >= {"<s>", "</s>", *controls}
    assert ours.start == []
    folded = load_tokenizer(folder_of(tmp_path, data, "spiece.model", do_lower_case=True,
                                      tokenizer_class="XLNetTokenizer"))  # fmt: skip
    assert folded.encode("ABOUT") == ours.encode("about")


def test_marian_has_its_ids_in_a_file_beside(tmp_path: Path) -> None:
    source = spm([line for line in ENGLISH.split("\n") if line] * 9, vocab_size=90)
    target = spm([CHINESE.strip()] * 9, vocab_size=60)
    models = [sentencepiece.SentencePieceProcessor(model_proto=data) for data in (source, target)]
    pieces = {m.id_to_piece(id) for m in models for id in range(m.get_piece_size())}
    names = ["</s>", "<unk>", *sorted(pieces - {"<s>", "</s>", "<unk>"}), ">>zh<<", "<pad>"]
    folder_of(tmp_path, source, "source.spm", source_lang="en", target_lang="zh",
              tokenizer_class="MarianTokenizer")  # fmt: skip
    (tmp_path / "target.spm").write_bytes(target)
    (tmp_path / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    ours = load_tokenizer(tmp_path)
    theirs = transformers.MarianTokenizer.from_pretrained(tmp_path)
    for text in ("The quick brown fox", "dogs mind 1984.", "  jumps over\n", "</s> <pad>"):
        assert ours.encode(text) == theirs.encode(
            text, add_special_tokens=False, split_special_tokens=True
        )
    assert (ours.eos_id, ours.unk_id, ours.pad_id) == (0, 1, len(names) - 1)
    assert ours.special[">>zh<<"] == len(names) - 2
    assert ours.special[">>zh<<"] not in ours.encode(">>zh<< dogs")
    ids = models[1].encode(CHINESE.strip(), out_type=str)
    assert ours.decode([names.index(piece) for piece in ids]) == models[1].decode(ids)


# T4: hostile and damaged files.


def refusal(folder: Path, data: bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        load_tokenizer(folder_of(folder, data))
    assert caught.value.where == str(folder / "tokenizer.model")
    assert "ownlm tokenizer train" in caught.value.next_command
    return caught.value


def piece(text: bytes, score: float = 0.0, type: int = 1) -> bytes:
    inner = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", score)
    inner += b"\x18" + bytes([type])
    return b"\x0a" + bytes([len(inner)]) + inner


UNKNOWN = piece(b"<unk>", type=2)
HOSTILE = {
    "another format": (b"GGUF" * 9, "no protocol buffer"),
    "a field beyond the end": (b"\x0a\xff\xff\x03abc", "a field of 65535 bytes, 3 are left"),
    "a size that overflows": (b"\x0a" + b"\xff" * 9 + b"\x01", "are left"),
    "an endless number": (b"\x0a" + b"\xff" * 12, "more than 64 bits"),
    "ends inside a number": (UNKNOWN + b"\x0a\x80", "ends inside a number"),
    "no pieces": (b"\x12\x02\x18\x01", "pieces: there are none"),
    "a piece twice": (UNKNOWN + piece(b"a") * 2, "pieces[2]: 'a' is also piece 1"),
    "an empty piece": (UNKNOWN + piece(b""), "pieces[1]: is empty"),
    "not UTF-8": (UNKNOWN + piece(b"\xff"), "pieces[1]: 'utf-8' codec"),
    "no number": (UNKNOWN + piece(b"a", float("nan")), "pieces[1]: 'a' has the score nan"),
    "infinite": (UNKNOWN + piece(b"a", float("inf")), "has the score inf"),
    "an unknown type": (UNKNOWN + piece(b"a", 0, 9), "pieces[1]: 'a' is of unknown type 9"),
    "a number for text": (UNKNOWN + b"\x0a\x02\x08\x05", "a number stands where text should"),
    "text for a number": (UNKNOWN + b"\x12\x03\x1a\x01x", "text stands where a number should"),
    "words": (UNKNOWN + b"\x12\x02\x18\x03", "WORD models are not supported"),
    "spaces at the end": (UNKNOWN + b"\x12\x03\xc0\x01\x01", "treat_whitespace_as_suffix"),
    "no unknown": (UNKNOWN + b"\x12\x03\xc0\x02\x07", "unk_id 7 is none of 1 pieces"),
    "a charsmap of nothing": (UNKNOWN + b"\x1a\x04\x12\x02ab", "precompiled_charsmap: 2 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_by_entry(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE[name]
    assert words in refusal(tmp_path, data).what


def test_every_truncation_is_refused_or_whole(tmp_path: Path) -> None:
    """Cut anywhere: a DataError, or (between two pieces) a smaller model."""
    data = trained("llama")
    for length in range(1, len(data), 331):
        with contextlib.suppress(DataError):
            load_tokenizer(folder_of(tmp_path, data[:length])).encode("hello 中 ")


def test_tokens_too_long_to_cut(tmp_path: Path) -> None:
    """Finding merges takes the square of a token's length."""
    text = ("ab" * 30_000).encode()
    inner = b"\x0a" + varint(len(text)) + text
    data = UNKNOWN + b"\x0a" + varint(len(inner)) + inner + b"\x12\x02\x18\x02"
    assert "tokens are too long, up to 60,000 characters" in refusal(tmp_path, data).what


def varint(number: int) -> bytes:
    low = bytes([number & 127 | (128 if number > 127 else 0)])
    return low + (varint(number >> 7) if number > 127 else b"")


@given(data=st.binary(max_size=300))
@settings(max_examples=300)
def test_arbitrary_bytes_never_escape_as_another_error(data: bytes) -> None:
    with contextlib.suppress(DataError):
        read_spm(data)
