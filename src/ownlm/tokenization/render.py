"""Rendering a chat template in a worker process, within limits of time, memory and length."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ownlm.errors import DataError
from ownlm.worker import Ended, Worker

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
        self._limits = limits or Limits()
        self._worker = Worker(_SCRIPT, {"source": source} | self._limits._asdict())

    def __call__(self, jobs: Sequence[Mapping[str, Any]], now: datetime.datetime) -> list[Rendered]:
        """The rendering of each set of variables; `now` is the time that templates are told.

        DataError when the template takes more than its limits; what it refuses itself, and
        faults such as an attribute that it may not read, are told with each rendering.
        """
        found: list[Rendered] = []
        for first in range(0, len(jobs), _AT_ONCE):
            request = {"now": now.isoformat(), "jobs": list(jobs[first : first + _AT_ONCE])}
            found += [
                Rendered(said) if kind == "text" else Rendered("", said)
                for kind, said in self._ask(request)
            ]
        return found

    def _ask(self, request: Mapping[str, Any]) -> list[list[str]]:
        try:
            answers: list[list[str]] = self._worker.ask(request, self._limits.seconds)
        except Ended as ended:
            time = f"more than {self._limits.seconds:g} seconds"
            raise DataError(
                f"the template takes {time if ended.late else 'too much memory or time'}",
                where="chat_template",
                next_command="use another template: this one may have been made to do harm",
            ) from None
        return answers
