"""What is typed at a prompt, and Ctrl-C: at the prompt it is raised, elsewhere only noted."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

QUOTES = '"""'


class Prompt:
    """Reads texts of one line or many while it is entered, and minds Ctrl-C.

    A KeyboardInterrupt that comes anywhere may leave a lock or a template's process half way, so
    a first Ctrl-C during an answer is noted in `interrupted`, for the answer to look at between
    its pieces, until the next prompt; a second one is raised.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._reading = False
        self._before: Any = None

    def __enter__(self) -> Self:
        # Only the main thread may handle signals; elsewhere Ctrl-C does not arrive.
        if threading.current_thread() is threading.main_thread():
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

    def read(self) -> str | None:
        """What the user types; None at the end of input.

        Ctrl-C forgets the line; a second one right after it leaves the program.
        """
        try:
            return self._text()
        except KeyboardInterrupt:
            print("\n(Ctrl-C again or Ctrl-D leaves)")
            return self._text()

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
        if self._reading or self.interrupted:
            self._reading = False
            raise KeyboardInterrupt
        self.interrupted = True
