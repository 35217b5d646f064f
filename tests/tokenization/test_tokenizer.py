"""Exact (T1), linear (T2), safe (T3), bound by its digest (T5)."""

import hashlib
import itertools
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer

from ownlm.errors import DataError
from ownlm.tokenization import tokenizer as module
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer

from .conftest import CHINESE, ENGLISH, EXACT, KINDS, OTHERS, TEXT, trained

AWKWARD = [
    "",
    " ",
    "\x00",
    "a\x00b\x1b\x7f\x85",
    "\r\n\r\n \t x",
    "cafe\u0301 café",
    "שלום\u200f עולם",
    "👨‍👩‍👧‍👦🏳️‍🌈\U0010ffff\ufeff\ufffe\u2028",
    "�",
    "\ue000\U000f0000",
    "<0x41>",
    "Ġthe ▁the ##ing",
]


@pytest.mark.parametrize("kind", EXACT)
@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
@example("".join(AWKWARD))
def test_every_text_comes_back(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_awkward_texts_come_back(exact: Tokenizer) -> None:
    for text in [*AWKWARD, TEXT]:
        assert exact.decode(exact.encode(text)) == text


def test_random_bytes_decoded_any_way_come_back(exact: Tokenizer) -> None:
    draw = random.Random(0)
    for _ in range(200):
        data = draw.randbytes(draw.randrange(80))
        for text in (
            data.decode("utf-8", "replace"),
            data.decode("latin-1"),
            data.decode("utf-16-le", "replace"),
            data.decode("utf-8", "backslashreplace"),
            data.decode("cp1252", "ignore"),
        ):
            assert exact.decode(exact.encode(text)) == text


def test_half_a_surrogate_pair_is_refused_with_its_place(tokenizer: Tokenizer) -> None:
    broken = b"ab\xff".decode("utf-8", "surrogateescape")
    with pytest.raises(DataError, match=r"text 1, character 2: half of a surrogate pair"):
        tokenizer.encode_batch(["fine", broken])
    with pytest.raises(DataError, match="surrogate"):
        tokenizer.encode("x" * (module.WINDOW + 10) + "\ud800")


def test_ids_are_contiguous_with_controls_at_the_end(tokenizer: Tokenizer) -> None:
    controls = sorted(tokenizer.special.values())
    assert controls == list(range(tokenizer.vocab_size - len(controls), tokenizer.vocab_size))
    assert len(tokenizer) == tokenizer.vocab_size <= 600
    names = [tokenizer.token(id) for id in range(tokenizer.vocab_size)]
    assert len(set(names)) == tokenizer.vocab_size
    assert max(tokenizer.encode(TEXT)) < tokenizer.vocab_size


def test_roles(tokenizer: Tokenizer) -> None:
    named = {id: name for name, id in tokenizer.special.items()}
    assert tokenizer.pad_id is not None
    assert tokenizer.pad_id != tokenizer.eos_id
    if tokenizer.kind == "WordPiece":
        assert tokenizer.unk_id is not None and tokenizer.bos_id is not None
        roles = (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id)
        assert [named[id] for id in roles] == ["[CLS]", "[SEP]", "[PAD]", "[UNK]"]
        assert {"[MASK]", "<|user|>"} <= tokenizer.special.keys()
    else:
        assert named[tokenizer.eos_id] == "<|endoftext|>" and named[tokenizer.pad_id] == "<|pad|>"
        assert tokenizer.bos_id is None and tokenizer.unk_id is None
        assert "<|user|>" in tokenizer.special


def test_pad_is_never_the_end_of_text() -> None:
    made = trained("byte")
    settings = made.settings | {"pad_token": "<|endoftext|>"}
    assert Tokenizer(json.dumps(made._spec), settings).pad_id is None


def test_no_end_of_text_is_refused() -> None:
    made = trained("byte")
    with pytest.raises(DataError, match="no end-of-text token"):
        Tokenizer(json.dumps(made._spec), made.settings | {"eos_token": "<|nowhere|>"})


# T3: no text becomes a control token.


def forgeries(names: list[str]) -> list[str]:
    """Names alone, in text, glued, halved across joins, doubled, and look-alikes."""
    texts = []
    for name in names:
        wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name)
        texts += [name, f"a{name}b", f" {name} ", f"\n{name}\n", name * 3, name.upper(), wide]
        texts += [name[:k] + name + name[k:] for k in range(1, len(name))]
        texts += [name[:k] + "\u200b" + name[k:] for k in range(1, len(name))]
    texts += [a[:-1] + b[-1:] + b for a, b in itertools.permutations(names, 2)]
    return texts


def steering(tokenizer: Tokenizer) -> set[int]:
    """Ids no text may give: all controls but the one for unknown characters."""
    return set(tokenizer.special.values()) - {tokenizer.unk_id}


def test_no_text_becomes_a_control(tokenizer: Tokenizer) -> None:
    texts = forgeries([*tokenizer.special, "</s>", "<pad>"])
    for text, ids in zip(texts, tokenizer.encode_batch(texts)):
        assert not steering(tokenizer) & set(ids), text
        assert ids == tokenizer.encode(text)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_mixture_becomes_a_control(kind: str, data: st.DataObject) -> None:
    tokenizer = trained(kind)
    parts = st.sampled_from([*tokenizer.special, "<|", "|>", "[", "]", " ", "\n", "user", "中"])
    text = "".join(data.draw(st.lists(parts | st.text(max_size=3), max_size=12)))
    assert not steering(tokenizer) & set(tokenizer.encode(text))
    halves = tokenizer.encode(text[: len(text) // 2]) + tokenizer.encode(text[len(text) // 2 :])
    assert not steering(tokenizer) & set(halves), "nor where two texts are joined"


def test_the_unknown_token_is_not_spelled_either() -> None:
    tokenizer = trained("wordpiece")
    assert tokenizer.unk_id not in tokenizer.encode("[UNK] and [unk]")
    assert tokenizer.unk_id in tokenizer.encode("\U00013000")


def test_the_library_alone_would_find_the_control() -> None:
    """The control of this section: the same file without our flag does yield the id."""
    tokenizer = trained("bpe")
    plain = LibraryTokenizer.from_str(json.dumps(tokenizer._spec))
    assert tokenizer.eos_id in plain.encode("<|endoftext|>", add_special_tokens=False).ids


def test_a_control_inside_the_vocabulary_is_out_of_reach() -> None:
    """A vocabulary that has learned the control itself, as those of T5 and LLaMA 2 have."""
    spec: dict[str, Any] = json.loads(json.dumps(trained("bpe")._spec))
    spec["model"]["ignore_merges"] = True
    spec["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    spec["pre_tokenizer"]["trim_offsets"] = False
    size = len(spec["model"]["vocab"])
    spec["model"]["vocab"] |= {"<|endoftext|>": size}
    library = LibraryTokenizer.from_str(json.dumps(spec))
    library.encode_special_tokens = True
    assert library.encode("<|endoftext|>", add_special_tokens=False).ids == [size]
    tokenizer = Tokenizer(json.dumps(spec), trained("bpe").settings)
    assert tokenizer.eos_id == size
    assert size not in tokenizer.encode("<|endoftext|>")
    assert tokenizer.decode(tokenizer.encode("<|endoftext|>")) == "<|endoftext|>"


def test_a_marker_that_does_not_say_special_is_a_control_but_is_shown() -> None:
    spec = json.loads(json.dumps(trained("bpe")._spec))
    for entry in spec["added_tokens"]:
        entry["special"] = entry["content"] != "<|user|>"
    tokenizer = Tokenizer(json.dumps(spec), trained("bpe").settings)
    user = tokenizer.special["<|user|>"]
    assert user not in tokenizer.encode("<|user|>")
    assert tokenizer.decode([user, tokenizer.eos_id]) == "<|user|>"


# T2: windows and batches give the ids of the whole.


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", " ", "\n", "!", "1", "中", "é", "\u0301", "İ", "don't ", "，"])
            | st.text(min_size=1, max_size=5),
            st.integers(1, 400),
        ),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_windows_give_the_same_ids(kind: str, runs: list[tuple[str, int]]) -> None:
    tokenizer, text = trained(kind), "".join(unit * count for unit, count in runs)
    whole = tokenizer._run([text])[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", 600)
        assert tokenizer.encode(text) == whole
        assert tokenizer.encode_batch([text, "x"]) == [whole, tokenizer.encode("x")]


def test_windows_give_the_same_ids_on_real_text(
    shared_data: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["tinyshakespeare.txt", "zh/sanguo_yanyi.txt"]
    texts = [(shared_data / "text" / n).read_text(encoding="utf-8")[:60_000] for n in names]
    whole = tokenizer.encode_batch(texts)
    monkeypatch.setattr(module, "WINDOW", 5_000)
    assert tokenizer.encode_batch(texts) == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "unit"),
    [("bpe", "a"), ("bpe", " "), ("bpe", "中"), ("unigram", "\n "), ("byte", "a"), ("char", "中")],
)
def test_ten_megabytes_of_one_character(kind: str, unit: str) -> None:
    """Ten times the text takes about ten times as long; 60 would still be far from quadratic."""
    exact, seconds = trained(kind), []
    for size in (1_000_000, 10_000_000):
        text = unit * (size // len(unit.encode()))
        began = time.perf_counter()
        ids = exact.encode(text)
        seconds.append(time.perf_counter() - began)
        assert exact.decode(ids) == text
    assert seconds[1] < 60 * max(seconds[0], 0.05)


# T5, saving and loading.


def test_digest_is_bound_to_what_the_file_says(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).digest == tokenizer.digest
    assert len(tokenizer.digest) == len(hashlib.sha256().hexdigest())
    spec = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    other_layout = json.dumps(dict(reversed(spec.items())), ensure_ascii=True)
    assert Tokenizer(other_layout, tokenizer.settings).digest == tokenizer.digest
    spec["added_tokens"][-1]["lstrip"] = True
    assert Tokenizer(json.dumps(spec), tokenizer.settings).digest != tokenizer.digest


def test_digests_of_different_kinds_differ() -> None:
    assert len({trained(kind).digest for kind in KINDS}) == len(KINDS)


def test_saved_and_loaded_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "new" / "folder")
    again = load_tokenizer(tmp_path / "new" / "folder")
    assert again.special == tokenizer.special and again.settings == tokenizer.settings
    assert (again.eos_id, again.bos_id) == (tokenizer.eos_id, tokenizer.bos_id)
    assert (again.pad_id, again.unk_id) == (tokenizer.pad_id, tokenizer.unk_id)
    assert again.encode(TEXT) == tokenizer.encode(TEXT)
    again.save(tmp_path / "third")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        first = (tmp_path / "new" / "folder" / name).read_bytes()
        assert (tmp_path / "third" / name).read_bytes() == first


def test_transformers_gives_the_same_ids_and_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [ENGLISH, CHINESE, OTHERS, *AWKWARD, *forgeries(["<|endoftext|>", "[MASK]"])]:
        ids = tokenizer.encode(text)
        assert theirs.encode(text, add_special_tokens=False) == ids
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)
    assert len(theirs) == tokenizer.vocab_size
    assert theirs.pad_token_id == tokenizer.pad_id
    assert theirs.split_special_tokens is True
    end = theirs.sep_token_id if tokenizer.kind == "WordPiece" else theirs.eos_token_id
    assert end == tokenizer.eos_id


def test_transformers_puts_bert_controls_around_a_pair(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = trained("wordpiece")
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    both = theirs("the fox", "the dog")
    fox, dog = tokenizer.encode("the fox"), tokenizer.encode("the dog")
    cls, sep = tokenizer.bos_id, tokenizer.eos_id
    assert both["input_ids"] == [cls, *fox, sep, *dog, sep]
    assert both["token_type_ids"] == [0] * (len(fox) + 2) + [1] * (len(dog) + 1)


def test_repr_and_names(tokenizer: Tokenizer) -> None:
    assert tokenizer.digest[:12] in repr(tokenizer) and f"{len(tokenizer):,} ids" in repr(tokenizer)
    ids = tokenizer.encode("天下")
    shown = "".join(tokenizer.readable(id) for id in ids)
    assert all(c.isprintable() for c in shown)


def test_the_characters_of_each_id() -> None:
    """White space before a word is no part of it; the bytes of a character all stand for it."""
    tokenizer = trained("byte")
    ids, places = tokenizer.encode_places(" a 船")
    assert ids == tokenizer.encode(" a 船")
    assert [places[0], places[1]] == [(0, 1), (1, 2)] and places[-3:] == [(3, 4)] * 3
    assert tokenizer.encode_places("") == ([], [])
