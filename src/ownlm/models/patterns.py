"""Sparse attention for any family: what a user chooses, how config.json keeps it.

window       a token sees the last ones, or those near it      GPT-3, Mistral
strided      near ones, and every so-manyth                    Child et al. 2019, arXiv:1904.10509
fixed        its block, and the ends of all blocks             the same, section 4.2
longformer   near ones; the first see and are seen by all      Beltagy et al. 2020, arXiv:2004.05150
bigbird      blocks: near, the first and last, some at random  Zaheer et al. 2020, arXiv:2007.14062

A `model_type` of such a folder begins with "sparse-": a reader that does not know patterns
refuses it instead of attending to everything.
"""

import math
from dataclasses import replace
from typing import Any

from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family
from ownlm.models.hf_config import Reader
from ownlm.models.windows import with_windows
from ownlm.nn.config import PatternConfig, StackConfig

PREFIX = "sparse-"
KINDS = {name: name for name in ("window", "strided", "fixed", "longformer", "bigbird")}
CHOICES = {
    "pattern_size": tuple(KINDS),
    "pattern_globals": ("fixed", "longformer"),
    "pattern_random": ("bigbird",),
}
"""Numbers of ModelConfig and the kinds that have them."""


def with_pattern_written(values: dict[str, Any], c: ModelConfig) -> dict[str, Any]:
    """A new model's config.json with its pattern, numbers that were left open filled in."""
    for name, kinds in CHOICES.items():
        if getattr(c, name) and c.pattern not in kinds:
            raise ConfigError(
                f"pattern {c.pattern!r} has no choice of {name.removeprefix('pattern_')}",
                where=f"model.{name}",
                next_command=f"choose model.pattern among {', '.join(kinds)}",
            )
    if not c.pattern:
        return values
    pattern: dict[str, Any] = {"kind": c.pattern}
    pattern["size"] = c.pattern_size or usual_size(c.pattern, c.context)
    if c.pattern in CHOICES["pattern_globals"]:
        pattern["globals"] = c.pattern_globals or max(1, pattern["size"] // 16)
    if c.pattern in CHOICES["pattern_random"]:
        pattern["random"] = c.pattern_random or 3
    own = (values.get("ownlm") or {}) | {"pattern": pattern}
    return values | {"model_type": PREFIX + values["model_type"], "ownlm": own}


def usual_size(kind: str, context: int) -> int:
    """Where two steps reach everything, the root of the context (Child et al.); else more."""
    if kind in ("strided", "fixed"):
        return max(2, round(math.sqrt(context)))
    return max(2, context // (16 if kind == "bigbird" else 8))


def architecture_of(
    family: Family, values: dict[str, Any], where: str = "config.json"
) -> Architecture:
    """The architecture that a config.json describes, its pattern included."""
    h = Reader(values, where)
    a, pattern = family.from_hf(h), h.section("ownlm").section("pattern")
    if not pattern.values:
        if str(values.get("model_type")).startswith(PREFIX):
            raise h.fault("ownlm", "the pattern that model_type promises is missing")
        return a
    if a.encoder is not None:  # as in LED and BigBird-Pegasus the decoder sees everything
        return replace(a, encoder=with_pattern(a, a.encoder, pattern))
    return replace(a, stack=with_pattern(a, a.stack, pattern))


def with_pattern(a: Architecture, stack: StackConfig, h: Reader) -> StackConfig:
    """The stack with every layer's sight replaced by the pattern in config.json."""
    kind, size = h.choice("kind", KINDS), h.integer("size", "positions")
    layers = range(stack.layers)
    if kind == "window":
        return with_windows(replace(a, stack=stack), [size for _ in layers]).stack
    made = _MAKE[kind](h, size)
    if stack.causal:
        made = replace(made, last=0)
    kinds = tuple(
        replace(stack.kind(layer), window=0, pattern=replace(made, seed=layer * bool(made.random)))
        for layer in layers
    )
    return replace(stack, kinds=kinds)


def _strided(h: Reader, size: int) -> PatternConfig:
    return PatternConfig(near=size, stride=size)


def _fixed(h: Reader, size: int) -> PatternConfig:
    summary = h.integer("globals", "positions")
    if summary > size:
        raise h.fault("globals", f"{summary} are more than a block of {size} has")
    return PatternConfig(block=size, summary=summary)


def _longformer(h: Reader, size: int) -> PatternConfig:
    return PatternConfig(near=size - 1, first=h.integer("globals", "positions"))


def _bigbird(h: Reader, size: int) -> PatternConfig:
    return PatternConfig(block=size, near=1, first=1, last=1, random=h.integer("random", "heads"))


_MAKE = {"strided": _strided, "fixed": _fixed, "longformer": _longformer, "bigbird": _bigbird}
