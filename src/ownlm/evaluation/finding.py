"""What a check of `ownlm doctor` found."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One property: what was measured, what is allowed, and whether it holds."""

    name: str
    measured: float | None
    """The difference, ratio or count; None where nothing could be measured."""
    allowed: float | None
    unit: str
    """What the number means."""
    passed: bool | None
    """None: does not apply to this configuration."""
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def at_most(name: str, measured: float, allowed: float, unit: str, detail: str = "") -> Finding:
    """A finding that passes when `measured` is a number not above `allowed`."""
    return Finding(name, measured, allowed, unit, bool(measured <= allowed), detail)


def not_applicable(name: str, why: str) -> Finding:
    """A finding of a check that makes no sense for this configuration."""
    return Finding(name, None, None, "", None, why)


def broke(name: str, error: Exception) -> Finding:
    """A finding of a check that could not be carried out, which counts as failed."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Finding(name, None, None, "", False, what)
