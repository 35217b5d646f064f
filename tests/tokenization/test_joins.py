"""Merges recovered from a vocabulary."""

import pytest

from ownlm.errors import DataError
from ownlm.tokenization.joins import joins


def test_every_cut_into_two_tokens_is_a_merge_in_the_order_of_the_token() -> None:
    ids = {"a": 0, "b": 1, "abb": 2, "ab": 3, "bb": 4}
    order = {"a": 0.0, "b": 0.0, "abb": 9.0, "ab": 2.0, "bb": 1.0}
    assert joins(ids, order) == [("b", "b"), ("a", "b"), ("a", "bb"), ("ab", "b")]


def test_bytes_too() -> None:
    ranks = {b"\xe4": 0, b"\xb8": 1, b"\xe4\xb8": 2}
    assert joins(ranks, ranks) == [(b"\xe4", b"\xb8")]


def test_hours_of_work_are_refused_at_once() -> None:
    with pytest.raises(DataError, match="up to 40,000 characters"):
        joins({"a" * 40_000: 0}, {"a" * 40_000: 0.0})
