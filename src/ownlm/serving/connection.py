"""Connections that nobody can hold open for nothing.

uvicorn's own protocol, with clocks: headers and bodies must come in time, and what is sent must be
read in time; else the connection is cut, and the application told that the client has left.
"""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ownlm.serving.config import ServeConfig


class Connection(H11Protocol):
    """One connection of a client."""

    limits: ClassVar[ServeConfig] = ServeConfig()
    """Of the server: `protocol` makes a class with its own."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock for the headers begins."""
        self._reading: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in_body = False
        super().connection_made(transport)
        self._await_part(self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """No clock is left."""
        self._stop_reading()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of the headers or of the body."""
        if self._reading is None:
            self._await_part(self.limits.header_seconds)
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        """The next request may begin."""
        super().on_response_complete()
        self._settle()

    def pause_writing(self) -> None:
        """The client reads more slowly than the model writes."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came; what the client has not read by the end of another while it
        will not read."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.limits.stall_seconds, self.transport.abort)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Another protocol takes over."""
        self._stop_reading()
        super().handle_websocket_upgrade(event)

    def _settle(self) -> None:
        """Which clock runs, after something has come."""
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            if not self._in_body:
                self._in_body = True
                self._await_part(self.limits.body_seconds)
            return
        self._in_body = False
        if state is not h11.IDLE or not self.conn.trailing_data[0]:
            self._stop_reading()

    def _await_part(self, seconds: float) -> None:
        self._stop_reading()
        self._reading = self.loop.call_later(seconds, self.transport.abort)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


def protocol(options: ServeConfig) -> type[Connection]:
    """The class of a server's connections."""
    return type("Connection", (Connection,), {"limits": options})
