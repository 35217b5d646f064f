"""Splits: whole groups, even labels, the same for the same content in any order."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.data.tasks.overlap import overlaps
from ownlm.data.tasks.records import Labelled, Origin, Record
from ownlm.data.tasks.splits import assign, folded


def record(text: str, label: str, group: str = "") -> Labelled:
    return Labelled(origin=Origin("a", "1"), group=group, text=text, labels=(label,))


def sample(count: int, labels: str = "ab") -> list[Record]:
    return [record(f"text {n}", labels[n % len(labels)]) for n in range(count)]


def test_shares_hold_for_all_and_for_each_label():
    records = [record(f"t {n}", "rare" if n % 20 == 0 else "often") for n in range(1000)]
    splits = assign(records, 0, 0.1, 0.2)
    assert Counter(splits) == {"train": 700, "validation": 100, "test": 200}
    rare = Counter(split for split, one in zip(splits, records) if one.labels == ("rare",))
    assert rare["train"] in (34, 35, 36) and rare["validation"] in (4, 5, 6)


@pytest.mark.parametrize("seed", [0, 1])
def test_order_does_not_matter_and_the_seed_does(seed):
    records = sample(200)
    told = dict(zip((one.text for one in records), assign(records, seed, 0.1, 0.1)))
    shuffled = random.Random(3).sample(records, len(records))
    assert dict(zip((one.text for one in shuffled), assign(shuffled, seed, 0.1, 0.1))) == told
    assert list(told.values()) != assign(records, seed + 1, 0.1, 0.1)


def test_every_label_is_learned_from():
    records = [record(f"t {n}", str(n)) for n in range(30)] + sample(100)
    splits = assign(records, 0, 0.3, 0.3)
    learned = {one.labels for one, split in zip(records, splits) if split == "train"}
    assert learned == {one.labels for one in records}


ROWS = st.tuples(
    st.sampled_from(["a", "A ", "b", "c", "d  e", "D E"]),
    st.sampled_from("xy"),
    st.sampled_from(["", "g", "h", "i"]),
)


@given(st.lists(ROWS, max_size=40))
def test_nothing_leaks(rows):
    records = [record(*row) for row in rows]
    splits = assign(records, 0, 0.3, 0.3)
    assert not overlaps(records, splits)
    for tie in (lambda one: folded(one.text), lambda one: one.group or id(one)):
        where: dict[object, set[str]] = {}
        for one, split in zip(records, splits):
            where.setdefault(tie(one), set()).add(split)
        assert all(len(found) == 1 for found in where.values())


def test_leaks_are_found_where_they_are_made():
    records = [record("Same text", "a"), record("same  TEXT", "a"), record("Same text", "a")]
    (found,) = overlaps(records, ["train", "test", "test"])
    assert (found.splits, found.equal, found.alike) == (("train", "test"), 1, 1)
