"""How far a long reading has come: what a progress bar needs, told a few times a second."""

import time
from collections.abc import Callable
from typing import NamedTuple

_SECONDS = 0.1  # between two reports


class Progress(NamedTuple):
    """A stage of work and how much of it is done, in bytes."""

    stage: str
    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second since the stage began."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float:
        """Seconds until the stage ends at this rate; 0 while nothing is known."""
        return max(0, self.total - self.done) / self.rate if self.rate else 0.0


class Meter:
    """Counts one stage and tells `report` now and then; without `report` it does nothing."""

    def __init__(
        self, stage: str, total: int, report: Callable[[Progress], None] | None = None
    ) -> None:
        self._stage, self._total, self._report = stage, total, report
        self._began = time.monotonic()
        self._told = self._began - _SECONDS
        self._done = 0

    def at(self, done: int) -> None:
        """`done` bytes of the stage are finished."""
        self._done = done
        if self._report and time.monotonic() - self._told >= _SECONDS:
            self.tell()

    def add(self, more: int) -> None:
        """`more` bytes are finished."""
        self.at(self._done + more)

    def finish(self) -> None:
        """The stage is over."""
        self._done = self._total
        self.tell()

    def tell(self) -> None:
        """Report now."""
        self._told = time.monotonic()
        if self._report:
            seconds = self._told - self._began
            self._report(Progress(self._stage, self._done, self._total, seconds))
