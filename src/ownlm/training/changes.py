"""What of a configuration may change when a run is resumed (one table), and the diff in words."""

import fnmatch
from typing import Any, Literal, NamedTuple

from ownlm.config import flatten
from ownlm.errors import ConfigError, DataError
from ownlm.log import say

Verdict = Literal["free", "asks", "never"]


class Rule(NamedTuple):
    """Keys, whether they may change, and what the change would mean."""

    keys: str
    verdict: Verdict
    means: str


class Change(NamedTuple):
    """One key whose value differs from the run's."""

    key: str
    before: Any
    now: Any
    rule: Rule

    def __str__(self) -> str:
        note = {"free": "", "asks": " (--allow-change: ", "never": " (impossible: "}
        tail = "" if self.rule.verdict == "free" else f"{note[self.rule.verdict]}{self.rule.means})"
        return f"{self.key}: {self.before} -> {self.now}{tail}"


# The first rule that matches a key decides.
# fmt: off
RULES = (
    Rule("recipe",               "free",  "a name"),
    Rule("out",                  "free",  "a place"),
    Rule("sample.*",             "free",  "no effect on the training"),
    Rule("data.*",               "free",  "the digest of the prepared data decides"),
    Rule("tokenizer.*",          "free",  "the digest of the tokenizer decides"),
    Rule("train.evaluate_every", "free",  "no effect on the training"),
    Rule("train.save_every",     "free",  "no effect on the training"),
    Rule("train.keep",           "free",  "no effect on the training"),
    Rule("train.log_every",      "free",  "no effect on the training"),
    Rule("train.sample_every",   "free",  "no effect on the training"),
    Rule("train.steps",          "asks",  "the learning rate follows another curve from here on"),
    Rule("train.batch",          "asks",  "the position in the data is counted in batches, so "
                                          "text is skipped or repeated"),
    Rule("train.seed",           "asks",  "another order of the data from here on"),
    Rule("train.micro_batch",    "asks",  "equal only to rounding from here on"),
    Rule("train.precision",      "asks",  "equal only to rounding from here on"),
    Rule("train.compile",        "asks",  "equal only to rounding from here on"),
    Rule("train.threads",        "asks",  "equal only to rounding from here on"),
    Rule("optimizer.kind",       "never", "its saved state is of another kind"),
    Rule("model.dropout",        "asks",  "another training from here on"),
    Rule("model.*",              "never", "the saved weights are of another model"),
    Rule("*",                    "asks",  "another training from here on"),
)
# fmt: on


def compare(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """Keys of two nested configurations whose values differ, each with the rule it falls under."""
    old, new = flatten(before), flatten(now)
    keys = list(old) + [key for key in new if key not in old]
    return [
        Change(key, old.get(key), new.get(key), rule_of(key))
        for key in keys
        if old.get(key) != new.get(key)
    ]


def rule_of(key: str) -> Rule:
    """The rule for a dotted key."""
    return next(rule for rule in RULES if fnmatch.fnmatchcase(key, rule.keys))


def check_changes(before: dict[str, Any], now: dict[str, Any], *, allow: bool) -> list[Change]:
    """Print what differs; ConfigError when something may not change, or only with `allow`."""
    changes = compare(before, now)
    if changes:
        say("\n".join(["changed since the run began:", *(f"  {change}" for change in changes)]))
    _refuse([c for c in changes if c.rule.verdict == "never"], "start another run with --out")
    if not allow:
        asking = [c for c in changes if c.rule.verdict == "asks"]
        _refuse(asking, "--allow-change to go on with the new values, or leave them as they were")
    return changes


def check_identity(before: dict[str, str], now: dict[str, str]) -> None:
    """DataError when the run was begun on other data or with another tokenizer; always refused."""
    other = [name for name in sorted(before.keys() | now) if before.get(name) != now.get(name)]
    if other:
        raise DataError(
            "; ".join(
                f"{name} is not what the run was begun with: digest "
                f"{now.get(name, 'none')[:16]}, expected {before.get(name, 'none')[:16]}"
                for name in other
            ),
            kept="the run, as it is",
            next_command="give the same data and tokenizer, or start another run with --out",
        )


def _refuse(changes: list[Change], next_command: str) -> None:
    if changes:
        raise ConfigError(
            "the run cannot go on with: " + "; ".join(map(str, changes)),
            kept="the run, as it is",
            next_command=next_command,
        )
