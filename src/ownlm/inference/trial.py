"""Constraints of strangers, compiled in a process of their own before the server compiles them.

llguidance bounds what a grammar may hold and what following it may take, but not the time until
it knows: a schema of a few kilobytes can keep it busy for minutes, and a thread cannot be killed.
"""

import hashlib
import threading
from pathlib import Path
from typing import Any

from ownlm.inference.constraint import LIMITS, Grammars, grammar_of, refused
from ownlm.inference.request import Constraint
from ownlm.worker import Ended, Worker

SECONDS = 2.0
"""Of work; large schemas of good will take a tenth of one."""
PATIENCE = 10.0
"""By the clock as many times, since the machine may be busy."""
START = 120.0
"""Seconds in which the process must be ready; with 150,000 tokens it is in about two."""
BYTES = 512 << 20
"""Of memory, where the system can limit it."""
KEPT = 1024
"""Constraints that are known to compile."""
_SCRIPT = Path(__file__).with_name("trial_sandbox.py")


class Trial:
    """Refuses what compiles to nothing or takes too long. Safe to share between threads, which
    come one after the other."""

    def __init__(self, grammars: Grammars, seconds: float = SECONDS) -> None:
        self._grammars, self._seconds = grammars, seconds
        self._worker: Worker | None = None
        self._passed: dict[bytes, None] = {}
        self._lock = threading.Lock()

    def __call__(self, constraint: Constraint) -> None:
        """ConfigError for a constraint that is none, or too large."""
        grammar = grammar_of(constraint)
        key = hashlib.sha256(grammar.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            if key in self._passed:
                return
            if fault := self._tried(constraint, grammar):
                raise refused(constraint, fault)
            self._passed[key] = None
            if len(self._passed) > KEPT:
                del self._passed[next(iter(self._passed))]

    def _tried(self, constraint: Constraint, grammar: str) -> str:
        if self._worker is None:
            self._worker = Worker(_SCRIPT, self._first(), greeting=START)
        try:
            return str(self._worker.ask(grammar, PATIENCE * self._seconds))
        except Ended:
            mb = BYTES >> 20
            what = f"takes more than {self._seconds:g} seconds, or {mb} MB, to compile"
            raise refused(constraint, what) from None

    def _first(self) -> dict[str, Any]:
        """What the process needs to know."""
        known = self._grammars.vocabulary
        return {
            "tokens": [token.decode("latin-1") for token in known.tokens],
            "special": known.special_token_ids,
            "eos": known.eos_token_id,
            "bos": known.bos_token_id,
            "limits": LIMITS,
            "bytes": BYTES,
            "seconds": self._seconds,
        }
