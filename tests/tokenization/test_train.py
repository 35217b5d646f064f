"""Training: sampled evenly, the same at every run, safe whatever the text says."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.controls import MARKER
from ownlm.tokenization.sample import PIECE, sample
from ownlm.tokenization.train import train_tokenizer

from .conftest import CHINESE, ENGLISH, KINDS, TEXT, trained

BYTE_TOKENS = {f"<0x{byte:02X}>" for byte in range(256)}


def config(**values: object) -> TokenizerConfig:
    return TokenizerConfig.parse({"vocab_size": 600} | values)


def model_vocabulary(kind: str, text: str) -> set[str]:
    tokenizer = train_tokenizer([text], config(kind=kind))
    vocab = tokenizer._spec["model"]["vocab"]
    return set(vocab) if isinstance(vocab, dict) else {piece for piece, _ in vocab}


# Text that spells control tokens.


@pytest.mark.parametrize("kind", KINDS)
def test_control_strings_in_the_text_are_not_learned(kind: str) -> None:
    controls = ["<|endoftext|>", "<|pad|>", "[MASK]", "[SEP]", "<|user|>", "</s>"]
    text = "".join(f"{name}{name} {name}\n" for name in controls) * 300
    learned = model_vocabulary(kind, text)
    assert not learned & set(controls)
    # [UNK], which a WordPiece model must know itself, is out of reach of its words, and the byte
    # tokens of char are, since its words are not merged.
    markers = {token for token in learned if MARKER.fullmatch(token)}
    assert markers == {"wordpiece": {"[UNK]"}, "char": BYTE_TOKENS & learned}.get(kind, set())
    tokenizer = train_tokenizer([text], config(kind=kind, controls=("<|user|>",)))
    steering = set(tokenizer.special.values()) - {tokenizer.unk_id}
    assert not steering & set(tokenizer.encode(text))


def test_an_unsafe_word_of_the_same_frequency_is_learned() -> None:
    """The control: what is not of that form does become a token."""
    assert "Ġendoftext" in model_vocabulary("bpe", " endoftext" * 300)


@pytest.mark.parametrize("name", ["user", "@user", " ", "", "<user", "<|>", "##a"])
def test_a_control_that_text_could_spell_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.controls"):
        train_tokenizer([TEXT], config(controls=(name,)))


def test_own_controls_come_last_and_once() -> None:
    tokenizer = train_tokenizer([TEXT], config(controls=("<|user|>", "[TOOL]", "<|pad|>")))
    assert list(tokenizer.special) == ["<|endoftext|>", "<|pad|>", "<|user|>", "[TOOL]"]


# Sizes.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [300, 600])
def test_the_vocabulary_has_the_size_asked_for(kind: str, size: int) -> None:
    """Or less, where there is no more to learn; never more."""
    tokenizer = train_tokenizer([TEXT], config(kind=kind, vocab_size=size))
    least = {"bpe": size, "wordpiece": min(size, 450), "unigram": min(size, 350)}.get(kind, 258)
    assert least <= tokenizer.vocab_size <= size


def test_too_small_is_refused_before_anything_is_read() -> None:
    def never() -> Iterator[str]:
        raise AssertionError("read")
        yield ""

    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size: 200 is too small: .* need 258"):
        train_tokenizer(never(), config(vocab_size=200))
    assert train_tokenizer(never(), config(kind="byte", vocab_size=1)).vocab_size == 258


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "char"])
def test_no_text_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match="no text to train a tokenizer on"):
        train_tokenizer(["", ""], config(kind=kind))


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_half_a_surrogate_pair_in_the_text_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match="text 1, character 1: half of a surrogate pair"):
        train_tokenizer(["fine", "a\ud800"], config(kind=kind))


@pytest.mark.parametrize("size", [0, -1, 10**9])
def test_sizes_without_sense_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="vocab_size"):
        config(vocab_size=size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["a", " ", "\x00", "\n" * 50, "中"])
def test_very_little_text_is_enough(kind: str, text: str) -> None:
    tokenizer = train_tokenizer([text], config(kind=kind))
    if kind != "wordpiece":
        assert tokenizer.decode(tokenizer.encode("any 文 text")) == "any 文 text"


def test_char_keeps_the_most_frequent_characters() -> None:
    text = "".join(chr(0x4E00 + n) * (500 - n) for n in range(400))
    tokenizer = train_tokenizer([text], config(kind="char", vocab_size=258 + 100))
    assert tokenizer.vocab_size == 358
    assert len(tokenizer.encode(chr(0x4E00 + 99))) == 1
    assert len(tokenizer.encode(chr(0x4E00 + 100))) == 3  # its bytes


def test_char_needs_no_second_token_for_ascii() -> None:
    tokenizer = train_tokenizer(["abc"], config(kind="char"))
    assert tokenizer.vocab_size == 256 + 2
    assert tokenizer.decode(tokenizer.encode("abcd")) == "abcd"


def test_wordpiece_fills_its_vocabulary_with_the_rarer_characters() -> None:
    text = "".join(chr(0x4E00 + n) * (500 - n) for n in range(400))
    tokenizer = train_tokenizer([text], config(kind="wordpiece", vocab_size=450))
    assert tokenizer.vocab_size == 450
    known = [tokenizer.unk_id not in tokenizer.encode(chr(0x4E00 + n)) for n in range(400)]
    assert known == sorted(known, reverse=True) and 280 < sum(known) < 400


def test_wordpiece_knows_all_of_ascii() -> None:
    tokenizer = train_tokenizer(["中文"], config(kind="wordpiece"))
    text = "".join(map(chr, range(33, 127))) + " aB9z"
    assert tokenizer.unk_id not in tokenizer.encode(text)


def test_lowercase() -> None:
    for kind in ("bpe", "wordpiece", "char", "unigram"):
        tokenizer = train_tokenizer([TEXT], config(kind=kind, lowercase=True))
        assert tokenizer.encode("The DOG") == tokenizer.encode("the dog")
        assert tokenizer.decode(tokenizer.encode("The DOG")) == "the dog"
    assert trained("bpe").encode("The DOG") != trained("bpe").encode("the dog")


def test_an_existing_tokenizer_is_taken_instead(tmp_path: Path) -> None:
    trained("bpe").save(tmp_path)
    taken = train_tokenizer(iter(()), config(path=str(tmp_path)))
    assert taken.digest == trained("bpe").digest


# The sample.


def test_everything_is_kept_when_it_fits() -> None:
    assert "".join(sample([ENGLISH, CHINESE], 1 << 20)) == ENGLISH + CHINESE


def test_the_sample_is_bounded_and_comes_from_everywhere() -> None:
    texts = (chr(ord("a") + n % 26) * 997 for n in range(20_000))
    kept = sample(texts, 500_000)
    assert 250_000 < sum(map(len, kept)) <= 500_000
    letters = "".join(piece[0] for piece in kept)
    counts = [letters.count(chr(ord("a") + n)) for n in range(26)]
    assert min(counts) > 4, "also what comes in a steady rhythm is met"
    # A sample of the beginning would be 19 rounds through the alphabet, the last one cut.
    assert letters[:26] != "abcdefghijklmnopqrstuvwxyz"


def test_the_sample_is_the_same_again_and_one_huge_text_is_cut() -> None:
    text = "".join(f"{n} " for n in range(200_000))
    first = sample([text], 100_000)
    assert first == sample([text], 100_000)
    assert len(first) > 3 and all(len(piece) <= PIECE for piece in first)


def test_one_piece_is_kept_even_when_it_is_larger_than_the_bound() -> None:
    assert sample(["abc" * 100], 10) == ["abc" * 100]


def test_later_languages_are_learned_too() -> None:
    """English first and more than fits; Chinese after it must still be in the sample."""
    texts = [*[ENGLISH * 20] * 60, *[CHINESE * 60] * 60]
    tokenizer = train_tokenizer(texts, config(sample_bytes=100_000))
    assert len(tokenizer.encode(CHINESE)) < len(CHINESE.encode()) / 3


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    train_tokenizer(
        [TEXT, TEXT], config(), lambda stage, done, total: told.append((stage, done, total))
    )
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == [
        "reading text",
        "counting words",
        "learning the vocabulary",
    ]
    size = 2 * len(TEXT.encode())
    assert [entry for entry in told if entry[0] == "reading text"][-1] == ("reading text", size, 0)
    assert told[-1] == ("learning the vocabulary", size, size)


# T6: the same vocabulary at any number of threads, and at every run.

TRAIN = """
import json, sys
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer
texts = json.load(open(sys.argv[1], encoding="utf-8"))
for kind in ("bpe", "wordpiece", "unigram", "char", "byte"):
    config = TokenizerConfig(kind=kind, vocab_size=1200)
    print(train_tokenizer(texts, config).digest)
"""


def test_the_same_bytes_at_one_and_eight_threads(tmp_path: Path) -> None:
    words = ["".join(chr(97 + (n * k) % 26) for k in range(3 + n % 6)) for n in range(3000)]
    (tmp_path / "texts.json").write_text(json.dumps([TEXT, " ".join(words)]), encoding="utf-8")
    results = []
    for threads in ("1", "8", "1"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, str(tmp_path / "texts.json")],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        results.append(done.stdout.split())
    assert results[0] == results[1] == results[2]
    assert len(set(results[0])) == 5


UNLIKE = """
import random
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer
draw = random.Random(0)
letters = [chr(0x4E00 + n) for n in range(2000)]
texts = ("，".join("".join(draw.choices(letters, k=10)) for _ in range(500)) for _ in range(900))
train_tokenizer(texts, TokenizerConfig())
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_chinese_whose_words_never_repeat_is_learned_within_a_gigabyte() -> None:
    """The worst case: 14 MB of which no word comes twice, more than the default sample takes."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "RAYON_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", UNLIKE],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    assert 200 < int(done.stdout) < 850


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["a", "中", " ", "ab"])
def test_ten_megabytes_of_one_character_train(unit: str) -> None:
    text = unit * (10_000_000 // len(unit.encode()))
    tokenizer = train_tokenizer([text], config())
    assert tokenizer.decode(tokenizer.encode(text[:1000])) == text[:1000]
    assert max(len(tokenizer.pieces[id]) for id in range(tokenizer.vocab_size)) >= 64


def test_chinese_compresses_like_english(shared_data: Path) -> None:
    """Held-out bytes per token of two vocabularies of one size, each on its own language."""
    found = {}
    for name in ("tinyshakespeare.txt", "zh/sanguo_yanyi.txt"):
        text = (shared_data / "text" / name).read_text(encoding="utf-8")
        text = text[: 200_000 // (1 + 2 * ("zh" in name))]
        cut = len(text) * 9 // 10
        tokenizer = train_tokenizer([text[:cut]], TokenizerConfig(vocab_size=2048))
        found[name] = len(text[cut:].encode()) / len(tokenizer.encode(text[cut:]))
    english, chinese = found.values()
    assert english > 2.6 and chinese > 2.6
