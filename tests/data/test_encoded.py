"""Encoded sequences as batches: the order is a pure function of seed and step."""

import numpy as np
import pytest

from ownlm.data.encoded import Encoded, EncodedLoader, examples, grouped
from ownlm.errors import DataError


def encoded(count: int) -> list[Encoded]:
    return [Encoded(np.arange(1, 3 + number % 4), number) for number in range(count)]


def order(loader: EncodedLoader, steps: range) -> list[int]:
    return [int(n) for step in steps for n in loader.batch(step).sample_ids]


def test_every_epoch_sees_every_sequence_once_in_an_order_of_its_own() -> None:
    loader = EncodedLoader(encoded(10), batch=4, seed=3)
    seen = order(loader, range(5))
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert loader.per_epoch == 3
    assert order(EncodedLoader(encoded(10), batch=4, seed=4), range(5)) != seen


def test_a_resumed_run_asks_for_the_same_batches() -> None:
    """Another loader, asked for late steps alone and out of order."""
    whole = order(EncodedLoader(encoded(10), 4, seed=3), range(8))
    again = EncodedLoader(encoded(10), 4, seed=3)
    assert order(again, range(7, 8)) + order(again, range(5, 7)) == whole[28:] + whole[20:28]


def test_micro_batches_are_the_parts_of_a_batch() -> None:
    loader = EncodedLoader(encoded(10), 6, seed=0)
    for of in (2, 3, 6):
        parts = [loader.batch(2, micro, of) for micro in range(of)]
        ids = np.concatenate([part.sample_ids for part in parts])
        assert ids.tolist() == loader.batch(2).sample_ids.tolist()
        items = [item.record for part in parts for item in part]
        assert items == [item.record for item in loader.batch(2)] == ids.tolist()


def test_tokens_by_hand_and_slices() -> None:
    made = examples(encoded(3), pad=9)
    assert made.tokens.tolist() == [[1, 2, 9, 9, 9], [1, 2, 3, 9, 9], [1, 2, 3, 4, 9]]
    rest = made[1:]
    assert rest.sample_ids.tolist() == [1, 2] and len(rest) == 2 and rest[0].record == 1
    assert rest.tokens[0].tolist() == [1, 2, 3, 9, 9]
    assert made[:1].tokens.tolist() == [[1, 2, 9]]


def test_groups_are_of_like_length_and_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, 200).tolist()
    groups = grouped(lengths, 120)
    assert sorted(n for group in groups for n in group) == list(range(200))
    assert all(sum(lengths[n] for n in group) <= 120 for group in groups)
    flat = [lengths[n] for group in groups for n in group]
    assert flat == sorted(lengths, reverse=True)
    assert grouped([200, 3], 100) == [[0], [1]]
    assert grouped([], 100) == []


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match="no sequences"):
        EncodedLoader([], 4, seed=0)
