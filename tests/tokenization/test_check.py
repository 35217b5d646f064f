"""T4: a hostile tokenizer.json is refused by entry, and quickly."""

import copy
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ownlm.errors import DataError
from ownlm.tokenization import settings as loading
from ownlm.tokenization.load import load_tokenizer

from .conftest import trained

Spec = dict[str, Any]


def spec_of(kind: str) -> Spec:
    return copy.deepcopy(trained(kind)._spec)


def write(folder: Path, text: str, settings: str = '{"eos_token": "<|endoftext|>"}') -> Path:
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    return folder


def refusal(folder: Path, text: str) -> str:
    began = time.perf_counter()
    with pytest.raises(DataError) as caught:
        load_tokenizer(write(folder, text))
    assert time.perf_counter() - began < 5
    assert caught.value.where == str(folder / "tokenizer.json")
    assert "ownlm tokenizer train" in caught.value.next_command
    return caught.value.what


def added(spec: Spec, **entry: Any) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    spec["added_tokens"].append(flags | {"special": True} | entry)


def size(spec: Spec) -> int:
    return len(spec["model"]["vocab"]) + len(spec["added_tokens"])


FAULTS: dict[str, tuple[str, Callable[[Spec], object], str]] = {
    "two tokens with one id": (
        "bpe",
        lambda s: s["model"]["vocab"].update({"twin": 5}),
        "id 5 belongs to '&' and to 'twin'",
    ),
    "a gap": (
        "bpe",
        lambda s: s["model"]["vocab"].update({"far": size(s) + 3}),
        "no token has id 600, but 'far' has id 603",
    ),
    "a huge id": (
        "char",
        lambda s: s["model"]["vocab"].update({"far": 2**40}),
        "but 'far' has id 1099511627776",
    ),
    "a negative id": (
        "bpe",
        lambda s: s["model"]["vocab"].update({"neg": -1}),
        "model.vocab.neg: Input should be greater than or equal to 0, found -1",
    ),
    "an id that is text": (
        "bpe",
        lambda s: s["model"]["vocab"].update({"word": "7"}),
        "model.vocab.word: Input should be a valid integer, found '7'",
    ),
    "an id that is true": (
        "bpe",
        lambda s: s["model"]["vocab"].update({"word": True}),
        "model.vocab.word",
    ),
    "a merge of an unknown token": (
        "bpe",
        lambda s: s["model"]["merges"].insert(3, ["xq", "a"]),
        "model.merges[3]: ('xq', 'a') needs 'xq', which is not in the vocabulary",
    ),
    "a merge into an unknown token": (
        "bpe",
        lambda s: s["model"]["merges"].append(["Q", "Q"]),
        "needs 'QQ'",
    ),
    "a merge of three": (
        "bpe",
        lambda s: s["model"]["merges"].append("a b c"),
        "'a b c' is not a pair of tokens",
    ),
    "merges that are no list": (
        "bpe",
        lambda s: s["model"].update(merges={}),
        "model.merges: Input should be a valid list, found {}",
    ),
    "random ids": ("bpe", lambda s: s["model"].update(dropout=0.1), "model.dropout"),
    "an unknown token that is unknown": (
        "wordpiece",
        lambda s: s["model"].update(unk_token="[NIX]"),
        "model.unk_token: '[NIX]' is not in the vocabulary",
    ),
    "a piece twice": (
        "unigram",
        lambda s: s["model"]["vocab"].append(s["model"]["vocab"][7]),
        "is also piece 7",
    ),
    "a score that is text": (
        "unigram",
        lambda s: s["model"]["vocab"].__setitem__(2, ["piece", "high"]),
        "model.vocab.2.1: Input should be a valid number",
    ),
    "a piece without score": (
        "unigram",
        lambda s: s["model"]["vocab"].__setitem__(2, ["piece"]),
        "model.vocab.2.1: Field required",
    ),
    "an unknown piece out of range": (
        "unigram",
        lambda s: s["model"].update(unk_id=99999),
        "model.unk_id: 99999 is none of",
    ),
    "an added token in the place of another": (
        "bpe",
        lambda s: added(s, content="<|x|>", id=3),
        "id 3 belongs to '$' and to '<|x|>'",
    ),
    "an added token with two ids": (
        "bpe",
        lambda s: added(s, content="a", id=size(s)),
        "'a' has id 600, but 64 in the model",
    ),
    "an added token twice": (
        "bpe",
        lambda s: added(s, content="<|pad|>", id=size(s)),
        "added_tokens[3]: '<|pad|>' is there twice",
    ),
    "an empty added token": (
        "bpe",
        lambda s: added(s, content="", id=size(s)),
        "added_tokens.3.content: String should have at least 1 character",
    ),
    "no model": ("bpe", lambda s: s.pop("model"), "model: Field required"),
    "a model that is a list": ("bpe", lambda s: s.update(model=[]), "model: Input should be"),
    "no vocabulary": ("bpe", lambda s: s["model"].pop("vocab"), "model.vocab: Field required"),
    "an empty vocabulary": (
        "bpe",
        lambda s: (s["model"].update(vocab={}, merges=[]), s.update(added_tokens=[])),
        "model.vocab: is empty",
    ),
    "an unheard-of model": (
        "bpe",
        lambda s: s["model"].update(type="Oracle"),
        "model.type: Input should be 'BPE', 'WordPiece'",
    ),
    "a broken expression": (
        "bpe",
        lambda s: s.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}
        ),
        "the tokenizer fails",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_refused_by_entry(name: str, tmp_path: Path) -> None:
    kind, damage, expected = FAULTS[name]
    spec = spec_of(kind)
    damage(spec)
    assert expected in refusal(tmp_path, json.dumps(spec))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "not JSON: Expecting value (line 1)", id="empty"),
        pytest.param("{]", "not JSON", id="not JSON"),
        pytest.param("[1]", "expected a mapping, found [1]", id="a list"),
        pytest.param('"text"', "expected a mapping, found 'text'", id="text"),
        pytest.param('{"model": 1, "model": 2}', "the key 'model' is there twice", id="key twice"),
        pytest.param('{"a": NaN}', "NaN is no JSON number", id="NaN"),
        pytest.param("[" * 200_000, "nested too deeply", id="200,000 brackets"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "not JSON: Exceeds the limit", id="5,000 digits"),
    ],
)
def test_not_a_tokenizer_at_all(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in refusal(tmp_path, text)


def test_a_key_twice_in_the_vocabulary(tmp_path: Path) -> None:
    text = json.dumps(spec_of("bpe")).replace('"!": 0', '"!": 0, "!": 0', 1)
    assert "the key '!' is there twice" in refusal(tmp_path, text)


def test_many_faults_are_counted(tmp_path: Path) -> None:
    spec = spec_of("bpe")
    spec["model"]["vocab"] |= {f"bad{n}": -n for n in range(1, 1001)}
    assert "(and 999 more)" in refusal(tmp_path, json.dumps(spec))


def test_not_utf8(tmp_path: Path) -> None:
    write(tmp_path, "{}")
    (tmp_path / "tokenizer.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match="not UTF-8 text: invalid start byte at byte 7"):
        load_tokenizer(tmp_path)


def test_too_large_is_refused_unread(tmp_path: Path) -> None:
    write(tmp_path, "{}")
    with open(tmp_path / "tokenizer.json", "r+b") as file:
        file.truncate(loading.LARGEST + 1)  # sparse: takes no room
    with pytest.raises(DataError, match=r"256\.0 MB is no tokenizer"):
        load_tokenizer(tmp_path)


def test_a_huge_vocabulary_with_one_fault_is_refused_quickly(tmp_path: Path) -> None:
    spec = spec_of("byte")
    spec["model"]["vocab"] |= {f"token{n}": 256 + n for n in range(300_000)}
    spec["added_tokens"] = []
    spec["model"]["vocab"]["last"] = 5
    assert "id 5 belongs to 'ą' and to 'last'" in refusal(tmp_path, json.dumps(spec))


def test_settings_are_checked_too(tmp_path: Path) -> None:
    folder = write(tmp_path, json.dumps(spec_of("bpe")), "[]")
    with pytest.raises(DataError, match=r"tokenizer_config\.json: expected a mapping"):
        load_tokenizer(folder)


VALUES = [
    *(None, True, -1, 0, 1.5, 2**32, 2**64, 1e308, "", "a", "x" * 1000, [], {}, [[]], [1, 2]),
    *({"type": "X"}, {"type": "Sequence"}, {"type": "ByteLevel"}, {"Regex": "("}),
]


def places(value: Any, draw: random.Random, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    entries = list(inner) if isinstance(value, dict | list) else []
    found = [(*path, key) for key, _ in entries]
    for key, below in draw.sample(entries, min(len(entries), 12)):
        if isinstance(below, dict | list):
            found += places(below, draw, (*path, key))
    return found


def damage(spec: Spec, draw: random.Random) -> None:
    *path, last = draw.choice(places(spec, draw))
    holder: Any = spec
    for key in path:
        holder = holder[key]
    if draw.random() < 0.3:
        del holder[last]
    else:
        holder[last] = draw.choice(VALUES)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "char"])
def test_random_damage_is_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    """Whatever is changed: a DataError, or a tokenizer whose ids are in range and no controls."""
    draw, sound = random.Random(kind), spec_of(kind)
    refused = 0
    for _ in range(40):
        spec = copy.deepcopy(sound)
        damage(spec, draw)
        try:
            tokenizer = load_tokenizer(write(tmp_path, json.dumps(spec), "{}"))
            ids = tokenizer.encode("hello </s> 中 <|endoftext|> [MASK] 1234")
            tokenizer.decode(range(tokenizer.vocab_size))
        except DataError:
            refused += 1
        else:
            assert set(ids) <= set(range(tokenizer.vocab_size))
            controls = set(tokenizer.special.values()) - {tokenizer.unk_id}
            assert not controls & set(ids)
    assert refused >= 10
