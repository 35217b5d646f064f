"""An engine in a thread of its own, for servers and for programs that ask many things at once.

    service = Service(Engine(lm))
    async for event in service.stream(request):
        print(event.text, end="")

Whoever stops listening gives the request up.
"""

import asyncio
import queue
import threading
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from ownlm.errors import ConfigError
from ownlm.inference.answer import Matcher
from ownlm.inference.engine import Engine
from ownlm.inference.request import Event, Request
from ownlm.log import warn

COMPILE_SECONDS = 5.0
"""What a constraint may take to compile; threads that write go on meanwhile."""


class Listener(NamedTuple):
    """Who waits for the events of a request: a coroutine of a loop, or, without one, a thread."""

    events: "asyncio.Queue[Event] | queue.SimpleQueue[Event]"
    loop: asyncio.AbstractEventLoop | None = None


class Service:
    """Takes requests from any thread and any event loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.error = ""
        """Why it works no more; empty while it does."""
        self._asked: deque[Callable[[], None]] = deque()
        self._listeners: dict[int, Listener] = {}
        self._changed, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return not self._closed and not self.error

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        """The events of a request as they come, several as one where the reader is slower;
        closing the iterator gives the request up.

        ConfigError, before the first event, for one that cannot be answered.
        """
        matcher = await self._prepared(request)
        listener = Listener(asyncio.Queue(), asyncio.get_running_loop())
        cancel = self._listen(request, matcher, listener)
        event = Event()
        try:
            while not event.finish:
                event = await listener.events.get()  # type: ignore[misc]
                while not (event.finish or listener.events.empty()):
                    event = event.and_then(listener.events.get_nowait())
                yield event
        finally:
            if not event.finish:
                cancel()

    def run(self, requests: Sequence[Request]) -> list[list[Event]]:
        """All events of each request, when all are done."""
        prepared = [self.engine.prepare(request) for request in requests]
        listeners = [Listener(queue.SimpleQueue()) for _ in requests]
        for one in zip(requests, prepared, listeners):
            self._listen(*one)
        return [_all(listener) for listener in listeners]

    def close(self) -> None:
        """End all; who listens is told that the request was given up."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    async def _prepared(self, request: Request) -> Matcher | None:
        if request.constraint is None:
            return self.engine.prepare(request)
        await asyncio.to_thread(self.engine.grammars.open)  # the first time it may take longer
        compiling = asyncio.to_thread(self.engine.prepare, request)
        try:
            return await asyncio.wait_for(compiling, COMPILE_SECONDS)
        except TimeoutError:
            what = f"took more than {COMPILE_SECONDS:g} s to compile"
            raise ConfigError(what, where="constraint") from None

    def _listen(
        self, request: Request, matcher: Matcher | None, listener: Listener
    ) -> Callable[[], None]:
        """Hand a request to the thread; calling what is returned gives it up."""
        number: list[int] = []

        def begin() -> None:
            number.append(self.engine.admit(request, matcher))
            self._listeners[number[0]] = listener

        def cancel() -> None:
            self._listeners.pop(number[0], None)
            self.engine.cancel(number[0])

        self._ask(begin, listener)
        return lambda: self._ask(cancel)

    def _ask(self, what: Callable[[], None], listener: Listener | None = None) -> None:
        """Let the thread do something between two steps."""
        with self._changed:
            if self.alive:
                self._asked.append(what)
                self._changed.notify()
            elif listener is not None:
                listener.events.put_nowait(Event(finish="error", error="the engine has stopped"))

    def _work(self) -> None:
        try:
            while self._wait():
                while self._asked:
                    self._asked.popleft()()
                if self.engine.busy:
                    self._tell(self.engine.step())
        except Exception as error:  # noqa: BLE001, whoever listens must hear of it
            self.error = f"{type(error).__name__}"
            warn(f"the engine has stopped: {type(error).__name__}: {error}")
        with self._changed:
            self._closed = True
        while self._asked:
            self._asked.popleft()()  # what was asked for before is told, too
        last = Event(finish="error" if self.error else "cancelled", error=self.error)
        self._tell([(number, last) for number in [*self._listeners]])

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._asked or self.engine.busy)
            return not self._closed

    def _tell(self, events: Sequence[tuple[int, Event]]) -> None:
        """Pass events on, with one call for each loop."""
        by_loop = defaultdict(list)
        for number, event in events:
            listener = self._listeners.get(number)
            if listener is not None:
                by_loop[listener.loop].append((listener, event))
                if event.finish:
                    del self._listeners[number]
        for loop, told in by_loop.items():
            if loop is None:
                _put(told)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_put, told)


def _put(told: Sequence[tuple[Listener, Event]]) -> None:
    for listener, event in told:
        listener.events.put_nowait(event)


def _all(listener: Listener) -> list[Event]:
    events: list[Event] = []
    while not events or not events[-1].finish:
        events.append(listener.events.get())  # type: ignore[arg-type]
    return events
