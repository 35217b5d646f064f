"""What the folder of a run says of it: configuration, log, size, and what each step had cost."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ownlm import log
from ownlm.config import flatten
from ownlm.errors import DataError
from ownlm.evaluation import curves
from ownlm.evaluation.curves import Series
from ownlm.evaluation.flops import flops_of
from ownlm.evaluation.report import EVALUATION, parameters_of, read_recipe

SAME = ("train.seed", "out", "recipe", "device", "train.save_every", "train.log_every",
        "train.sample_every", "train.threads")  # fmt: skip
"""Keys that do not make a run another experiment."""

COSTS = {
    "step": "updates",
    "tokens": "tokens read",
    "flops": "FLOPs, 6 a weight and token",
    "seconds": "seconds of training",
}
"""What a loss is drawn over."""


@dataclass(frozen=True)
class Run:
    """What the folder of a run says of it."""

    folder: Path
    config: dict[str, Any]
    """Flat: dotted keys."""
    rows: Sequence[curves.Row]
    parameters: int | None
    label: str = ""
    """A name where other runs have a folder of the same name."""

    @property
    def name(self) -> str:
        """The folder's, or the label."""
        return self.label or self.folder.resolve().name

    @property
    def step(self) -> int:
        """The last one logged."""
        return max(self.costs)

    @property
    def steps(self) -> int:
        """How many there were to be; 0 where the recipe does not say."""
        found = self.config.get("train.steps")
        return found if isinstance(found, int) else 0

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end."""
        return self.step >= self.steps

    @cached_property
    def text_bytes(self) -> int | None:
        """Of all the validation text, as evaluation.json has it: says whether two runs were
        measured on one text, whatever tokenizer cut it."""
        try:
            found = json.loads((self.folder / EVALUATION).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        size = found.get("text_bytes") if isinstance(found, dict) else None
        return size if isinstance(size, int) else None

    @property
    def experiment(self) -> tuple[tuple[str, str], ...]:
        """Equal for runs that differ in their seeds alone."""
        return tuple(sorted((k, repr(v)) for k, v in self.config.items() if k not in SAME))

    @cached_property
    def costs(self) -> dict[int, dict[str, float]]:
        """What each logged step had cost in all."""
        found, seconds, before = {0: dict.fromkeys(COSTS, 0.0)}, 0.0, 0
        each = flops_of(self.config) or 6.0 * (self.parameters or 0)
        for row in self.rows:
            if "tokens_per_second" not in row:
                continue
            tokens = int(row["tokens"])
            seconds += (tokens - before) / max(float(row["tokens_per_second"]), 1e-9)
            before = tokens
            flops = each * tokens
            step = int(row["step"])
            found[step] = {"step": step, "tokens": tokens, "flops": flops, "seconds": seconds}
        return found

    def curve(self, key: str, cost: str) -> Series:
        """Validation figures over what they had cost; between logged steps in proportion."""
        raw, logged = curves.series(self.rows, key), sorted(self.costs)
        known = [(step, value) for step, value in zip(*raw, strict=True) if step <= self.step]
        spent = [self.costs[step][cost] for step in logged]
        places = np.interp([step for step, _ in known], logged, spent)
        return Series(places.tolist(), [value for _, value in known])

    def best(self, key: str) -> float:
        """The lowest validation figure."""
        return min(curves.series(self.rows, key).values)


def read_run(folder: Path, label: str = "") -> Run:
    """A run from its recipe.yaml, log.jsonl and model/."""
    path = folder / "log.jsonl"
    rows = log.read_rows(path) if path.is_file() else []
    if not curves.series(rows, "validation_loss").values:
        raise DataError(
            "no evaluation is logged here",
            where=str(folder),
            next_command="name folders that `ownlm pretrain` wrote",
        )
    places = [folder / "model", *sorted(folder.glob("checkpoints/step-*"), reverse=True)]
    sizes = (parameters_of(place) for place in places)
    return Run(
        folder,
        flatten(read_recipe(folder / "recipe.yaml")),
        rows,
        next((size for size in sizes if size), None),
        label,
    )


def labels(folders: Sequence[Path]) -> list[str]:
    """Names of folders, with as many of the folders around them as tell them apart."""
    whole = [folder.resolve().parts for folder in folders]
    found = []
    for parts in whole:
        others = [other for other in whole if other != parts]
        size = next(n for n in range(1, len(parts) + 1)
                    if all(other[-n:] != parts[-n:] for other in others))  # fmt: skip
        found.append("/".join(parts[-size:]))
    return found
