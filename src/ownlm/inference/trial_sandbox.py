"""Constraints of strangers are compiled here first, in a process of its own that can be killed.

    python trial_sandbox.py    reads the vocabulary and the limits as the first line of standard
                               input, answers it with "" when it is ready, and each further line,
                               a grammar, with "" or with why it is none

Stands alone: nothing of ownlm is imported, so the process starts quickly.
"""

import json
import math
import signal
import sys
from typing import Any

import llguidance


class Vocabulary:
    """Tokens as llguidance asks for them."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.eos_token_id, self.bos_token_id = told["eos"], told["bos"]
        self.special_token_ids = told["special"]
        self.tokens = [token.encode("latin-1") for token in told["tokens"]]
        self._ids = {token: id for id, token in enumerate(self.tokens)}

    def __call__(self, text: bytes | str) -> list[int]:
        """Byte by byte: how a text is cut is no matter here."""
        data = text if isinstance(text, bytes) else text.encode()
        found = [self._ids.get(bytes([byte])) for byte in data]
        return [id for id in found if id is not None]


def limit_memory(size: int) -> None:
    """Let the system refuse so many bytes more than are in use; a no-op where it cannot."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    lower(resource.RLIMIT_AS, used + size)


def limit_time(seconds: float) -> None:
    """Let the system end this process after so many seconds of work."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds))


def lower(kind: int, most: int) -> None:
    """A limit of this process."""
    import resource

    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def tried(tokens: Any, grammar: str, limits: Any) -> str:
    """ "", or why nothing can be written after it."""
    matcher = llguidance.LLMatcher(tokens, grammar, log_level=0, limits=limits)
    if not matcher.is_error():
        matcher.compute_bitmask()
    return str(matcher.get_error()) if matcher.is_error() else ""


def main() -> None:
    """Answer the lines of standard input until it ends. Ctrl-C is for who asks, not for this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = json.loads(sys.stdin.readline())
    wrapper = llguidance.TokenizerWrapper(Vocabulary(told))
    tokens = llguidance.LLTokenizer(wrapper, n_vocab=len(told["tokens"]))
    limits = llguidance.LLParserLimits(**told["limits"])
    limit_memory(told["bytes"])
    answer(tried(tokens, llguidance.LLMatcher.grammar_from_regex("a"), limits))
    for line in sys.stdin:
        limit_time(told["seconds"])
        answer(tried(tokens, json.loads(line), limits))


def answer(fault: str) -> None:
    """One line."""
    sys.stdout.write(json.dumps(fault) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
