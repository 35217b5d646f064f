"""Tags of words: alignment, windows and mending by hand, and as the reference's tagger learns."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import bpe, small_bpe, wordpiece
from hypothesis import given, strategies
from task_cases import HERE, RNG, TAGS, apart, config_of, learned, made, sentence, tagged

from ownlm.data.encoded import Encoded, examples
from ownlm.data.faults import Bad
from ownlm.data.tasks.predictions import Tagging
from ownlm.data.tasks.records import Tagged
from ownlm.models.load import build_any, save_model
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.tasks.tag import Tag, best_of, mended, pieces_of, windows
from ownlm.objectives.tasks.task import encode_all

X = IGNORE


def record(words: str, tags: str = "", predicate: int | None = None) -> Tagged:
    return Tagged(
        origin=HERE, words=tuple(words.split()), tags=tuple(tags.split()), predicate=predicate
    )


def names(task: Tag, item: Encoded) -> list[str]:
    """The target of every token, by name."""
    return [task.labels[t] if t != X else "-" for t in item.target.tolist()]


def pieces(item: Encoded) -> list[str]:
    return [wordpiece().token(id) for id in item.ids.tolist()]


def tag_of(family: str, **options: Any) -> Tag:
    task, _ = made(family, "tag", **options)
    assert isinstance(task, Tag)
    return task


WORDS, NAMES = "the harbourworked slept", "O B-PER B-LOC"


def test_the_first_piece_carries_the_tag() -> None:
    (item,) = tag_of("bert").encode(record(WORDS, NAMES), 0)
    assert pieces(item) == ["[CLS]", "the", "harbour", "##w", "##or", "##ked", "slept", "[SEP]"]
    assert names(tag_of("bert"), item) == ["-", "O", "B-PER", "-", "-", "-", "B-LOC", "-"]
    assert item.extra.places.tolist() == [1, 2, 6] and item.extra.words.tolist() == [0, 1, 2]


def test_every_piece_may_carry_it() -> None:
    task = tag_of("bert", every_piece=True)
    (item,) = task.encode(record(WORDS, NAMES), 0)
    assert names(task, item) == ["-", "O", "B-PER", "I-PER", "I-PER", "I-PER", "B-LOC", "-"]
    assert item.extra.places.tolist() == [1, 2, 6]


def test_a_decoder_tags_a_word_when_it_has_seen_all_of_it() -> None:
    (item,) = tag_of("gpt2").encode(record(WORDS, NAMES), 0)
    places = [*item.extra.places.tolist()]
    assert len(item.ids) > 5 and bpe().decode(item.ids[places[0] + 1 : places[1] + 1].tolist()) == (
        " harbourworked"
    )
    assert places[2] == len(item.ids) - 2
    assert [t for t in names(tag_of("gpt2"), item) if t != "-"] == NAMES.split()


def test_a_word_that_becomes_no_piece_is_learned_nowhere_and_lies_outside() -> None:
    """BERT's normaliser drops a control character; the words behind it keep their tags."""
    task, model = made("bert", "tag")
    assert isinstance(task, Tag)
    one = record("the \u0007 slept", "B-PER B-LOC I-LOC")
    (item,) = task.encode(one, 0)
    assert pieces(item) == ["[CLS]", "the", "slept", "[SEP]"]
    assert names(task, item) == ["-", "B-PER", "I-LOC", "-"]
    (found,) = task.predict(model, [item], [one])
    assert isinstance(found, Tagging)
    assert len(found.tags) == 3 and found.tags[1] == "O" and found.probabilities[1] == 0.0
    (nothing,) = task.predict(model, task.encode(record("\u0007"), 0), [record("\u0007")])
    assert isinstance(nothing, Tagging) and nothing.tags == ("O",)
    assert len(task.encode(record(""), 0)) == 1


@pytest.mark.parametrize("tokenizer", [wordpiece(), bpe(), small_bpe()], ids=["wp", "bpe", "small"])
def test_words_are_found_in_any_script(tokenizer: Any) -> None:
    words = ("Über", "naïve", "船长", "🙂", "sang", ".", "e\u0301t\u00e9", "don't")
    found = pieces_of(tokenizer, words)
    assert sorted({*found.words.tolist()}) == list(range(len(words)))
    assert (np.diff(found.words) >= 0).all()
    for number, word in enumerate(words):
        text = tokenizer.decode(found.ids[found.words == number].tolist())
        assert tokenizer.unk_id is not None or text.strip() == word


def test_the_predicate_is_a_second_text_and_is_marked_in_the_first() -> None:
    (item,) = tag_of("bert").encode(record(WORDS, NAMES, predicate=1), 0)
    more = ["harbour", "##w", "##or", "##ked", "[SEP]"]
    assert pieces(item)[8:] == more and pieces(item)[2:6] == more[:4]
    assert item.types is not None
    assert item.types.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1]
    assert names(tag_of("bert"), item)[8:] == ["-"] * 5
    (other,) = tag_of("bert").encode(record(WORDS, NAMES, predicate=2), 0)
    assert other.types is not None and other.types.tolist() == [0] * 6 + [1, 0, 1, 1]


def test_a_decoder_reads_the_predicate_first() -> None:
    (item,) = tag_of("gpt2").encode(record(WORDS, NAMES, predicate=2), 0)
    text = bpe().decode(item.ids.tolist(), skip_special=False)
    assert text == "slept<|endoftext|>the harbourworked slept<|endoftext|>"
    assert [t for t in names(tag_of("gpt2"), item) if t != "-"] == NAMES.split()


def test_a_new_head_begins_with_the_shares_of_the_tags() -> None:
    task = tag_of("bert")
    items = encode_all(task, [record(WORDS, NAMES), record("the boat", "O O")])
    found = task.prior(items)
    assert found is not None  # of 5 words 3 are outside, 1 begins a person, 1 a place
    assert found.exp().tolist() == pytest.approx([3.5 / 6, 1.5 / 6, 0.5 / 6, 1.5 / 6, 0.5 / 6])


@given(
    strategies.lists(strategies.integers(1, 6), max_size=60),
    strategies.integers(3, 25),
    strategies.integers(0, 20),
)
def test_windows_hold_whole_words_and_tag_each_once(
    sizes: list[int], room: int, share: int
) -> None:
    words = np.repeat(np.arange(len(sizes)), sizes)
    found = list(windows(words, room, share))
    tagged_in = [word for window in found for word in range(*window.own)]
    assert tagged_in == list(range(len(sizes)))
    for window in found:
        assert window.words[0] <= window.own[0] <= window.own[1] <= window.words[1]
        assert sum(sizes[slice(*window.words)]) <= max(room, sizes[window.words[0]] if sizes else 0)
    for one, two in itertools.pairwise(found):
        shared = sum(sizes[two.words[0] : one.words[1]])
        assert shared <= min(share, room // 2) and two.words[1] > one.words[1]


def test_a_long_sentence_is_tagged_by_windows_once_a_word() -> None:
    task, model = made("bert", "tag", longest=20, stride=8)
    (whole,) = tagged([70], predicate=2)
    encoded = task.encode(whole, 0)
    assert len(encoded) > 4 and all(len(item.ids) <= 20 for item in encoded)
    told = sorted(w for item in encoded for w in item.extra.words.tolist())
    assert told == list(range(70))
    asked = [task.labels[t] for item in encoded for t in item.target.tolist() if t != X]
    assert sorted(asked) == sorted(whole.tags)
    (found,) = task.predict(model, encoded, [whole])
    assert isinstance(found, Tagging) and len(found.tags) == len(found.probabilities) == 70
    item = encoded[2]
    assert item.types is not None
    logits = model(torch.from_numpy(item.ids)[None], types=torch.from_numpy(item.types)[None])
    shares, likely = best_of(logits.logits[0].detach(), item.extra.places)
    words = item.extra.words.tolist()
    assert [found.probabilities[word] for word in words] == pytest.approx(shares, 1e-4)
    kinds = [task.labels[number][1:] for number in likely]
    assert [found.tags[word][1:] for word in words] == kinds  # mending changes I to B at most


def test_one_endless_word_loses_its_end() -> None:
    task = tag_of("bert", longest=20)
    (item,) = task.encode(record("captain" * 30, "B-PER"), 0)
    assert len(item.ids) == 20 and names(task, item)[1] == "B-PER"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("I-PER I-PER O", "B-PER I-PER O"),
        ("B-LOC I-PER I-PER", "B-LOC B-PER I-PER"),
        ("B-PER I-PER I-PER B-PER", "B-PER I-PER I-PER B-PER"),
        ("O I-LOC O I-LOC", "O B-LOC O B-LOC"),
        ("O I-ODD", "O I-ODD"),  # there is no B-ODD
    ],
)
def test_chunks_are_mended(before: str, after: str) -> None:
    labels = [*TAGS, "I-ODD"]
    found = mended(before.split(), labels)
    assert found == tuple(after.split()) and mended(found, labels) == found
    assert mended(before.split(), [*labels, "S-PER"]) == tuple(before.split())


def test_a_tag_that_is_none_is_a_fault_of_its_record() -> None:
    with pytest.raises(Bad, match="'B-SHIP' is not among the labels"):
        tag_of("bert").encode(record("the", "B-SHIP"), 0)
    (item,) = tag_of("bert").encode(record("the"), 0)
    assert (item.target == X).all()


def test_a_batch_by_hand() -> None:
    task = tag_of("bert")
    first = task.encode(record("the slept", "O B-PER"), 0)
    batch = task.collate(examples(first + task.encode(record("sang", "B-LOC"), 1)), RNG)
    assert batch["targets"].tolist() == [[X, 0, 1, X], [X, 3, X, X]]
    assert batch["places"].tolist() == [[0, 1, 2, 3], [4, 5, 6, -1]]


def test_loss_and_gradients_are_those_of_bert_for_token_classification(tmp_path: Path) -> None:
    """The control: with one tag changed they are not."""
    transformers = pytest.importorskip("transformers")
    task = tag_of("bert")
    model = build_any(config_of("bert", task.head, len(TAGS)), seed=3).eval()
    save_model(model, tmp_path)
    other = transformers.BertForTokenClassification.from_pretrained(tmp_path).eval()
    records = tagged([6, 11, 3])
    encoded = encode_all(task, records)
    size = max(len(item.ids) for item in encoded)
    ids, mask = (torch.zeros(3, size, dtype=torch.long) for _ in range(2))
    labels = torch.full((3, size), X)
    for row, item in enumerate(encoded):
        here = slice(len(item.ids))
        ids[row, here], mask[row, here] = torch.from_numpy(item.ids), 1
        labels[row, here] = torch.from_numpy(item.target)
    expected = other(input_ids=ids, attention_mask=mask, labels=labels).loss
    expected.backward()
    wrong, _ = learned(task, model, encode_all(task, [*records[:2], record("the a b", "O O O")]))
    loss, _ = learned(task, model, encoded)
    assert float(loss.count) == 20
    assert float(loss.total) / 20 == pytest.approx(expected.item(), 1e-5)
    assert abs(float(wrong.total / wrong.count) - expected.item()) > 1e-4
    theirs = dict(other.named_parameters())
    for name, ours in {
        "bert.embeddings.word_embeddings.weight": model.embed.tokens.weight,
        "classifier.weight": model.task.out.weight,
    }.items():
        assert apart([ours.grad / 20], [theirs[name].grad]) < 1e-4


def test_predictions_are_the_likeliest_tags() -> None:
    task, model = made("bert", "tag")
    records = [record(sentence(5)), record(sentence(3))]
    encoded = encode_all(task, records)
    for one, item in zip(task.predict(model, encoded, records), encoded):
        assert isinstance(one, Tagging)
        logits = model(torch.from_numpy(item.ids)[None]).logits[0, item.extra.places]
        likely = [task.labels[n] for n in logits.argmax(-1).tolist()]
        assert one.tags == mended(likely, task.labels)
        assert one.probabilities == pytest.approx(logits.softmax(-1).amax(-1).tolist(), 1e-4)
