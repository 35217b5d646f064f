"""Runs side by side: how they differ, what they reached at which cost, and whether that is chance.

Runs whose configurations differ in the seed alone are repetitions of one thing. How far their
results lie apart says what a difference between two things is worth.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ownlm import files
from ownlm.errors import ConfigError
from ownlm.evaluation import curves, page
from ownlm.evaluation.curves import Panel
from ownlm.evaluation.run import COSTS, Run, labels, read_run

ASKED = (
    "objective.kind", "objective.rate", "objective.span", "objective.unit", "objective.pairs",
    "mixture.tasks", "tokenizer.kind", "model.vocab",
)  # fmt: skip
"""Keys that decide what a loss is of: where they differ, losses say nothing about each other."""

TEXT = "data."
"""Keys that decide which text is measured, where the runs do not tell its size."""

STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 8: 2.31, 10: 2.23, 15: 2.13,
           20: 2.09, 30: 2.04, 60: 2.00}  # fmt: skip
"""By degrees of freedom: standard errors of a difference that chance reaches one time in twenty
(Student 1908). Few seeds know their own spread badly, so they have to differ by more."""


@dataclass(frozen=True)
class Verdict:
    """Whether one experiment is better than another by more than chance."""

    better: str
    worse: str
    difference: float
    error: float | None
    """Standard error of the difference; None where no experiment was repeated."""
    freedom: int = 0
    """Degrees of freedom of that error: seeds beyond the first, of both."""

    @property
    def reach(self) -> float | None:
        """How large a difference chance makes one time in twenty; None: not known."""
        if self.error is None:
            return None
        return STUDENT[max(n for n in STUDENT if n <= self.freedom)] * self.error

    @property
    def sure(self) -> bool | None:
        """Whether the difference exceeds the spread of seeds; None: not known."""
        return None if self.reach is None else self.difference > self.reach

    def __str__(self) -> str:
        words = f"{self.better} is {self.difference:.4f} below {self.worse}"
        if self.reach is None:
            return f"{words}; whether that is chance needs runs with other seeds"
        relation = "more" if self.sure else "no more"
        return f"{words}, {relation} than seeds make: {self.reach:.4f} one time in twenty"


@dataclass(frozen=True)
class Comparison:
    """Some runs, compared by one figure."""

    runs: Sequence[Run]
    key: str
    """validation_bpb where all have it, else validation_loss."""

    @cached_property
    def experiments(self) -> dict[str, list[Run]]:
        """Runs that differ in their seeds alone, together; named by the first, best first."""
        groups: dict[Any, list[Run]] = {}
        for run in self.runs:
            groups.setdefault(run.experiment, []).append(run)
        ordered = sorted(groups.values(), key=self.mean)
        return {group[0].name: group for group in ordered}

    def values(self, group: list[Run]) -> list[float]:
        """The best figure of each seed; copies and repetitions with the same seed are one."""
        seeds: dict[Any, list[float]] = {}
        for run in group:
            seeds.setdefault(run.config.get("train.seed"), []).append(run.best(self.key))
        return [statistics.fmean(found) for found in seeds.values()]

    def mean(self, group: list[Run]) -> float:
        """Of the best figures of a group."""
        return statistics.fmean(self.values(group))

    def spread(self, group: list[Run]) -> float | None:
        """Standard deviation over the seeds of a group; None for a single one."""
        values = self.values(group)
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def differences(self) -> dict[str, list[Any]]:
        """Keys of the configuration that are not the same everywhere, a value a run."""
        keys = dict.fromkeys(key for run in self.runs for key in run.config)
        values = {key: [run.config.get(key) for run in self.runs] for key in keys}
        return {k: v for k, v in values.items() if k != "out" and any(x != v[0] for x in v)}

    @property
    def unlike(self) -> list[str]:
        """Why the figures are of different things: keys of the configuration; empty as a rule.

        Bits per byte are of the text itself, whatever reads it, but the text has to be one.
        """
        sizes = {run.text_bytes for run in self.runs}
        text = [k for k in self.differences if k.startswith(TEXT)]
        if None not in sizes:
            text = ["the validation text"] if len(sizes) > 1 else []
        asked = [] if self.key.endswith("bpb") else [k for k in ASKED if k in self.differences]
        return text + asked

    @property
    def stopped(self) -> list[Run]:
        """Runs that were not trained to their end, which says nothing of what they compare."""
        return [run for run in self.runs if not run.finished]

    @property
    def verdicts(self) -> list[Verdict]:
        """Each experiment against the best one; none where they learned different things."""
        if self.unlike:
            return []
        ended = {
            name: runs
            for name, group in self.experiments.items()
            if (runs := [run for run in group if run.finished])
        }
        ordered = sorted(ended, key=lambda name: self.mean(ended[name]))
        return [self._verdict(ordered[0], worse, ended) for worse in ordered[1:]]

    def _verdict(self, better: str, worse: str, ended: dict[str, list[Run]]) -> Verdict:
        groups = [self.values(ended[better]), self.values(ended[worse])]
        freedom = sum(len(values) - 1 for values in groups)
        error = None
        if freedom:  # an experiment that was not repeated is taken to spread as the other does
            squares = (statistics.variance(v) * (len(v) - 1) for v in groups if len(v) > 1)
            usual = math.sqrt(sum(squares) / freedom)
            error = usual * math.sqrt(sum(1 / len(values) for values in groups))
        difference = statistics.fmean(groups[1]) - statistics.fmean(groups[0])
        return Verdict(better, worse, difference, error, freedom)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "figure": self.key,
            "runs": [
                {
                    "run": str(run.folder),
                    "best": run.best(self.key),
                    "parameters": run.parameters,
                    "finished": run.finished,
                    **run.costs[run.step],
                }
                for run in self.runs
            ],
            "experiments": {
                name: {
                    "runs": [run.name for run in group],
                    "mean": self.mean(group),
                    "spread": self.spread(group),
                }
                for name, group in self.experiments.items()
            },
            "differences": self.differences,
            "unlike": self.unlike,
            "verdicts": [vars(verdict) | {"sure": verdict.sure} for verdict in self.verdicts],
        }


def compare(folders: Sequence[Path]) -> Comparison:
    """Read the folders of some runs, each once. DataError names one without an evaluation."""
    each = list({folder.resolve(): folder for folder in folders}.values())
    if not each:
        raise ConfigError("no run is named", next_command="ownlm compare RUN RUN")
    runs = [read_run(*pair) for pair in zip(each, labels(each), strict=True)]
    both = ("validation_bpb", "validation_loss")
    key = next(k for k in both if all(curves.series(r.rows, k).values for r in runs))
    return Comparison(runs, key)


def write_comparison(found: Comparison, path: Path) -> Path:
    """A page with the curves over each cost, what differs, and the verdicts."""
    parts = [
        page.heading(f"{len(found.runs)} runs", f"compared by {words(found.key)}"),
        page.section("What can be said", page.text("\n".join(said(found)) or "-")),
        page.section("Curves", _plots(found)),
        page.section("What differs", page.grid(_tables(found))),
    ]
    files.write_text(path, page.page("comparison · ownlm", parts))
    return path


def said(found: Comparison) -> list[str]:
    """What is not ranked, then the verdicts or why there are none."""
    told = [f"{run.name} ended at {run.step:,} of {run.steps:,}: not ranked"
            for run in found.stopped]  # fmt: skip
    if found.unlike:
        keys = ", ".join(found.unlike)
        return [
            *told,
            f"these runs learned different things ({keys}): their figures do not compare",
        ]
    return [*told, *map(str, found.verdicts)]


def words(key: str) -> str:
    """A figure by its name for people."""
    return "bits per byte of validation text" if key.endswith("bpb") else "validation loss"


def _plots(found: Comparison) -> page.Html:
    panels = [
        Panel(
            f"{words(found.key)} over {name}",
            "",
            [(run.name, run.curve(found.key, cost)) for run in found.runs],
            axis=name,
            alike=True,
        )
        for cost, name in COSTS.items()
    ]
    try:
        return page.grid(page.picture(panel.title, curves.svg(panel)) for panel in panels)
    except ConfigError as error:
        return page.note(str(error))


def _tables(found: Comparison) -> list[page.Html]:
    names = [run.name for run in found.runs]
    best = {run.name: f"{run.best(found.key):.4f}" for run in found.runs}
    differing = [
        page.table(key, {n: str(v) for n, v in zip(names, values, strict=True)})
        for key, values in found.differences.items()
    ]
    return [page.table(words(found.key), best), *differing]
