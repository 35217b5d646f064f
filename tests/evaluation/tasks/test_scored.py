"""Numbers: correlations and distances as scipy has them, in every resample too."""

import math
from typing import Any

import numpy as np
import pytest

from ownlm.data.tasks.predictions import Estimate
from ownlm.evaluation.tasks.figures import Draws
from ownlm.evaluation.tasks.judge import judge


@pytest.fixture
def pairs() -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    due = np.round(rng.random(150) * 5, 1)  # with ties
    return due, np.round(due + rng.normal(0, 1, 150), 1) + 100


def test_correlations_and_distances(make: Any, pairs: tuple[Any, Any]) -> None:
    stats = pytest.importorskip("scipy.stats")
    due, said = pairs
    found = judge("regress", [make.scored(x) for x in due], [Estimate(x) for x in said]).figures
    assert found["pearson"].value == pytest.approx(stats.pearsonr(due, said).statistic)
    assert found["spearman"].value == pytest.approx(stats.spearmanr(due, said).statistic)
    assert found["rmse"].value == pytest.approx(math.sqrt(((due - said) ** 2).mean()))
    assert found["mae"].value == pytest.approx(np.abs(due - said).mean())


def test_ranks_are_taken_anew_in_every_resample(make: Any, pairs: tuple[Any, Any]) -> None:
    stats = pytest.importorskip("scipy.stats")
    due, said = pairs
    records = [make.scored(x) for x in due]
    found = judge("regress", records, [Estimate(x) for x in said], resamples=20).figures
    for name, oracle in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        for number, times in enumerate(next(Draws(records, 20).weights())):
            at = np.repeat(np.arange(len(due)), times.astype(int))
            assert found[name].resampled is not None
            expected = oracle(due[at], said[at]).statistic
            assert found[name].resampled[number] == pytest.approx(expected)


def test_the_interval_of_a_correlation_is_that_of_fisher(make: Any) -> None:
    """tanh(atanh r +- 1.96 / sqrt(n - 3)) for normal variables."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=800)
    y = 0.8 * x + 0.6 * rng.normal(size=800)
    found = judge("regress", [make.scored(v) for v in x], [Estimate(v) for v in y]).figures
    r = found["pearson"].value
    low, high = (math.tanh(math.atanh(r) + s * 1.96 / math.sqrt(797)) for s in (-1, 1))
    assert (found["pearson"].low, found["pearson"].high) == pytest.approx((low, high), abs=0.006)


@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.1, 0.0])
def test_what_does_not_vary_correlates_with_nothing(make: Any, constant: float) -> None:
    due = np.random.default_rng(0).random(30)
    found = judge("regress", [make.scored(x) for x in due], [Estimate(constant)] * 30).figures
    assert math.isnan(found["pearson"].value) and math.isnan(found["spearman"].value)
    assert math.isfinite(found["rmse"].value)
    assert found["pearson"].as_dict()["value"] is None


def test_the_largest_errors_come_first(make: Any) -> None:
    records = [make.scored(1.0), make.scored(2.0), make.scored(3.0)]
    found = judge("regress", records, [Estimate(1.0), Estimate(5.0), Estimate(2.5)])
    assert [one.record for one in found.mistakes] == [records[1], records[2]]
    assert found.mistakes[0].measure == "off by 3" and found.wrong == 2
