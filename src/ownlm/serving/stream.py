"""Answers that last: server-sent events, and work that ends when the client leaves."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ownlm.errors import OwnlmError
from ownlm.log import warn
from ownlm.serving.refusal import Refusal, as_json, of_error

R = TypeVar("R")
TURN = 0.01
"""Seconds after which others come to their turn, also where much came at once."""
DONE = b"data: [DONE]\n\n"
_HEADERS = {"X-Accel-Buffering": "no"}
"""Proxies pass on what they get at once."""


class Left(Exception):
    """The client has gone: nobody reads an answer."""


def frame(content: Any, event: str = "") -> bytes:
    """One server-sent event."""
    name = b"event: " + event.encode() + b"\n" if event else b""
    return name + b"data: " + as_json(content) + b"\n\n"


class Frames:
    """Events of one answer, which begin alike: what they share is turned into JSON once."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = b"data: " + as_json(head)[:-1] + b","

    def __call__(self, **rest: Any) -> bytes:
        """An event with what sets it apart."""
        return self._head + as_json(rest)[1:] + b"\n\n"


async def until_left(receive: Receive, work: Coroutine[Any, Any, R]) -> R:
    """What `work` gives; it is cancelled, and Left raised, as soon as the client goes."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    both: set[asyncio.Future[Any]] = {working, leaving}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Left
    finally:
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def answered(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """The same for a route."""
    return await until_left(request.receive, work)


class EventStream(Response):
    """Frames as they come. `end` is called when the last is sent, or the client has left, or it
    never began."""

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[bytes, None], end: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self.frames, self.end = frames, end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            with contextlib.suppress(Left):
                await until_left(receive, self._send(send))
        finally:
            try:
                await self.frames.aclose()
            finally:
                self.end()

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        turn = time.perf_counter()
        async for part in self.frames:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if time.perf_counter() - turn > TURN:
                await asyncio.sleep(0)
                turn = time.perf_counter()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def with_end(frames: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The frames, an error that comes between them as one more, and [DONE]."""
    try:
        async for part in frames:
            yield part
    except Refusal as refusal:
        yield frame(refusal.body)
    except OwnlmError as error:
        yield frame(of_error(error).body)
    except Exception as error:  # noqa: BLE001 (a stream has begun: its end must be told)
        warn(f"fault in a stream: {type(error).__name__}: {error}")
        yield frame(Refusal(500, "a fault of the server").body)
    finally:
        close = getattr(frames, "aclose", None)
        if close is not None:
            await close()
    yield DONE


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
