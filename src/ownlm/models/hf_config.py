"""Reading a config.json that anyone may have written: typed, bounded, refused by key.

Nothing is allocated before every number has passed its cap, and an option that would change
the result but is not supported is refused instead of overlooked.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ownlm.errors import CheckpointError

LIMITS = {
    "layers": 1_000,
    "heads": 1_024,
    "width": 1_048_576,
    "vocabulary": 16_777_216,
    "positions": 16_777_216,
}
LARGEST_CONFIG = 16 * 1024**2


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """config.json of a model folder; CheckpointError names the file and what is wrong."""
    path = folder / name
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise CheckpointError(f"larger than {LARGEST_CONFIG} bytes", where=str(path))
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            "missing, so this is no model folder",
            where=str(path),
            next_command="name a folder with config.json and model.safetensors, or a run folder",
        ) from None
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"not JSON: {error}", where=str(path)) from None
    if not isinstance(values, dict):
        raise CheckpointError("expected an object of keys and values", where=str(path))
    return values


class Reader:
    """Typed access to the keys of a config.json; every refusal names the key.

    `where` is the file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], where: str = "config.json") -> None:
        self.values, self.where = values, where

    def fault(self, key: str, what: str) -> CheckpointError:
        """The error to raise about one key."""
        return CheckpointError(f"{key}: {what}", where=self.where)

    def integer(self, key: str, kind: str, default: int | None = None) -> int:
        """A whole number from 1 to the limit of its kind (a key of LIMITS)."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fault(key, f"expected a whole number, found {value!r:.80}")
        if not 1 <= value <= LIMITS[kind]:
            raise self.fault(key, f"expected 1 to {LIMITS[kind]:,} ({kind}), found {value!r:.40}")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number in [low, high]."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(key, f"expected a number, found {value!r:.80}")
        if not low <= value <= high:  # also refuses NaN
            raise self.fault(key, f"expected {low:g} to {high:g}, found {value!r:.40}")
        return float(value)

    def even(self, key: str, kind: str, default: int | None = None) -> int:
        """The same for what is parted into pairs, as sines and cosines are."""
        value = self.integer(key, kind, default)
        if value % 2:
            raise self.fault(key, f"expected an even number, found {value}")
        return value

    def quotient(self, key: str, whole: int, parts: int) -> int:
        """whole / parts, as the width of a head; refused at `key` where something is left over."""
        if whole % parts:
            raise self.fault(key, f"{whole} is not a multiple of {parts}")
        return whole // parts

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, f"expected true or false, found {value!r:.80}")
        return value

    def choice(self, key: str, table: Mapping[str, Any], default: str | None = None) -> Any:
        """The entry of `table` under the value of `key`."""
        value = self._value(key, default)
        if not isinstance(value, str) or value not in table:
            raise self.fault(key, f"{value!r:.80} is not supported; known: {', '.join(table)}")
        return table[value]

    def section(self, key: str) -> "Reader":
        """A nested object; empty when absent or null."""
        value = self.values.get(key)
        if value is None:
            return Reader({}, f"{self.where}: {key}")
        if not isinstance(value, dict):
            raise self.fault(key, f"expected an object, found {value!r:.80}")
        return Reader(value, f"{self.where}: {key}")

    def require(self, expected: Mapping[str, Sequence[Any]]) -> None:
        """Refuse options that would change the result and are not supported here.

        >>> reader.require({"add_cross_attention": (False,)})   # absent keys pass
        """
        for key, allowed in expected.items():
            if key in self.values and self.values[key] not in allowed:
                shown = " or ".join(json.dumps(value) for value in allowed)
                raise self.fault(key, f"{self.values[key]!r:.80} is not supported, only {shown}")

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.fault(key, "missing")
        return value


ACTIVATION_NAMES = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
"""Names of activations in config.json and ours."""
