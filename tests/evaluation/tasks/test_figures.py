"""Intervals: as wide as statistics says, over groups where records belong together."""

import math

import numpy as np
import pytest

from ownlm.data.tasks.records import Labelled, Origin
from ownlm.evaluation.tasks.figures import Draws, Figure, figure, mean, ratio


def records(count: int, group_of: int = 1) -> list[Labelled]:
    return [
        Labelled(
            origin=Origin("x", str(n)),
            text=f"t{n}",
            labels=("a",),
            group="" if group_of == 1 else f"g{n // group_of}",
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_the_interval_of_a_share_is_the_binomial_one(share: float) -> None:
    """Normal approximation of the binomial: p +- 1.96 sqrt(p (1 - p) / n)."""
    right = (np.arange(1000) < 1000 * share) * 1.0
    found = mean(right, Draws(records(1000)))
    error = 1.96 * math.sqrt(share * (1 - share) / 1000)
    assert found.value == pytest.approx(share)
    assert found.low == pytest.approx(share - error, abs=0.15 * error)
    assert found.high == pytest.approx(share + error, abs=0.15 * error)


def test_groups_that_agree_make_it_wider() -> None:
    """100 groups of 10 that are all right or all wrong are worth 100 records, not 1,000."""
    right = (np.arange(1000) // 10 % 2) * 1.0
    alone, together = Draws(records(1000)), Draws(records(1000, group_of=10))
    widths = [one.high - one.low for one in (mean(right, alone), mean(right, together))]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(10), rel=0.15)
    assert alone.unit == "1,000 records" and together.unit == "100 groups of records"


def test_too_few_groups_are_no_sample() -> None:
    assert not Draws(records(40, group_of=10)).grouped
    assert Draws(records(50, group_of=10)).grouped


def test_all_right_is_not_certain() -> None:
    """Clopper and Pearson: 0.025 ** (1 / n)."""
    found = mean(np.ones(100), Draws(records(100)))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.9638, abs=1e-4)
    none = mean(np.zeros(100), Draws(records(100)))
    assert none.high == pytest.approx(1 - 0.9638, abs=1e-4) and none.low == 0.0


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    values = np.random.default_rng(0).random(50)
    one, again, other = (mean(values, Draws(records(50), seed=seed)) for seed in (1, 1, 2))
    assert one == again and one != other


def test_many_draws_are_made_in_parts_with_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    from ownlm.evaluation.tasks import figures

    table = np.random.default_rng(0).random((40, 3))
    whole = Draws(records(40)).sums(table)
    monkeypatch.setattr(figures, "_AT_ONCE", 500)
    assert np.allclose(Draws(records(40)).sums(table), whole) and whole.shape == (1000, 3)


def test_a_difference_is_taken_resample_by_resample() -> None:
    """One thing always 0.1 above another: surely so, though both vary widely."""
    values = np.random.default_rng(0).random(50)
    draws = Draws(records(50))
    apart = mean(values + 0.1, draws).above(mean(values, draws))
    assert apart.value == pytest.approx(0.1)
    assert apart.low == pytest.approx(0.1) and apart.high == pytest.approx(0.1)


def test_what_is_not_defined_is_null_in_json() -> None:
    found = figure(math.nan, np.full(10, math.nan))
    assert found.as_dict() == {"value": None, "low": None, "high": None}
    assert Figure(0.5, 0.25, 0.75).as_dict() == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert math.isnan(ratio(1, 0)) and ratio(1, 2) == 0.5
