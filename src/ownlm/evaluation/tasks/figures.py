"""Figures with intervals: what a measure could have been with other records of the same kind.

The interval is the percentile bootstrap (Efron 1979): records are drawn with replacement, the
measure is taken again, and the middle 95 % of a thousand such values are reported. Records that
belong together (questions on one article, predicates of one sentence) are drawn together, else
the interval would be too narrow. Nearly every measure is a function of sums over records, so a
resample costs a row of one matrix product.

Letters: N records, G groups of them, K counts a record, R resamples.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.data.tasks.records import Record
from ownlm.data.tasks.splits import groups

Floats = npt.NDArray[np.float64]
Reduce = Callable[[Floats], dict[str, Floats]]
"""Sums of counts (..., K) to measures (...) by name."""

RESAMPLES = 1_000
LEVEL = 0.95
SHARES = {"", "accuracy", "exact", "exact_match", "whole"}
"""Measures that are means of 0 and 1 over all records: exact bounds exist where all agree."""
FEWEST_GROUPS = 5
"""With fewer, single records are drawn: so few groups say nothing of their spread."""
_AT_ONCE = 4_000_000  # draws held in memory


@dataclass(frozen=True)
class Figure:
    """A measure and its 95 % interval; not a number where it is not defined."""

    value: float
    low: float
    high: float
    resampled: Floats | None = field(default=None, repr=False, compare=False)
    """(R,) The measure in each resample, the same draws for everything judged on these records."""

    def as_dict(self) -> dict[str, float | None]:
        """Plain values for JSON, which knows no NaN."""
        found = {"value": self.value, "low": self.low, "high": self.high}
        return {k: v if math.isfinite(v) else None for k, v in found.items()}

    def above(self, other: "Figure") -> "Figure":
        """By how much this lies above another of the same records: resample by resample.

        The same hard records count for both, so this is surer than two intervals side by side.
        """
        assert self.resampled is not None and other.resampled is not None
        apart = self.resampled - other.resampled
        return figure(self.value - other.value, apart)


class Draws:
    """The resamples of a set of records: a function of their grouping and the seed alone."""

    def __init__(self, records: Sequence[Record], count: int = RESAMPLES, seed: int = 0) -> None:
        members = groups(records)
        self.grouped = FEWEST_GROUPS <= len(members) < len(records)
        """Whether groups are drawn, and not single records."""
        self.of = np.arange(len(records))
        """(N,) The group of each record."""
        if self.grouped:
            for number, found in enumerate(members):
                self.of[found] = number
        self.groups = int(self.of.max()) + 1 if len(records) else 0
        self.count, self.seed = count, seed

    @property
    def unit(self) -> str:
        """What is drawn, in words."""
        return f"{self.groups:,} groups of records" if self.grouped else f"{self.groups:,} records"

    def times(self) -> Iterator[Floats]:
        """How often each group is drawn: (some of R, G), until there are `count` rows."""
        rng = np.random.default_rng(self.seed)
        rows, width = max(1, _AT_ONCE // max(1, self.groups)), self.groups
        for first in range(0, self.count, rows):
            here = min(rows, self.count - first)
            drawn = rng.integers(0, width, size=(here, width))
            drawn += np.arange(here)[:, None] * width
            found = np.bincount(drawn.ravel(), minlength=here * width)
            yield found.reshape(here, width).astype(np.float64)

    def weights(self) -> Iterator[Floats]:
        """How often each record is drawn: (some of R, N)."""
        for times in self.times():
            yield times[:, self.of]

    def sums(self, table_NK: Floats) -> Floats:
        """Sums of counts over each resample: (R, K)."""
        by_group = np.zeros((self.groups, table_NK.shape[1]))
        np.add.at(by_group, self.of, table_NK)
        return np.concatenate([times @ by_group for times in self.times()])


def estimate(table_NK: Floats, reduce: Reduce, draws: Draws) -> dict[str, Figure]:
    """Measures that are functions of sums over records, with their intervals.

    A share of 1 or 0 is the same in every resample; how large the other could still be says the
    exact binomial bound (100 right of 100: at least 96.4 %).
    """
    values = reduce(table_NK.sum(axis=0))
    resampled = reduce(draws.sums(table_NK))
    found = {name: figure(float(value), resampled[name]) for name, value in values.items()}
    exact = {name: bounded(found[name], draws.groups) for name in SHARES & found.keys()}
    return {name: exact.get(name, one) for name, one in found.items()}


def figure(value: float, resampled: Floats) -> Figure:
    """A value with the middle 95 % of its resamples."""
    sound = resampled[np.isfinite(resampled)]
    if not sound.size or not math.isfinite(value):
        return Figure(value, math.nan, math.nan, resampled)
    low, high = np.quantile(sound, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high), resampled)


def bounded(found: Figure, count: int) -> Figure:
    """With an end that `count` draws without exception allow, for a share of 0 or 1."""
    edge = ((1 - LEVEL) / 2) ** (1 / max(1, count))
    if found.value == found.low == found.high == 1.0:
        return Figure(1.0, edge, 1.0, found.resampled)
    if found.value == found.low == found.high == 0.0:
        return Figure(0.0, 0.0, 1 - edge, found.resampled)
    return found


def mean(values_N: Floats, draws: Draws) -> Figure:
    """The mean over records."""
    table = np.stack([values_N, np.ones_like(values_N)], axis=1)
    return estimate(table, lambda sums: {"": ratio(sums[..., 0], sums[..., 1])}, draws)[""]


def ratio(part: Any, whole: Any) -> Floats:
    """part / whole; not a number where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    found: Floats = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=found, where=whole != 0)
    return found
