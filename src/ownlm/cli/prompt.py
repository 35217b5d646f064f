"""What is typed at a prompt, and Ctrl-C: at the prompt it is raised, elsewhere only noted."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

QUOTES = '"""'
SOON = 2.0
"""Seconds between two Ctrl-C that are meant to leave; one that clears a line comes later."""


class Prompt:
    """Reads texts of one line or many while it is entered, and minds Ctrl-C.

    A KeyboardInterrupt that comes anywhere may leave a lock or a template's process half way, so
    Ctrl-C is noted in `interrupted` until the next prompt, for an answer to look at between its
    pieces; only a second one during an answer is raised.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._reading = self._answering = False
        self._before: Any = None

    def __enter__(self) -> Self:
        # Only the main thread may handle signals. A script's job is told to ignore Ctrl-C, and does
        # unless someone sits at its keyboard.
        told = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        ignored = told and not sys.stdin.isatty()
        if threading.current_thread() is threading.main_thread() and not ignored:
            self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Inside, a Ctrl-C that follows a noted one is raised."""
        self._answering = True
        try:
            yield
        finally:
            self._answering = False

    def read(self) -> str | None:
        """What the user types; None at the end of input.

        Ctrl-C forgets the line; a second one within SOON of it leaves the program.
        """
        before = -SOON
        while True:
            try:
                return self._text()
            except KeyboardInterrupt:
                now = time.monotonic()
                if now - before < SOON:
                    raise
                before = now
                print("\n(Ctrl-C again or Ctrl-D leaves)")
                if self.interrupted:  # pressed while that was printed
                    raise

    def _text(self) -> str | None:
        line = self._line("> ")
        if line is None:
            return None
        if line.startswith(QUOTES):
            return self._quoted(line.removeprefix(QUOTES))
        while line.endswith("\\"):
            more = self._line("... ")
            line = line[:-1] + ("" if more is None else f"\n{more}")
        return line

    def _quoted(self, first: str) -> str:
        """A text up to the closing quotes, or to the end of input."""
        lines, line = [], first
        while not line.rstrip().endswith(QUOTES):
            lines.append(line)
            more = self._line("... ")
            if more is None:
                break
            line = more
        else:
            lines.append(line.rstrip().removesuffix(QUOTES))
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str | None:
        self.interrupted, self._reading = False, True
        try:
            line = input(prompt).encode("utf-8", "surrogateescape")
        except EOFError:
            print()
            return None
        finally:
            self._reading = False
        return line.decode("utf-8", "replace")  # a byte that is no UTF-8 ends no conversation

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self._reading or (self._answering and self.interrupted):
            self._reading = self._answering = False
            raise KeyboardInterrupt
        self.interrupted = True
