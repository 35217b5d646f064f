"""How far a training is: a bar on a terminal, a plain line now and then elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ownlm.log import console, say

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

QUIET_SECONDS = 20.0
"""Least time between plain lines."""


class Progress:
    """Steps, loss, tokens a second and time left, on stderr. All times are monotonic."""

    def __init__(self, begin: int, steps: int) -> None:
        self.begin, self.steps = begin, steps
        self._figures = ""
        self._read_at = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._tokens: int | None = None
        self._rate: float | None = None
        self._spoke = -QUIET_SECONDS
        self._bar: Bar | None = _bar() if console().is_terminal else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
            self._bar.add_task("training", total=self.steps, completed=self.begin, figures="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, step: int, loss: float | None = None, tokens: int = 0) -> None:
        """Show that `step` updates are done, with `loss` and `tokens` read where they are known."""
        self._first = self._first or (step, time.monotonic())
        if loss is not None:
            self._figures = f"loss {loss:.4f}{self._speed(tokens)}"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=step, figures=self._figures)
        elif time.monotonic() - self._spoke >= QUIET_SECONDS or step == self.steps:
            self._spoke = time.monotonic()
            left = self.seconds_left(step)
            words = "" if left is None else f"  {duration(left)} left"
            say(f"step {step}/{self.steps}  {self._figures}{words}")

    def evaluated(self, step: int, loss: float) -> None:
        """Show the validation loss after `step` updates; before the first it says nothing."""
        if step:
            say(f"step {step}/{self.steps}  validation loss {loss:.4f}")

    def _speed(self, tokens: int) -> str:
        """Tokens a second since the last call, smoothed; nothing at the first."""
        now = time.monotonic()
        if self._tokens is not None:
            rate = (tokens - self._tokens) / max(now - self._read_at, 1e-9)
            self._rate = rate if self._rate is None else 0.9 * self._rate + 0.1 * rate
        self._tokens, self._read_at = tokens, now
        return f"  {self._rate:,.0f} tokens/s" if self._rate is not None else ""

    def seconds_left(self, step: int) -> float | None:
        """At the pace since the first update, evaluations and saves included; None at the first.

        What went before it (compiling, the first evaluation) happens once and says nothing.
        """
        first, at = self._first or (step, 0.0)
        if step == first:
            return 0.0 if step == self.steps else None
        return (time.monotonic() - at) / (step - first) * (self.steps - step)


def duration(seconds: float) -> str:
    """Seconds for people: 3725 -> '1:02:05'."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _bar() -> "Bar":
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[figures]}", markup=False),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
        console=console(),
        refresh_per_second=2,
    )
