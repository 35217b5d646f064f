"""One process a run folder: the system holds the lock, and lets go of it when a process dies."""

import datetime
import errno
import json
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from ownlm.errors import LockedError
from ownlm.files import disk_errors
from ownlm.log import warn

NAME = ".lock"

if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # a byte no one reads: the holder stays readable
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _take(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunLock:
    """Holds `folder/.lock`, whose text says who does; empty once let go.

    Raises LockedError at once when another process holds it. Text left by a process that was
    killed is replaced, with a warning.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._file = -1

    def __enter__(self) -> Self:
        with disk_errors(self.path):
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        earlier = _holder(self.path)
        if not _free(file, earlier):
            os.close(file)
            raise LockedError(
                f"in use by {_who(earlier)}",
                where=str(self.path.parent),
                kept="that run goes on unharmed",
                next_command="wait for it, stop it, or choose another place with --out",
            )
        if earlier:
            warn(f"took over the lock of {_who(earlier)}, which ended without letting go")
        self._file = file
        self._write(json.dumps(_self()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            os.ftruncate(self._file, 0)
        finally:
            os.close(self._file)

    def _write(self, text: str) -> None:
        with disk_errors(self.path):
            os.ftruncate(self._file, 0)
            os.write(self._file, text.encode())


def _free(file: int, earlier: dict[str, str]) -> bool:
    """Try to take the lock; where the file system has none, ask whether the holder lives."""
    try:
        _take(file)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES, errno.EDEADLK}:
            return False
        here = earlier.get("host") == socket.gethostname()
        return not earlier or (here and not _alive(int(earlier.get("pid", 0))))
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _self() -> dict[str, str]:
    started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "started": started}


def _holder(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _who(holder: dict[str, str]) -> str:
    if not holder:
        return "another process that has just begun"
    return "process {pid} on {host}, started {started}".format_map(
        {"pid": "?", "host": "?", "started": "?"} | holder
    )
