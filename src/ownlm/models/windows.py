"""Sliding windows as config.json writes them: one length, and which layers have it."""

from collections.abc import Sequence
from dataclasses import replace

from ownlm.models.family import Architecture
from ownlm.models.hf_config import Reader

_SLIDES = {"sliding_attention": True, "full_attention": False}


def with_windows(a: Architecture, windows: Sequence[int]) -> Architecture:
    """The same architecture, its layers seeing so many tokens (0: all), in turn.

    Kinds of layers that were set before keep what else they say.
    """
    kinds = tuple(
        replace(a.stack.kind(layer), window=window) for layer, window in enumerate(windows)
    )
    return replace(a, stack=replace(a.stack, kinds=kinds))


def read_window(h: Reader, default: int) -> int:
    """The length of the window: null says none (0), an absent key says `default`."""
    if "sliding_window" in h.values and not h.has("sliding_window"):
        return 0
    return h.integer("sliding_window", "positions", default) if default else _given(h)


def _given(h: Reader) -> int:
    return h.integer("sliding_window", "positions") if h.has("sliding_window") else 0


def read_layers(h: Reader, usual: Sequence[bool]) -> tuple[bool, ...]:
    """Which layers slide: `layer_types`, or `usual` where the key is absent."""
    types = h.values.get("layer_types")
    if types is None:
        return tuple(usual)
    if not isinstance(types, list) or len(types) != len(usual):
        raise h.fault("layer_types", f"expected a list of {len(usual)} names")
    if unknown := [kind for kind in types if not isinstance(kind, str) or kind not in _SLIDES]:
        raise h.fault("layer_types", f"{unknown[0]!r:.80} is not supported; known: {[*_SLIDES]}")
    return tuple(_SLIDES[kind] for kind in types)


def all_but_every(every: int, layers: int) -> list[bool]:
    """True for all layers but each `every`th."""
    return [bool((layer + 1) % every) for layer in range(layers)]


def written_layers(slides: Sequence[bool]) -> list[str]:
    """The same as `layer_types`."""
    names = {slide: name for name, slide in _SLIDES.items()}
    return [names[slide] for slide in slides]
