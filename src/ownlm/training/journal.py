"""What a run says while it trains: rows of log.jsonl, TensorBoard, a progress bar, warnings."""

import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from ownlm.log import RESUMES, MetricsLog, Row, read_rows
from ownlm.training.monitor import Board
from ownlm.training.progress import Progress
from ownlm.training.run import RunFolder

Rank = Callable[[Mapping[str, float]], tuple[float, ...]]
"""How good an evaluation was, from its figures: the greater the better."""


def by_loss(figures: Mapping[str, float]) -> tuple[float, ...]:
    """The lower the validation loss, the better."""
    return (-figures["validation_loss"],)


class Journal:
    """Writes rows and remembers which steps were looked at, also before a resume."""

    def __init__(self, run: RunFolder, step: int, steps: int, rank: Rank) -> None:
        if run.start and step < steps:  # a finished run is left as it is
            with MetricsLog(run.path / RESUMES) as resumes:
                resumes.write({"step": step})
        self.rank, self.log = rank, MetricsLog(run.log_path)
        self.log.rewind(step if run.start else -1)
        rows = read_rows(run.log_path)
        self.evaluations: dict[int, dict[str, float]] = {
            row["step"]: {k: v for k, v in row.items() if k != "step"}
            for row in rows
            if "validation_loss" in row
        }
        self.gone = {step for step in self.evaluations if not run.checkpoint(step).exists()}
        """Evaluated before, and retired since: another was better then."""
        self.sampled = {row["step"] for row in rows if "sampled" in row}
        self.board = Board(run.path / "tensorboard", step)
        self.progress = Progress(step, steps)

    def __enter__(self) -> Self:
        self.progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        self.board.close()
        self.log.close()

    def write(self, row: Row) -> None:
        """One row everywhere."""
        self.log.write(row)
        self.board.write(row)

    def evaluated(self, step: int, figures: dict[str, float]) -> None:
        """The figures of an evaluation at `step`."""
        self.write({"step": step, **figures})
        self.evaluations[step] = figures
        self.progress.evaluated(step, _number(figures.get("validation_loss")))

    def sample_written(self, step: int) -> None:
        """That the model's text of `step` is on disk."""
        self.write({"step": step, "sampled": True})
        self.sampled.add(step)

    @property
    def best_step(self) -> int | None:
        """The step whose evaluation ranks highest, of those that have a checkpoint; of equal ones
        the first. One without a finite rank is none of them."""
        found = {step: self._rank(figures) for step, figures in self.evaluations.items()}
        sound = {step: rank for step, rank in found.items() if rank and step not in self.gone}
        return max(sound, key=lambda step: (sound[step], -step), default=None)

    def _rank(self, figures: Mapping[str, Any]) -> tuple[float, ...]:
        """Empty where there is no loss, or no number."""
        if "validation_loss" not in figures:
            return ()
        found = self.rank({name: _number(value) for name, value in figures.items()})
        return found if all(map(math.isfinite, found)) else ()

    @property
    def validation(self) -> dict[str, float]:
        """That of the best step, else the newest."""
        step = max(self.evaluations, default=0) if self.best_step is None else self.best_step
        return self.evaluations.get(step, {})


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.inf
