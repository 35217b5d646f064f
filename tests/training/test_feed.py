"""The data as it passes: counted, and its order hashed."""

import pytest
import tiny

from ownlm.errors import ConfigError
from ownlm.training.feed import Feed


def drained(micro: int, steps: int = 4, first: int = 0, feed: Feed | None = None) -> Feed:
    feed = feed or Feed(tiny.TinyLoader(8), 8, micro)
    for step in range(first, steps):
        list(feed.take(step))
    return feed


def test_the_order_does_not_depend_on_the_micro_batches() -> None:
    feeds = [drained(micro) for micro in (0, 1, 2, 4, 8)]
    assert {(feed.digest, feed.tokens) for feed in feeds} == {(feeds[0].digest, 4 * 8 * 12)}
    assert [feed.of for feed in feeds] == [1, 8, 4, 2, 1]


def test_the_chain_goes_on_from_where_it_was() -> None:
    half = drained(2, steps=2)
    resumed = Feed(tiny.TinyLoader(8), 8, 2)
    resumed.tokens, resumed.digest = half.tokens, half.digest
    assert drained(2, first=2, feed=resumed).digest == drained(2).digest


def test_another_order_is_another_digest() -> None:
    assert Feed(tiny.TinyLoader(8, seed=6), 8, 0).digest == ""
    assert drained(0, feed=Feed(tiny.TinyLoader(8, seed=6), 8, 0)).digest != drained(0).digest


def test_a_second_look_leaves_no_trace() -> None:
    feed = drained(4)
    before = feed.digest, feed.tokens
    assert feed.ids(2) == [int(i) for i in tiny.TinyLoader(8).batch(2).sample_ids]
    assert (feed.digest, feed.tokens) == before


def test_a_rest_is_refused_with_the_sizes_that_fit() -> None:
    with pytest.raises(ConfigError, match="one of 1, 2, 3, 4, 6, 12"):
        Feed(tiny.TinyLoader(12), 12, 5)
