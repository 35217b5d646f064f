"""Series out of a log, and what is drawn of them."""

import builtins
import sys
from typing import Any

import pytest

from ownlm.errors import ConfigError
from ownlm.evaluation.curves import Panel, Series, panels, series, smoothed, svg, usual_range


def test_a_series_holds_finite_numbers_only() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": None},
        {"step": 3, "validation_loss": 2.0},
        {"step": 4, "loss": "3"},
        {"step": 5, "loss": float("nan")},
        {"step": 6, "loss": True},
        {"loss": 1.0},
        {"step": 8, "loss": 2},
    ]
    assert series(rows, "loss") == Series([1, 8], [3.0, 2.0])


def test_smoothing_follows_a_fall_and_levels_noise() -> None:
    steps = list(range(400))
    falling = Series(steps, [100.0 * 0.97**s for s in steps])
    follows = smoothed(falling).values
    assert follows[0] == 100.0
    assert all(s < 1.6 * v + 0.5 for s, v in zip(follows, falling.values, strict=True))
    noisy = smoothed(Series(steps, [5.0 + (-1) ** s for s in steps])).values
    assert max(abs(v - 5) for v in noisy[200:]) < 0.2


def test_thinning_keeps_the_last_point_and_short_series() -> None:
    long = Series(list(range(10_001)), [float(n) for n in range(10_001)])
    thin = long.thinned(100)
    assert len(thin.steps) <= 101 and thin.steps[-1] == 10_000 and thin.steps[0] == 0
    assert Series([1, 2], [3.0, 4.0]).thinned(100) == Series([1, 2], [3.0, 4.0])
    assert Series([], []).thinned() == Series([], [])


def test_panels_without_values_are_left_out() -> None:
    rows = [{"step": s, "loss": 1.0, "lr": 0.1} for s in range(3)]
    assert [p.title for p in panels(rows)] == ["Loss", "Learning rate"]
    assert [name for name, _ in panels(rows)[0].curves] == ["train", "smoothed"]
    assert panels([]) == []


def test_a_wild_value_does_not_flatten_the_rest() -> None:
    level = [1.0 + 0.01 * (n % 10) for n in range(200)]
    spiked = usual_range([*level, 1000.0])
    assert spiked is not None and spiked[1] < 2
    slow = usual_range([*level, -1000.0])
    assert slow is not None and slow[0] > 0
    whole = usual_range([float(n) for n in range(200)])
    assert whole is not None and whole[0] < 0 and whole[1] > 199
    assert usual_range([1.0, 1000.0]) is None and usual_range([1.0] * 100) is None


def test_svg_repeats_byte_by_byte_and_asks_for_nothing_outside() -> None:
    panel = Panel("Loss", "nats", [("train", Series([1, 2, 3], [3.0, 2.0, 1.5]))])
    drawn = svg(panel)
    assert drawn == svg(panel)
    assert drawn.startswith(b"<?xml") and b"<script" not in drawn
    for word in (b'href="http', b"url(http", b"@import", b"font-face"):
        assert word not in drawn


def test_without_matplotlib_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    for name in [n for n in sys.modules if n.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"ownlm\[report\]"):
        svg(Panel("Loss", "", [("train", Series([1], [1.0]))]))
