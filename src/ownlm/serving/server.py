"""The server itself: listens, tells when it does, and ends when it is told to."""

import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ownlm.errors import ConfigError
from ownlm.serving.config import ServeConfig
from ownlm.serving.connection import protocol
from ownlm.serving.state import State

KEEP_ALIVE = 60
"""Seconds that a connection stays open for a next request."""
BACKLOG = 2048
"""Connections that may wait to be accepted."""
FILES = 8192
"""Open files that a server wants; many systems allow 1024 unless asked."""


class Server(uvicorn.Server):
    """uvicorn's, which on a signal refuses what is new, ends what runs, and then returns."""

    def __init__(self, app: FastAPI, state: State, sockets: list[socket.socket]) -> None:
        options = state.options
        config = uvicorn.Config(
            app,
            http=protocol(options),
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=int(options.drain_seconds),
            h11_max_incomplete_event_size=2 * options.max_header_bytes,
        )
        super().__init__(config)
        self.state, self.sockets = state, sockets
        self.signal = 0
        """The signal that ended it; 0: none did."""

    def serve_until_told(self) -> int:
        """Run; returns the exit code: 0, or 128 and a signal for the second one that came."""
        quiet_uvicorn()
        allow_connections()
        self.run(self.sockets)
        return 128 + self.signal if self.force_exit else 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server in its own way."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.signal(kind, self.handle_exit) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second one cuts off."""
        self.force_exit = self.should_exit
        self.should_exit, self.signal = True, sig
        self.state.phase = "draining"


def listen(options: ServeConfig) -> socket.socket:
    """A socket that listens; ConfigError says why none can."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    host = options.host.strip("[]")
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, options.port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        taken = error.errno == errno.EADDRINUSE
        why = "another program listens there" if taken else str(error.strerror or error)
        raise ConfigError(
            f"cannot listen: {why}",
            where=f"{options.host}:{options.port}",
            next_command="ownlm serve ... --port 0 takes any that is free",
        ) from None
    made.set_inheritable(True)
    return made


def address(made: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = made.getsockname()[:2]
    named = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"


def require_key(options: ServeConfig, keys: list[str]) -> None:
    """ConfigError for a server that others would reach without a key, and for a key that no
    header can carry."""
    for key in keys:
        if not key.isascii() or not key.isprintable() or " " in key or not key:
            raise ConfigError("an API key has printable ASCII characters only", where="api-key")
    if not keys and not options.is_local and not options.open:
        raise ConfigError(
            "other machines could use this server without a key",
            where=f"--host {options.host}",
            next_command="set OWNLM_API_KEY=... in the environment, or say --open",
        )


def in_background(server: Server) -> threading.Thread:
    """The server in a thread of its own, for tests and measurements; returns once it listens."""
    thread = threading.Thread(target=server.serve_until_told, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    return thread


def allow_connections() -> None:
    """As many open files as a crowd needs, each connection being one, where the system lets this
    process have them (Windows has no such limit)."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def quiet_uvicorn() -> None:
    """Only what went wrong is said."""
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.ERROR)
