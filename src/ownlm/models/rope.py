"""Rotary positions as config.json writes them: `rope_parameters` now, `rope_scaling` before."""

import math
from collections.abc import Mapping

from ownlm.models.hf_config import Reader
from ownlm.nn.config import RopeConfig, RopeScaling


def read_rope(h: Reader, context: int, theta: float = 10_000.0) -> RopeConfig:
    """The rotary positions of a model whose config.json is `h`."""
    key = "rope_parameters" if h.has("rope_parameters") else "rope_scaling"
    section = h.section(key)
    outer = h.number("rope_theta", 1, 1e12, theta)
    return RopeConfig(
        theta=section.number("rope_theta", 1, 1e12, outer),
        share=section.number("partial_rotary_factor", 0, 1, 1.0),
        scaling=_scaling(section, context),
    )


def read_ropes(
    h: Reader, context: int, kinds: Mapping[str, tuple[str, float]]
) -> dict[str, RopeConfig]:
    """The same of models whose kinds of layers rotate differently.

    `kinds` holds each kind's name in `rope_parameters`, what older files call the base of its
    wavelengths, and what that usually is.
    """
    sections = h.section("rope_parameters")
    return {
        kind: read_rope(
            Reader({"rope_parameters": sections.section(kind).values}, f"{h.where}: {kind}"),
            context,
            h.number(key, 1, 1e12, theta),
        )
        for kind, (key, theta) in kinds.items()
    }


def _scaling(section: Reader, context: int) -> RopeScaling | None:
    key = "rope_type" if section.has("rope_type") else "type"
    kinds = {
        "default": None,
        "linear": _linear,
        "llama3": _llama3,
        "yarn": _yarn,
        "longrope": _longrope,
        "su": _longrope,
    }
    read = section.choice(key, kinds, "default")
    scaling: RopeScaling | None = read(section, context) if read else None
    return scaling


def _linear(section: Reader, context: int) -> RopeScaling:
    return RopeScaling(kind="linear", factor=section.number("factor", 1, 1e6))


def _llama3(section: Reader, context: int) -> RopeScaling:
    return RopeScaling(
        kind="llama3",
        factor=section.number("factor", 1, 1e6),
        original=section.integer("original_max_position_embeddings", "positions"),
        low=section.number("low_freq_factor", 1e-6, 1e6),
        high=section.number("high_freq_factor", 1e-6, 1e6),
    )


def _yarn(section: Reader, context: int) -> RopeScaling:
    """`mscale` pairs belong to DeepSeek; alone, the factor decides the amplitude."""
    original = section.integer("original_max_position_embeddings", "positions", context)
    factor = section.number("factor", 1, 1e6, context / original)
    section.require({"mscale": (None, 1, 0), "mscale_all_dim": (None, 1, 0)})
    return RopeScaling(
        kind="yarn",
        factor=factor,
        original=original,
        fast=section.number("beta_fast", 1e-6, 1e6, 32.0),
        slow=section.number("beta_slow", 1e-6, 1e6, 1.0),
        amplitude=section.number("attention_factor", 0, 100, 0.1 * math.log(factor) + 1.0),
        rounded=section.flag("truncate", True),
    )


def _longrope(section: Reader, context: int) -> RopeScaling:
    """Without an amplitude the paper's: sqrt(1 + ln factor / ln original)."""
    original = section.integer("original_max_position_embeddings", "positions", context)
    factor = section.number("factor", 1e-6, 1e6, context / original)
    usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return RopeScaling(
        kind="longrope",
        factor=factor,
        original=original,
        amplitude=section.number("attention_factor", 0, 100, usual),
        short_factors=_numbers(section, "short_factor"),
        long_factors=_numbers(section, "long_factor"),
    )


def _numbers(section: Reader, key: str) -> tuple[float, ...]:
    values = section.values.get(key)
    if not isinstance(values, list) or not 0 < len(values) <= 65_536:
        raise section.fault(key, f"expected a list of numbers, found {values!r:.80}")
    each = (Reader({key: value}, section.where).number(key, 1e-6, 1e9) for value in values)
    return tuple(each)
