"""What is known of predictions on labelled records: a value a question that a reader has."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ownlm.data.tasks.records import Record
from ownlm.evaluation.tasks.figures import Figure, Floats

MISTAKES = 20
"""The worst ones that are kept."""


class Measure(NamedTuple):
    """How a figure is named and written."""

    title: str
    percent: bool = True
    """Whether it is a share from 0 to 1, written as 98.4 %."""
    lower: bool = False
    """Whether less is better."""


MEASURES = {
    "accuracy": Measure("accuracy"),
    "exact": Measure("all labels right"),
    "micro_f1": Measure("F1, micro"),
    "macro_f1": Measure("F1, macro"),
    "matthews": Measure("Matthews correlation", percent=False),
    "precision": Measure("precision"),
    "recall": Measure("recall"),
    "span_f1": Measure("span F1"),
    "span_precision": Measure("span precision"),
    "span_recall": Measure("span recall"),
    "whole": Measure("sentences without a mistake"),
    "pearson": Measure("Pearson", percent=False),
    "spearman": Measure("Spearman", percent=False),
    "rmse": Measure("root mean square error", percent=False, lower=True),
    "mae": Measure("mean absolute error", percent=False, lower=True),
    "exact_match": Measure("exact match"),
    "f1": Measure("F1 of words"),
    "answered_exact_match": Measure("exact match, where there is an answer"),
    "answered_f1": Measure("F1 of words, where there is an answer"),
    "unanswered_accuracy": Measure("said so, where there is none"),
    "bleu": Measure("BLEU", percent=False),
    "character_bleu": Measure("character BLEU", percent=False),
    "chrf": Measure("chrF", percent=False),
    "rouge1": Measure("ROUGE-1"),
    "rouge2": Measure("ROUGE-2"),
    "rougeL": Measure("ROUGE-L"),
    "complete": Measure("ended by itself"),
    "perplexity": Measure("perplexity", percent=False, lower=True),
    "recall_1": Measure("partner found first"),
    "recall_5": Measure("partner among the first 5"),
    "reciprocal_rank": Measure("mean reciprocal rank", percent=False),
}
"""All figures there are, by their names in JSON."""


@dataclass(frozen=True)
class ClassFigures:
    """How one label, tag or type of chunk fares."""

    precision: Figure
    recall: Figure
    f1: Figure
    support: int
    """How often it is right."""
    predicted: int
    """How often it was said."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        counts = {"support": self.support, "predicted": self.predicted}
        return {name: one.as_dict() for name, one in found.items()} | counts


@dataclass(frozen=True)
class Confusion:
    """How often each label (rows) was taken for each (columns)."""

    labels: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    """(C, C) Right labels down, predicted ones across."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"labels": list(self.labels), "counts": self.counts.tolist()}

    def pairs(self) -> list[tuple[int, str, str]]:
        """(times, right, predicted) of what was confused, most often first."""
        found = [
            (int(times), self.labels[row], self.labels[column])
            for (row, column), times in np.ndenumerate(self.counts)
            if row != column and times
        ]
        return sorted(found, key=lambda one: (-one[0], one[1], one[2]))


class Bin(NamedTuple):
    """Decisions of about one confidence."""

    low: float
    high: float
    decisions: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Whether a confidence of 90 % is right nine times out of ten."""

    bins: tuple[Bin, ...]
    error: float
    """Expected calibration error: the mean distance of confidence and accuracy over the bins."""
    brier: float | None
    """Brier score: mean squared distance of the probabilities from the truth, 0 to 2."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        bins = [one._asdict() for one in self.bins]
        return {"expected_calibration_error": self.error, "brier": self.brier, "bins": bins}


@dataclass(frozen=True)
class Mistake:
    """A record that was not got right."""

    record: Record
    expected: str
    predicted: str
    confidence: float | None
    """How sure the model was, 0 to 1; None where it does not say."""
    measure: str
    """How wrong it is, in words: 'F1 0.20', 'off by 2.31'."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the place of the record among them."""
        return {
            "where": self.record.origin.where,
            "expected": self.expected,
            "predicted": self.predicted,
            "confidence": self.confidence,
            "measure": self.measure,
            "record": self.record.as_dict(),
        }


@dataclass(frozen=True)
class Outcomes:
    """What became of each record; for plots."""

    lengths: Floats
    """(N,) Characters that a model read, or what `length_of` says."""
    quality: Floats
    """(N,) How right it is: 1 wholly, 0 not at all; of an estimate, its distance."""
    quality_of: str
    """What `quality` is, in words."""
    length_of: str = "characters"
    expected: Floats | None = None
    predicted: Floats | None = None
    """(N,) Of estimates: the numbers themselves."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Predictions against the truth; the first of the figures is the one to look at."""

    kind: str
    records: int
    drawn: str
    """What the intervals are taken over."""
    figures: dict[str, Figure]
    classes: dict[str, ClassFigures] = field(default_factory=dict)
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    mistakes: tuple[Mistake, ...] = ()
    wrong: int = 0
    """Records that are not wholly right, of which `mistakes` are the worst."""
    outcomes: Outcomes | None = None
    notes: dict[str, str] = field(default_factory=dict)
    """How something was measured: the signature of BLEU, what counts as a word."""

    @property
    def headline(self) -> str:
        """The name of the first figure."""
        return next(iter(self.figures))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "records": self.records,
            "intervals": f"95 %, percentile bootstrap over {self.drawn}",
            "figures": {name: one.as_dict() for name, one in self.figures.items()},
            "classes": {name: one.as_dict() for name, one in self.classes.items()},
            "confusion": self.confusion and self.confusion.as_dict(),
            "calibration": self.calibration and self.calibration.as_dict(),
            "wrong": self.wrong,
            "mistakes": [one.as_dict() for one in self.mistakes],
            "notes": self.notes,
        }


def written(name: str, figure: Figure) -> str:
    """A figure with its interval for people: '98.92 % (98.10 to 99.55)'."""
    value = number(name, figure.value)
    if not math.isfinite(figure.low):
        return value
    low, high = (number(name, end).removesuffix(" %") for end in (figure.low, figure.high))
    return f"{value} ({low} to {high})"


def number(name: str, value: float) -> str:
    """A value as the measure is written; a dash where it is not defined."""
    if not math.isfinite(value):
        return "-"
    measure = MEASURES[name]
    if measure.percent:
        return f"{100 * value:.2f} %"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def better(name: str, one: float, other: float) -> bool:
    """Whether `one` is the better value of this figure."""
    return one < other if MEASURES[name].lower else one > other


def compared(judgement: Judgement, others: Mapping[str, Judgement]) -> dict[str, Figure]:
    """By how much the first figure lies above that of each other judgement."""
    name = judgement.headline
    mine = judgement.figures[name]
    return {
        title: mine.above(other.figures[name])
        for title, other in others.items()
        if name in other.figures
    }


def verdicts(judgement: Judgement, others: Mapping[str, Judgement]) -> list[str]:
    """A sentence for each other: how far the model is from it, and whether that may be chance."""
    name = judgement.headline
    measure = MEASURES[name]
    scale, unit = (100, " points") if measure.percent else (1, "")
    found = []
    for title, apart in compared(judgement, others).items():
        if not math.isfinite(apart.low):
            continue
        value, low, high = (scale * one for one in (apart.value, apart.low, apart.high))
        sure = low > 0 or high < 0
        relation = "above" if value > 0 else "below"
        apart_by = f"{abs(value):.3g}{unit} {relation}" if value else "the same as"
        found.append(
            f"{measure.title}: {apart_by} {title} "
            f"({low:+.3g} to {high:+.3g}{'' if sure else ', so it may be chance'})"
        )
    return found
