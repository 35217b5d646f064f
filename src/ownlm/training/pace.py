"""Tokens a second of training alone: evaluations and saves stop the clock."""

import time


class Pace:
    """A clock that runs inside `with pace:`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Time trained since the last lap."""
        self._since = 0.0
        self._tokens = 0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._since

    def lap(self, tokens: int) -> float:
        """Tokens a second since the last lap, at `tokens` read in all; begins a new one."""
        rate = (tokens - self._tokens) / max(self.seconds, 1e-9)
        self.seconds, self._tokens = 0.0, tokens
        return rate

    def begin(self, tokens: int) -> None:
        """Start with `tokens` that an earlier process read."""
        self._tokens = tokens
