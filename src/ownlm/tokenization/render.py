"""Rendering a chat template in a worker process, within limits of time, memory and length."""

import contextlib
import datetime
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ownlm.errors import DataError

LONGEST_SOURCE = 1 << 20
"""Characters of a template; published ones have up to 30,000."""
_SCRIPT = Path(__file__).with_name("sandbox.py")
_AT_ONCE = 16
"""Renderings asked for in one line."""


class Limits(NamedTuple):
    """What a template may use for one line of renderings."""

    seconds: float = 20.0
    """By the clock, with the start of the process; a rendering takes about a millisecond."""
    bytes: int = 1 << 30
    """Of memory, where the system can limit it."""
    characters: int = 1 << 24
    """Of text written."""


class Rendered(NamedTuple):
    """A text, or why there is none."""

    text: str
    fault: str = ""


class Renderer:
    """A template in a process of its own, started when first asked and again after it was killed.

    Safe to share between threads; a process forked from this one starts a worker of its own.
    """

    def __init__(self, source: str, limits: Limits | None = None) -> None:
        if len(source) > LONGEST_SOURCE:
            raise DataError(
                f"{len(source):,} characters are no chat template; {LONGEST_SOURCE:,} is the limit",
                where="chat_template",
            )
        self._source, self._limits = source, limits or Limits()
        self._lock, self._owner = threading.Lock(), 0
        self._worker: subprocess.Popen[bytes] | None = None

    def __call__(self, jobs: Sequence[Mapping[str, Any]], now: datetime.datetime) -> list[Rendered]:
        """The rendering of each set of variables; `now` is the time that templates are told.

        DataError when the template takes more than its limits; what it refuses itself, and
        faults such as an attribute that it may not read, are told with each rendering.
        """
        found: list[Rendered] = []
        for first in range(0, len(jobs), _AT_ONCE):
            request = {"now": now.isoformat(), "jobs": list(jobs[first : first + _AT_ONCE])}
            with self._lock:
                answers = json.loads(self._ask(json.dumps(request).encode("ascii") + b"\n"))
            found += [
                Rendered(said) if kind == "text" else Rendered("", said) for kind, said in answers
            ]
        return found

    def _ask(self, line: bytes) -> bytes:
        worker = self._started()
        assert worker.stdin and worker.stdout
        late = threading.Event()

        def end() -> None:
            late.set()
            worker.kill()

        timer = threading.Timer(self._limits.seconds, end)
        timer.daemon = True
        timer.start()
        try:
            worker.stdin.write(line)
            worker.stdin.flush()
            answer = worker.stdout.readline()
        except BrokenPipeError:
            answer = b""
        except BaseException:  # Ctrl-C: what it still answers is for no one
            self._stop()
            raise
        finally:
            timer.cancel()
        if not answer.endswith(b"\n"):
            self._stop()
            time = f"more than {self._limits.seconds:g} seconds"
            raise DataError(
                f"the template takes {time if late.is_set() else 'too much memory or time'}",
                where="chat_template",
                next_command="use another template: this one may have been made to do harm",
            )
        return answer

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._worker is not None and self._owner == os.getpid() and self._worker.poll() is None:
            return self._worker
        self._worker, self._owner = None, os.getpid()
        worker: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert worker.stdin
        self._ending = weakref.finalize(self, _end, worker, self._owner)
        first = {"source": self._source} | self._limits._asdict()
        self._worker = worker
        with contextlib.suppress(BrokenPipeError):  # noted when it is asked
            worker.stdin.write(json.dumps(first).encode("ascii") + b"\n")
        return worker

    def _stop(self) -> None:
        self._ending()
        self._worker = None


def _end(worker: "subprocess.Popen[bytes]", owner: int) -> None:
    """Kill a worker and close what leads to it; the child of a fork leaves it alone."""
    if os.getpid() != owner:
        return
    worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        assert stream
        with contextlib.suppress(OSError):  # what it was still to be told
            stream.close()
