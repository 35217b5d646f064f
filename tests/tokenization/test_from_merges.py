"""vocab.json + merges.txt: the ids of transformers' own classes, whatever the text."""

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers

from ownlm.errors import DataError
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import PASSING, Tokenizer

from .conftest import TEXT, trained
from .nasty import MIXED, NASTY, UNICODE

transformers = pytest.importorskip("transformers")

Files = tuple[dict[str, int], list[tuple[str, str]]]


def write(folder: Path, files: Files, **values: Any) -> Path:
    vocab, merges = files
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    if values:
        (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def model_of(text: str) -> Files:
    model = json.loads(text)["model"]
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    return model["vocab"], [(a, b) for a, b in pairs]


@functools.cache
def bytes_files(*controls: str) -> Files:
    """Byte-level, with control tokens in the vocabulary as these files have them."""
    vocab, merges = model_of(trained("bpe")._text)
    names = dict.fromkeys(controls)
    return {name: id for id, name in enumerate([*names, *vocab])}, merges


@functools.cache
def words_files() -> Files:
    """GPT-1's: lower-cased words that end in </w>."""
    library = LibraryTokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=["<unk>"],
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    return model_of(library.to_str())


@functools.cache
def ctrl_files(missing: int) -> Files:
    """CTRL's spelling of the same: @@ where a word goes on. Without `missing` of the pieces that
    others are merged from."""
    vocab, merges = words_files()
    names = [
        token
        if token == "<unk>"
        else token.removesuffix("</w>") + ("" if token.endswith("</w>") else "@@")
        for token in sorted(vocab, key=vocab.__getitem__)
    ]
    passed = [left + "@@" for left, _ in merges if len(left) > 1 and not left.endswith("</w>")]
    for token in list(dict.fromkeys(passed))[:missing]:
        names.remove(token)
    return {token: id for id, token in enumerate(names)}, merges


ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "gpt2": ("GPT2Tokenizer", lambda: bytes_files("<|endoftext|>"), {}),
    "gpt2-space-first": (
        "GPT2Tokenizer", lambda: bytes_files("<|endoftext|>"), {"add_prefix_space": True},
    ),
    "roberta": ("RobertaTokenizer", lambda: bytes_files(*ROBERTA), {}),
    "bart": ("BartTokenizer", lambda: bytes_files(*ROBERTA), {}),
    "qwen2": ("Qwen2Tokenizer", lambda: bytes_files("<|endoftext|>"), {}),
    "gpt1": ("OpenAIGPTTokenizer", words_files, {}),
    "ctrl": ("CTRLTokenizer", lambda: ctrl_files(0), {}),
    "ctrl-incomplete": ("CTRLTokenizer", lambda: ctrl_files(60), {}),
}  # fmt: skip


@functools.cache
def both(name: str) -> tuple[Tokenizer, Any]:
    import tempfile

    kind, files, values = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), files(), tokenizer_class=kind, **values)
        theirs = getattr(transformers, kind).from_pretrained(path, **values)
        return load_tokenizer(path), theirs


def expected(theirs: Any, text: str) -> list[int]:
    """Their ids when special tokens are told to be text."""
    if not theirs.is_fast:
        tokens = theirs.tokenize(text, split_special_tokens=True)
        ids: list[int] = theirs.convert_tokens_to_ids(tokens)
        return ids
    library = theirs.backend_tokenizer
    library.encode_special_tokens = True
    found: list[int] = library.encode(text, add_special_tokens=False).ids
    return found


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("name", CASES)
def test_nasty_texts(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(NASTY[text]) == expected(theirs, NASTY[text])


@pytest.mark.parametrize("name", CASES)
@given(text=UNICODE)
@settings(max_examples=150)
def test_any_text(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(text) == expected(theirs, text)


@pytest.mark.parametrize("name", CASES)
@given(text=MIXED)
@settings(max_examples=150)
def test_glued_texts(name: str, text: str) -> None:
    ours, theirs = both(name)
    assert ours.encode(text) == expected(theirs, text)


@pytest.mark.parametrize("name", CASES)
def test_ids_come_back_as_their_text(name: str) -> None:
    ours, theirs = both(name)
    texts = (TEXT[:2000], "the quick brown fox", "the dog's 1984.", "again")
    known = [text for text in texts if ours.unk_id not in ours.encode(text)]
    assert known
    for text in known:
        ids = ours.encode(text)
        text = theirs.decode(ids, clean_up_tokenization_spaces=False)
        assert ours.decode(ids, skip_special=False).strip() == text.strip()
        stream = ours.stream()
        parts = [*(stream.push(id) for id in ids), stream.end()]
        assert "".join(parts) == ours.decode(ids)


@pytest.mark.parametrize("name", CASES)
def test_roles_and_what_stands_around_a_text(name: str) -> None:
    ours, theirs = both(name)
    eos = theirs.eos_token_id if theirs.eos_token_id is not None else theirs.unk_token_id
    assert ours.eos_id == eos
    if name in ("roberta", "bart"):
        assert ours.start == [theirs.bos_token_id]
        assert (ours.pad_id, ours.unk_id) == (theirs.pad_token_id, theirs.unk_token_id)
    else:
        assert ours.start == []


@pytest.mark.parametrize("name", CASES)
def test_saved_and_opened_again(name: str, tmp_path: Path) -> None:
    ours, _ = both(name)
    ours.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.digest == ours.digest
    assert [again.encode(t) for t in NASTY.values()] == [ours.encode(t) for t in NASTY.values()]
    assert (again.eos_id, again.pad_id, again.vocab_size) == (
        ours.eos_id, ours.pad_id, ours.vocab_size,
    )  # fmt: skip
    if not again.settings.get(PASSING):
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert len(theirs) == ours.vocab_size
        for text in ("the quick brown fox", NASTY["emoji"], NASTY["mixed"]):
            assert expected(theirs, text) == ours.encode(text)
            assert theirs(text).input_ids[: len(ours.start)] == ours.start


def test_pieces_that_merges_only_pass_through_have_no_ids() -> None:
    ours, theirs = both("ctrl-incomplete")
    assert ours.settings[PASSING] > 20
    assert ours.vocab_size == len(theirs)
    ids = ours.encode(TEXT)
    assert max(ids) < ours.vocab_size
    assert ours.unk_id in ids


def test_kind_is_told_from_the_tokens(tmp_path: Path) -> None:
    for name in ("gpt2", "gpt1", "ctrl"):
        kind, files, _ = CASES[name]
        assert kind
        ours = load_tokenizer(write(tmp_path / name, files()))
        assert ours.encode(TEXT) == both(name)[0].encode(TEXT)


def test_gpt2s_own_file_names(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "tokenizers"
    (tmp_path / "encoder.json").write_bytes((folder / "gpt2_encoder.json").read_bytes())
    (tmp_path / "vocab.bpe").write_bytes((folder / "gpt2_vocab.bpe").read_bytes())
    ours = load_tokenizer(tmp_path)
    assert (ours.vocab_size, ours.eos_id, ours.pad_id) == (50_257, 50_256, None)
    assert ours.encode("Hello world") == [15496, 995]
    assert load_tokenizer(tmp_path / "encoder.json").digest == ours.digest
    for text in NASTY.values():
        assert ours.decode(ours.encode(text)) == text


def test_published_qwen(shared_data: Path, tmp_path: Path) -> None:
    packed = shared_data / "tokenizers" / "qwen2_5_tokenizer.json.gz"
    text = gzip.decompress(packed.read_bytes()).decode()
    spec = json.loads(text)
    added = {entry["id"]: entry for entry in spec["added_tokens"]}
    path = write(tmp_path, model_of(text), tokenizer_class="Qwen2Tokenizer",
                 added_tokens_decoder={str(id): entry for id, entry in added.items()},
                 bos_token=None, eos_token="<|im_end|>")  # fmt: skip
    ours, library = load_tokenizer(path), LibraryTokenizer.from_str(text)
    library.encode_special_tokens = True
    for sample in NASTY.values():
        assert ours.encode(sample) == library.encode(sample, add_special_tokens=False).ids
    assert ours.vocab_size == library.get_vocab_size()
    assert ours.token(ours.eos_id) == "<|im_end|>"
    assert ours.bos_id is None


# T4: refused by entry.


def refusal(folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_tokenizer(folder)
    return caught.value


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a b c", "'a b c' is not a pair of tokens"),
        ("ab", "'ab' is not a pair"),
        ("a  b", "is not a pair"),
        ("t xq", "needs 'xq', which is not in the vocabulary"),
        ("Q Q", "needs 'QQ'"),
    ],
)
def test_a_bad_merge_is_named_with_its_line(line: str, words: str, tmp_path: Path) -> None:
    folder = write(tmp_path, bytes_files("<|endoftext|>"))
    path = folder / "merges.txt"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines.insert(7, line)
    path.write_text("\n".join(lines), encoding="utf-8")
    error = refusal(folder)
    assert words in error.what
    assert error.where == f"{path}:8"
    assert "ownlm tokenizer train" in error.next_command


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"far": 10**9}, "but 'far' has id 1000000000"),
        ({"twin": 5}, "id 5 belongs to"),
        ({"neg": -1}, "'neg': expected an id, found -1"),
        ({"text": "7"}, "'text': expected an id, found '7'"),
        ({"true": True}, "'true': expected an id, found True"),
    ],
)
def test_a_bad_vocabulary_is_refused_by_entry(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    vocab, merges = bytes_files("<|endoftext|>")
    error = refusal(write(tmp_path, (vocab | change, merges)))
    assert words in error.what
    assert error.where == str(tmp_path / "vocab.json")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"add_prefix_space": "yes"}, "add_prefix_space: expected true or false, found 'yes'"),
        ({"eos_token": {"content": ""}}, "String should have at least 1 character"),
        ({"eos_token": 7}, "found 7"),
        ({"additional_special_tokens": 7}, "additional_special_tokens: expected a list, found 7"),
        ({"added_tokens_decoder": {"x": {"content": "y"}}}, "added tokens: decoder.x"),
        ({"added_tokens_decoder": {"-1": {"content": "y"}}}, "added tokens: decoder.-1"),
        ({"added_tokens_decoder": {"5": {"content": "y"}}}, "'y' has id 5, but 89 in the model"),
        ({"added_tokens_decoder": {"99999": {"content": "y"}}}, "'y' has id 99999"),
    ],
)
def test_bad_settings_are_refused_by_key(
    values: dict[str, Any], words: str, tmp_path: Path
) -> None:
    error = refusal(write(tmp_path, bytes_files("<|endoftext|>"), **values))
    assert words in str(error)


def test_half_of_a_pair_of_files_is_no_tokenizer(tmp_path: Path) -> None:
    write(tmp_path, bytes_files("<|endoftext|>"))
    (tmp_path / "vocab.json").unlink()
    assert "merges.txt with vocab.json" in refusal(tmp_path).what
