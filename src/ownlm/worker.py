"""A script in a process of its own that answers lines, and is killed when it takes too long.

What comes from strangers and may do harm by what it costs (chat templates, schemas) is tried
there: a thread can be stopped by nobody.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Ended(Exception):
    """The process gave no answer: it took too long (`late`), or died of something else."""

    def __init__(self, late: bool) -> None:
        super().__init__("took too long" if late else "died")
        self.late = late


class Worker:
    """Started when first asked, and again after it was killed.

    Safe to share between threads, one of which is answered at a time; a process forked from this
    one starts a worker of its own.
    """

    def __init__(self, script: Path, first: Mapping[str, Any], greeting: float = 0) -> None:
        """`first` is the line that the script reads first; with `greeting` it answers that line
        too, within so many seconds."""
        self._script, self._first, self._greeting = script, first, greeting
        self._lock, self._owner = threading.Lock(), 0
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, content: Any, seconds: float) -> Any:
        """The answer to a line. Raises Ended after so many seconds, and when there is none."""
        with self._lock:
            return self._exchange(self._started(), content, seconds)

    def _exchange(self, process: "subprocess.Popen[bytes]", content: Any, seconds: float) -> Any:
        assert process.stdin and process.stdout
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps(content).encode("ascii") + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        except BaseException:  # Ctrl-C: what it still answers is for no one
            self._stop()
            raise
        finally:
            timer.cancel()
        if not answer.endswith(b"\n"):
            self._stop()
            raise Ended(late.is_set())
        return json.loads(answer)

    def _started(self) -> "subprocess.Popen[bytes]":
        known = self._process
        if known is not None and self._owner == os.getpid() and known.poll() is None:
            return known
        self._owner = os.getpid()
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", str(self._script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # a Ctrl-C in the terminal is for its owner alone
        )
        self._ending = weakref.finalize(self, _end, process, self._owner)
        if self._greeting:
            self._exchange(process, self._first, self._greeting)
        else:
            assert process.stdin
            with contextlib.suppress(BrokenPipeError):  # noted when it is asked
                process.stdin.write(json.dumps(self._first).encode("ascii") + b"\n")
        return process

    def _stop(self) -> None:
        self._ending()
        self._process = None


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    """Kill a worker and close what leads to it; the child of a fork leaves it alone."""
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream
        with contextlib.suppress(OSError):  # what it was still to be told
            stream.close()
