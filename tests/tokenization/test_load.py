"""Where a tokenizer may lie, and tokenizers that others made."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as LibraryTokenizer

from ownlm.errors import DataError
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import PASSING, Tokenizer

from .conftest import trained
from .test_tokenizer import forgeries, steering


@pytest.mark.parametrize("place", ["", "tokenizer", "model"])
def test_found_in_a_model_in_prepared_data_and_in_a_run(place: str, tmp_path: Path) -> None:
    trained("bpe").save(tmp_path / place)
    assert load_tokenizer(tmp_path).digest == trained("bpe").digest
    assert load_tokenizer(tmp_path / place / "tokenizer.json").eos_id == trained("bpe").eos_id


def test_none_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            DataError, match=r"no tokenizer here; looked for tokenizer\.json"
        ) as caught:
            load_tokenizer(path)
        assert caught.value.where == str(path)


def test_without_settings_the_customary_names_count(tmp_path: Path) -> None:
    trained("bpe").save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eos_id == trained("bpe").eos_id
    assert tokenizer.pad_id == trained("bpe").pad_id


def test_a_token_of_the_settings_may_be_an_object(tmp_path: Path) -> None:
    trained("bpe").save(tmp_path)
    settings: dict[str, Any] = {"eos_token": {"__type": "AddedToken", "content": "<|user|>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eos_id == tokenizer.special["<|user|>"]


def test_truncation_and_padding_of_a_file_do_not_apply(tmp_path: Path) -> None:
    library = LibraryTokenizer.from_str(trained("bpe")._text)
    library.enable_truncation(2)
    library.enable_padding(length=50)
    (tmp_path / "tokenizer.json").write_text(library.to_str(), encoding="utf-8")
    text = "the quick brown fox"
    assert load_tokenizer(tmp_path).encode(text) == trained("bpe").encode(text)
    assert len(library.encode("a b c d").ids) == 50


def foreign(shared_data: Path, name: str) -> tuple[Tokenizer, LibraryTokenizer]:
    """A published tokenizer, as ours and as the library alone has it."""
    folder = shared_data / "tokenizers"
    if name == "qwen":
        text = gzip.decompress((folder / "qwen2_5_tokenizer.json.gz").read_bytes()).decode()
    elif name == "t5":
        text = (folder / "t5_small_tokenizer.json").read_text(encoding="utf-8")
    elif name == "gpt2":
        text = gpt2(folder).to_str()
    else:
        text = bert(folder).to_str()
    library = LibraryTokenizer.from_str(text)
    library.no_truncation()
    library.no_padding()
    return Tokenizer(text, {}), library


def gpt2(folder: Path) -> LibraryTokenizer:
    files = (str(folder / "gpt2_encoder.json"), str(folder / "gpt2_vocab.bpe"))
    library = LibraryTokenizer(models.BPE.from_file(*files))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return library


def bert(folder: Path) -> LibraryTokenizer:
    vocab = str(folder / "bert_uncased_vocab.txt")
    library = LibraryTokenizer(models.WordPiece.from_file(vocab, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    library.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return library


PUBLISHED = ["gpt2", "qwen", "t5", "bert"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tokenizers_give_the_ids_and_text_of_the_library(
    name: str, shared_data: Path
) -> None:
    ours, library = foreign(shared_data, name)
    for file in ("tinyshakespeare.txt", "zh/sanguo_yanyi.txt", "botchan_en.txt"):
        text = (shared_data / "text" / file).read_text(encoding="utf-8")[:20_000]
        ids = ours.encode(text)
        assert ids == library.encode(text, add_special_tokens=False).ids
        assert ours.decode(ids) == library.decode(ids)
        stream = ours.stream()
        assert "".join([*(stream.push(id) for id in ids), stream.end()]) == ours.decode(ids)
    assert ours.vocab_size == library.get_vocab_size()


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_text_becomes_a_control_of_a_published_tokenizer(name: str, shared_data: Path) -> None:
    ours, library = foreign(shared_data, name)
    names = [n for n in ours.special if not n.startswith("<extra_id_") or n == "<extra_id_7>"]
    texts = forgeries(names)
    for text, ids in zip(texts, ours.encode_batch(texts)):
        assert not steering(ours) & set(ids), text
    # The control: the library, told to leave special tokens alone, still finds some.
    library.encode_special_tokens = True
    found = {id for text in texts for id in library.encode(text, add_special_tokens=False).ids}
    assert bool(steering(ours) & found) is (name in ("t5", "qwen"))


def test_gpt1s_words_end_in_a_space_but_for_the_last(tmp_path: Path) -> None:
    """Its tokenizer.json names no end of text; its decoder drops the space of the last word."""
    from .test_from_merges import words_files

    vocab, merges = words_files()
    library = LibraryTokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", end_of_word_suffix="</w>")
    )
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.BPEDecoder(suffix="</w>")
    library.add_special_tokens(["<unk>"])
    (tmp_path / "tokenizer.json").write_text(library.to_str(), encoding="utf-8")
    with pytest.raises(DataError, match="no end-of-text token"):
        load_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "openai-gpt"}')
    ours = load_tokenizer(tmp_path)
    assert ours.eos_id == ours.unk_id == ours.special["<unk>"]
    ids = ours.encode("the quick brown foxes 中")
    for count in range(len(ids) + 1):
        expected = library.decode(ids[:count], skip_special_tokens=False)
        assert ours.decode(ids[:count], skip_special=False) == expected
        stream = ours.stream(skip_special=False)
        pieces = [stream.push(id) for id in ids[:count]]
        assert "".join([*pieces, stream.end()]) == expected


def test_every_form_is_named_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_tokenizer(tmp_path)
    for name in ("tokenizer.json", "source.spm with vocab.json", "merges.txt with vocab.json",
                 "tokenizer.model", "spiece.model", "*.tiktoken", "vocab.txt"):  # fmt: skip
        assert name in caught.value.what


def test_settings_of_other_files_are_read(tmp_path: Path) -> None:
    trained("bpe").save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "<|user|>"}')
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eos_id == tokenizer.special["<|user|>"]


@pytest.mark.parametrize("value", [-1, 10**6, "3", True, 1.5])
def test_ids_that_merges_pass_through_are_counted_soundly(value: Any, tmp_path: Path) -> None:
    trained("bpe").save(tmp_path)
    settings = trained("bpe").settings | {PASSING: value}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="expected 0 to"):
        load_tokenizer(tmp_path)
