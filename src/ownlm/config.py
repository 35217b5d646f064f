"""Configurations: frozen, complete, and strict about unknown keys.

A recipe is a function that returns one of these; a YAML file and the command line override
single fields. The string under a field is its documentation and its help text.
"""

import difflib
import reprlib
from pathlib import Path
from typing import Any, Self, get_args, get_origin

import pydantic
import yaml

from ownlm.errors import ConfigError


class Config(pydantic.BaseModel):
    """Base of every configuration: immutable, unknown keys refused, fields documented in place."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    def with_values(self, values: dict[str, Any], source: str = "override") -> Self:
        """A copy with nested `values` laid over this one, checked as if written in full.

        >>> run.with_values({"model": {"layers": 6}})

        Raises ConfigError that names `source`, the key, and the nearest key that exists.
        """
        return type(self).parse(_merge(self.model_dump(), values), source)

    @classmethod
    def parse(cls, values: dict[str, Any], source: str = "configuration") -> Self:
        """Check `values` and build the configuration; ConfigError lists every fault at once."""
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            if own := own_refusal(error):
                where = f"{source}: {own.where}" if own.where else source
                raise ConfigError(own.what, where=where, next_command=own.next_command) from None
            faults = [_explain(cls, fault) for fault in error.errors()]
            raise ConfigError(
                "; ".join(faults),
                where=source,
                next_command="mend this; --help lists every key and what it takes",
            ) from None

    def to_yaml(self) -> str:
        """The complete configuration as YAML, in the order of the fields."""
        return yaml.safe_dump(
            self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
        )

    def differences(self, other: "Config") -> list[tuple[str, Any, Any]]:
        """Dotted keys whose values differ: (key, here, there)."""
        here, there = flatten(self.model_dump(mode="json")), flatten(other.model_dump(mode="json"))
        keys = list(here) + [k for k in there if k not in here]
        return [(k, here.get(k), there.get(k)) for k in keys if here.get(k) != there.get(k)]


def own_refusal(error: pydantic.ValidationError) -> ConfigError | None:
    """The ConfigError that a validator of ours raised, which pydantic has wrapped."""
    raised = (fault.get("ctx", {}).get("error") for fault in error.errors())
    return next((found for found in raised if isinstance(found, ConfigError)), None)


class _Yaml(yaml.SafeLoader):
    """YAML with the booleans of version 1.2: `off` is a word (train.compile), not False."""


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if first in "tTfF" or not tag.endswith(":bool")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from disk; ConfigError names the line that cannot be read."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Yaml)
    except FileNotFoundError:
        raise _unread("no such configuration file", path) from None
    except UnicodeDecodeError as error:
        raise _unread(f"not UTF-8 text: {error.reason}", f"{path}:{error.start}") from None
    except OSError as error:
        raise _unread(f"cannot be read: {error.strerror}", path) from None
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        problem = getattr(error, "problem", None) or str(error)
        raise _unread(f"not YAML: {problem}", f"{path}:{line}") from None
    except RecursionError:
        raise _unread("nested too deeply", path) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise _unread("expected a mapping of keys to values", path)
    return values


def _unread(what: str, where: Path | str) -> ConfigError:
    return ConfigError(
        what,
        where=str(where),
        next_command="name a YAML file such as the recipe.yaml of a run",
    )


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def nearest(word: str, known: list[str]) -> str:
    """The known word that `word` begins, else the one most like it; empty when none is near."""
    if begun := [name for name in known if len(word) > 2 and name.startswith(word)]:
        return min(begun, key=len)
    close = difflib.get_close_matches(word, known, n=1)
    return close[0] if close else ""


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80
"""A few lines of YAML aliases can stand for a gigabyte of text."""


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def _explain(cls: type[pydantic.BaseModel], fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    dotted = ".".join(path)
    named = ".".join(part for part in path if not part.isdecimal())  # without places in a list
    if fault["type"] != "extra_forbidden":
        what = fault["msg"].lower()
        if fault["type"] == "model_type":
            what = "expected a section of keys and values"
        return f"{dotted}: {what} (got {_SHORT.repr(fault['input'])})"
    known = _keys(cls)
    # A key may be right but in the wrong section: compare its last part as well as the whole.
    guess = nearest(named, known) or nearest(path[-1], [k.split(".")[-1] for k in known])
    guess = next((k for k in known if k == guess or k.endswith("." + guess)), "") if guess else ""
    return f"unknown key {dotted}" + (f", nearest is {guess}" if guess else "")


def _keys(cls: type[pydantic.BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in cls.model_fields.items():
        kind = field.annotation
        if get_origin(kind) in (tuple, list):  # of sections, such as the tasks of a mixture
            kind = get_args(kind)[0]
        keys.append(prefix + name)
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            keys += _keys(kind, f"{prefix}{name}.")
    return keys
