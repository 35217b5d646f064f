"""What a run says while it trains: rows of log.jsonl, TensorBoard, a progress bar, warnings."""

import math
from types import TracebackType
from typing import Any, Self

from ownlm.log import RESUMES, MetricsLog, Row, read_rows
from ownlm.training.monitor import Board
from ownlm.training.progress import Progress
from ownlm.training.run import RunFolder


class Journal:
    """Writes rows and remembers which steps were looked at, also before a resume."""

    def __init__(self, run: RunFolder, step: int, steps: int) -> None:
        if run.start and step < steps:  # a finished run is left as it is
            with MetricsLog(run.path / RESUMES) as resumes:
                resumes.write({"step": step})
        self.log = MetricsLog(run.log_path)
        self.log.rewind(step if run.start else -1)
        rows = read_rows(run.log_path)
        self.evaluations: dict[int, dict[str, float]] = {
            row["step"]: {k: v for k, v in row.items() if k != "step"}
            for row in rows
            if "validation_loss" in row
        }
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
        """The evaluated step with the lowest validation loss; of equal ones the first."""
        losses = {s: _number(e.get("validation_loss")) for s, e in self.evaluations.items()}
        finite = {step: loss for step, loss in losses.items() if math.isfinite(loss)}
        return min(finite, key=lambda step: (finite[step], step), default=None)

    @property
    def validation(self) -> dict[str, float]:
        """The newest evaluation."""
        return self.evaluations[max(self.evaluations)] if self.evaluations else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.inf
