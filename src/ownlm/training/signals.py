"""Ctrl-C and SIGTERM as requests: the step is finished, the state saved once, the run ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

REQUESTS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Raised inside `interruptible` work; not an Exception, so that nothing there swallows it."""


class StopSignals:
    """Remembers the first request; later ones change nothing, whenever they come."""

    def __init__(self) -> None:
        self.received = 0
        self._armed = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Only the main thread may handle signals; elsewhere the caller stops the run itself.
        if threading.current_thread() is threading.main_thread():
            self._before = {which: signal.signal(which, self._request) for which in REQUESTS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work that may be broken off at once, because all it builds on is saved."""
        try:
            self._armed = True
            if self.received:
                raise Stopped
            yield
        finally:
            self._armed = False

    @property
    def exit_code(self) -> int:
        """What the process ends with: 130 for Ctrl-C, 143 for SIGTERM, 0 without a request."""
        return 128 + self.received if self.received else 0

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if self._armed:
            self._armed = False
            raise Stopped
