"""Folders of runs as they grow: what is new in a log is read, what was read is kept."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ownlm.config import flatten
from ownlm.evaluation.compare import Comparison
from ownlm.evaluation.curves import Series, smoothed
from ownlm.evaluation.report import parameters_of, read_recipe
from ownlm.evaluation.run import Run
from ownlm.log import RESUMES, Tail

LOG, SAMPLES = "log.jsonl", "samples.md"
DEPTH, MOST = 4, 500
"""Folders below the one that is named, and runs that are looked for at most."""
AXES = {"step": "step", "tokens": "tokens", "time": "seconds"}
"""What curves are drawn over, as columns of `run.COSTS`."""
ORDER = ("loss", "validation_loss", "bpb", "validation_bpb", "lr", "grad_norm",
         "tokens_per_second")  # fmt: skip
"""Figures that come first; others follow by name."""


class Curve(NamedTuple):
    """One figure of one run."""

    raw: Series
    smooth: Series
    """Empty where the figure is measured seldom, as in evaluations."""


class LiveRun:
    """One run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tail, self.resumes = Tail(folder / LOG), Tail(folder / RESUMES)
        self._told: Run | None = None

    def poll(self) -> bool:
        """Read what is new; whether anything was."""
        changed = [self.tail.poll(), self.resumes.poll()]
        if any(changed):
            self._told = None
        return any(changed)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dotted keys; empty where no recipe can be read."""
        return flatten(read_recipe(self.folder / "recipe.yaml"))

    @property
    def run(self) -> Run:
        """What `ownlm compare` knows of it too."""
        if self._told is None:
            parameters = parameters_of(self.folder / "model")
            self._told = Run(self.folder, self.config, self.tail.rows, parameters)
        return self._told

    @property
    def figures(self) -> list[str]:
        """Names of the numbers that its log holds."""
        found = {
            key
            for row in self.tail.rows
            for key, value in row.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        } - {"step", "tokens"}
        return sorted(found, key=lambda key: (ORDER.index(key) if key in ORDER else 99, key))

    @property
    def step(self) -> int:
        """The last one logged."""
        return max((row["step"] for row in self.tail.rows if _is_step(row.get("step"))), default=0)

    @property
    def steps(self) -> int:
        """How many there are to be, where the recipe says so; else 0."""
        found = self.config.get("train.steps")
        return found if isinstance(found, int) else 0

    def last(self, key: str) -> float | None:
        """The newest value of a figure."""
        values = (row.get(key) for row in reversed(self.tail.rows))
        return next((float(v) for v in values if isinstance(v, int | float)), None)

    def curve(self, key: str, axis: str) -> Curve:
        """A figure over `axis` (of AXES), not more points than can be drawn."""
        raw = self.run.curve(key, AXES[axis])
        seldom = key.startswith("validation") or len(raw.values) < 20
        smooth = Series([], []) if seldom else smoothed(raw)
        return Curve(raw.thinned(), smooth.thinned())

    def resumed(self, axis: str) -> list[float]:
        """Where it was resumed."""
        costs = self.run.costs
        steps = [row["step"] for row in self.resumes.rows if _is_step(row.get("step"))]
        return [costs[max(s for s in costs if s <= step)][AXES[axis]] for step in steps]

    @property
    def samples(self) -> dict[int, str]:
        """What the model wrote, by step."""
        return read_samples(self.folder / SAMPLES)


def find_runs(folder: Path) -> dict[str, Path]:
    """Every run below a folder by its name there; links are not followed.

    >>> find_runs(Path("no such folder"))
    {}
    """
    found: dict[str, Path] = {}
    for place, below, files in os.walk(folder):
        at = Path(place)
        deep = len(at.relative_to(folder).parts)
        if LOG in files:
            found[at.relative_to(folder).as_posix() if deep else at.resolve().name] = at
            below.clear()
        hidden = deep >= DEPTH or len(found) >= MOST
        below[:] = [] if hidden else sorted(name for name in below if not name.startswith("."))
    return found


def differing(runs: Sequence[LiveRun]) -> dict[str, list[Any]]:
    """Keys of the configuration that are not the same in all runs, a value a run."""
    return Comparison([one.run for one in runs], "validation_loss").differences


def read_samples(path: Path) -> dict[int, str]:
    """The sections of samples.md by step, without their indent."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return {}
    found: dict[int, list[str]] = {}
    step = None
    for line in lines:
        number = line.removeprefix("## step ")
        if line.startswith("## step ") and number.isdecimal():
            step = int(number)
            found[step] = []
        elif step is not None and line.startswith("    "):
            found[step].append(line[4:])
    return {step: "\n".join(text) for step, text in found.items()}


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
