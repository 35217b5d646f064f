"""Work of several requests done at once: whoever comes while a model reads waits, and is then read
together with all others that came meanwhile."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
MOST = 256
"""Things of several requests that are done at once; those of one stay together."""


@dataclass(eq=False)
class Asked(Generic[T, R]):
    """What one request wants done."""

    things: Sequence[T]
    done: bool = False
    given_up: bool = False
    results: list[R] = field(default_factory=list)
    error: Exception | None = None


class Together(Generic[T, R]):
    """Calls of one function, one after the other, each with the things of all who wait."""

    def __init__(self, work: Callable[[Sequence[T]], list[R]], lock: threading.Lock) -> None:
        """`work` gives a result a thing, in order, and does not mix them; it holds `lock`."""
        self.work, self.lock = work, lock
        self._waiting: deque[Asked[T, R]] = deque()
        # Whoever waits for the lock in a thread of asyncio's would keep it from all else.
        self._thread = ThreadPoolExecutor(1)

    async def __call__(self, things: Sequence[T]) -> list[R]:
        """The results of these; what `work` raises for them."""
        asked = Asked[T, R](things)
        self._waiting.append(asked)
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._until_done, asked)
        finally:
            asked.given_up = True
        if asked.error is not None:
            raise asked.error
        return asked.results

    def _until_done(self, asked: Asked[T, R]) -> None:
        """Whoever has the lock works for those who wait for it."""
        with self.lock:
            while not asked.done:
                if several := self._next():
                    self._do(several)

    def _next(self) -> list[Asked[T, R]]:
        """Those who came first and have not left."""
        taken: list[Asked[T, R]] = []
        count = 0
        while self._waiting and (not count or count + len(self._waiting[0].things) <= MOST):
            one = self._waiting.popleft()
            one.done = one.given_up
            if not one.done:
                taken.append(one)
                count += len(one.things)
        return taken

    def _do(self, several: Sequence[Asked[T, R]]) -> None:
        """All at once; what goes wrong is found out one by one, and said to that one only."""
        try:
            results = iter(self.work([thing for one in several for thing in one.things]))
            for one in several:
                one.results, one.done = [next(results) for _ in one.things], True
        except Exception as error:  # noqa: BLE001, raised where it was asked
            if len(several) > 1:
                for one in several:
                    self._do([one])
            else:
                several[0].error, several[0].done = error, True
