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

from ownlm import files, log
from ownlm.config import flatten
from ownlm.errors import ConfigError, DataError
from ownlm.evaluation import curves, page
from ownlm.evaluation.curves import Panel, Series
from ownlm.evaluation.report import parameters_of, read_recipe

SAME = ("train.seed", "out", "recipe", "device")
"""Keys that do not make a run another experiment."""

COSTS = {
    "step": "updates",
    "tokens": "tokens read",
    "flops": "FLOPs, 6 a parameter and token",
    "seconds": "seconds of training",
}
"""What a loss is drawn over."""

ASKED = (
    "objective.kind", "objective.rate", "objective.span", "objective.unit", "objective.pairs",
    "mixture.tasks", "tokenizer.kind", "model.vocab",
)  # fmt: skip
"""Keys that decide what a loss is of: where they differ, losses say nothing about each other."""

SURE = 2.0
"""Standard errors of a difference that chance seldom reaches (one time in twenty)."""


@dataclass(frozen=True)
class Run:
    """What the folder of a run says of it."""

    folder: Path
    config: dict[str, Any]
    """Flat: dotted keys."""
    rows: Sequence[curves.Row]
    parameters: int | None

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.resolve().name

    @property
    def experiment(self) -> tuple[tuple[str, str], ...]:
        """Equal for runs that differ in their seeds alone."""
        return tuple(sorted((k, repr(v)) for k, v in self.config.items() if k not in SAME))

    @cached_property
    def costs(self) -> dict[int, dict[str, float]]:
        """What each logged step had cost in all."""
        found, seconds, before = {0: dict.fromkeys(COSTS, 0.0)}, 0.0, 0
        for row in self.rows:
            if "tokens_per_second" not in row:
                continue
            tokens = int(row["tokens"])
            seconds += (tokens - before) / max(float(row["tokens_per_second"]), 1e-9)
            before = tokens
            flops = 6.0 * (self.parameters or 0) * tokens
            step = int(row["step"])
            found[step] = {"step": step, "tokens": tokens, "flops": flops, "seconds": seconds}
        return found

    def curve(self, key: str, cost: str) -> Series:
        """Validation figures over what they had cost."""
        raw = curves.series(self.rows, key)
        pairs = [(self.costs[int(s)][cost], v) for s, v in zip(*raw) if int(s) in self.costs]
        return Series([x for x, _ in pairs], [y for _, y in pairs])

    def best(self, key: str) -> float:
        """The lowest validation figure."""
        return min(curves.series(self.rows, key).values)


@dataclass(frozen=True)
class Verdict:
    """Whether one experiment is better than another by more than chance."""

    better: str
    worse: str
    difference: float
    error: float | None
    """Standard error of the difference; None where no experiment was repeated."""

    @property
    def sure(self) -> bool | None:
        """Whether the difference exceeds the spread of seeds; None: not known."""
        return None if self.error is None else self.difference > SURE * self.error

    def __str__(self) -> str:
        words = f"{self.better} is {self.difference:.4f} below {self.worse}"
        if self.error is None:
            return f"{words}; whether that is chance needs runs with other seeds"
        relation = "more" if self.sure else "no more"
        return f"{words}, {relation} than seeds make: {SURE:g} standard errors are " + (
            f"{SURE * self.error:.4f}"
        )


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

    def mean(self, group: list[Run]) -> float:
        """Of the best figures of a group."""
        return statistics.fmean(run.best(self.key) for run in group)

    def spread(self, group: list[Run]) -> float | None:
        """Standard deviation over the seeds of a group; None for a single run."""
        if len(group) < 2:
            return None
        return statistics.stdev(run.best(self.key) for run in group)

    @property
    def differences(self) -> dict[str, list[Any]]:
        """Keys of the configuration that are not the same everywhere, a value a run."""
        keys = dict.fromkeys(key for run in self.runs for key in run.config)
        values = {key: [run.config.get(key) for run in self.runs] for key in keys}
        return {k: v for k, v in values.items() if k != "out" and any(x != v[0] for x in v)}

    @property
    def unlike(self) -> list[str]:
        """Why the figures are of different things: keys of the configuration; empty as a rule.

        Bits per byte are of the text itself, whatever reads it.
        """
        return [] if self.key.endswith("bpb") else [k for k in ASKED if k in self.differences]

    @property
    def verdicts(self) -> list[Verdict]:
        """Each experiment against the best one; none where they learned different things."""
        if self.unlike:
            return []
        names = list(self.experiments)
        return [self._verdict(names[0], other) for other in names[1:]]

    def _verdict(self, better: str, worse: str) -> Verdict:
        groups = self.experiments[better], self.experiments[worse]
        spreads = [s for group in groups if (s := self.spread(group)) is not None]
        error = None
        if spreads:  # an experiment that was not repeated is taken to spread as the other does
            usual = math.sqrt(statistics.fmean(s * s for s in spreads))
            error = usual * math.sqrt(sum(1 / len(group) for group in groups))
        difference = self.mean(groups[1]) - self.mean(groups[0])
        return Verdict(better, worse, difference, error)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "figure": self.key,
            "runs": [
                {
                    "run": str(run.folder),
                    "best": run.best(self.key),
                    "parameters": run.parameters,
                    **run.costs[max(run.costs)],
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
    """Read the folders of some runs. DataError names one that holds no evaluation yet."""
    runs = [read_run(folder) for folder in folders]
    both = ("validation_bpb", "validation_loss")
    key = next(k for k in both if all(curves.series(r.rows, k).values for r in runs))
    return Comparison(runs, key)


def read_run(folder: Path) -> Run:
    """A run from its recipe.yaml, log.jsonl and model/."""
    path = folder / "log.jsonl"
    rows = log.read_rows(path) if path.is_file() else []
    if not curves.series(rows, "validation_loss").values:
        raise DataError(
            "no evaluation is logged here",
            where=str(folder),
            next_command="name folders that `ownlm pretrain` wrote",
        )
    return Run(
        folder,
        flatten(read_recipe(folder / "recipe.yaml")),
        rows,
        parameters_of(folder / "model"),
    )


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
    """The verdicts, or why there are none."""
    if found.unlike:
        keys = ", ".join(found.unlike)
        return [f"these runs learned different things ({keys}): their losses do not compare"]
    return [str(verdict) for verdict in found.verdicts]


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
