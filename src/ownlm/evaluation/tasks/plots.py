"""Plots of a judgement, each drawn on the axes it is given. Labels may be of any script."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ownlm.evaluation.curves import BLUE, GREY, ORANGE, dress
from ownlm.evaluation.tasks.figures import Figure, Floats
from ownlm.evaluation.tasks.judgement import (
    MEASURES,
    Calibration,
    ClassFigures,
    Confusion,
    Judgement,
    Outcomes,
)

MOST_LABELS = 20
"""Labels that a plot has room for: the most frequent ones, or the most confused."""
LENGTHS = 8
"""Groups of texts of like length."""
Draw = Callable[[Any], None]


class Plot(NamedTuple):
    """A title, what draws it, and its size in inches."""

    title: str
    draw: Draw
    size: tuple[float, float] = (5.2, 3.0)


def plots(judgement: Judgement) -> list[Plot]:
    """All that say something about where this judgement comes from."""
    found = []
    if judgement.confusion is not None:
        found.append(heat_map(judgement.confusion))
    if judgement.classes:
        found.append(class_bars(judgement.classes))
    if judgement.calibration is not None:
        found.append(reliability(judgement.calibration))
    if (outcomes := judgement.outcomes) is not None:
        if outcomes.expected is not None and outcomes.predicted is not None:
            found.append(scatter(outcomes.expected, outcomes.predicted))
        found.append(by_length(outcomes))
    return found


def comparison(name: str, judgements: Mapping[str, Judgement]) -> Plot:
    """One figure of each as a bar with its interval, that of the first in colour."""
    having = {title: one for title, one in judgements.items() if name in one.figures}
    found = {short(title, 40): one.figures[name] for title, one in having.items()}
    percent = MEASURES[name].percent

    def draw(axes: Any) -> None:
        _bars(axes, found, 100 if percent else 1)
        axes.containers[0][0].set_color(BLUE)
        dress(axes, MEASURES[name].title + (", %" if percent else ""), "")
        axes.grid(visible=False, axis="y")

    title = f"{MEASURES[name].title}, with 95 % intervals"
    return Plot(title, draw, (10.6, 0.75 + 0.34 * len(found)))


def class_bars(classes: Mapping[str, ClassFigures]) -> Plot:
    """F1 of the most frequent labels, with intervals."""
    most = sorted(classes, key=lambda label: -classes[label].support)[:MOST_LABELS]
    found = {f"{short(label)} ({classes[label].support:,})": classes[label].f1 for label in most}

    def draw(axes: Any) -> None:
        _bars(axes, found, 100)
        for bar in axes.containers[0]:
            bar.set_color(BLUE)
        axes.set_xlim(0, 100)
        dress(axes, "F1, %", "")
        axes.grid(visible=False, axis="y")

    return Plot("F1 by label (how many)", draw, (5.2, 0.9 + 0.3 * max(3, len(found))))


def heat_map(confusion: Confusion) -> Plot:
    """What each label was taken for, in shares of its row."""
    kept, matrix = _largest(confusion)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def draw(axes: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap, to_rgba

        clear, full = to_rgba(BLUE, 0.04), to_rgba(BLUE, 1.0)
        colours = LinearSegmentedColormap.from_list("blue", [clear, full])
        axes.pcolormesh(shares, cmap=colours, vmin=0, vmax=1, edgecolors=(0.5, 0.5, 0.5, 0.15))
        places, names = np.arange(len(kept)) + 0.5, [short(one) for one in kept]
        turned = len(kept) > 5 or max(map(len, names)) > 8
        axes.set_xticks(
            places, names, rotation=60 if turned else 0, ha="right" if turned else "center"
        )
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        if len(kept) <= 12:
            for (row, column), times in np.ndenumerate(matrix):
                colour = "white" if shares[row, column] > 0.55 else GREY
                axes.text(column + 0.5, row + 0.5, f"{times:,.0f}", ha="center", va="center",
                          color=colour, fontsize=9 if len(kept) < 7 else 7)  # fmt: skip
        dress(axes, "predicted", "right")
        axes.grid(visible=False)
        axes.tick_params(length=0)

    side = 1.6 + 0.3 * min(max(len(kept), 5), 14)
    left = " (the most confused labels)" if len(kept) < len(confusion.labels) else ""
    return Plot(f"What was taken for what{left}", draw, (5.2, side))


def reliability(found: Calibration) -> Plot:
    """How often decisions of each confidence are right; on the line, confidence is deserved."""

    def draw(axes: Any) -> None:
        total = sum(one.decisions for one in found.bins)
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle="--")
        axes.bar(
            [50 * (one.low + one.high) for one in found.bins],
            [100 * one.accuracy for one in found.bins],
            width=[100 * (one.high - one.low) * 0.92 for one in found.bins],
            color=BLUE,
            alpha=0.35,
        )
        axes.scatter(
            [100 * one.confidence for one in found.bins],
            [100 * one.accuracy for one in found.bins],
            s=[18 + 160 * one.decisions / total for one in found.bins],
            color=ORANGE,
            alpha=0.85,
            zorder=3,
        )
        axes.set_xlim(0, 102)
        axes.set_ylim(0, 106)
        dress(axes, "confidence, %", "right, %")

    return Plot(f"Reliability (expected calibration error {100 * found.error:.2f} %)", draw)


def scatter(expected: Floats, predicted: Floats) -> Plot:
    """Predicted numbers over the true ones."""

    def draw(axes: Any) -> None:
        ends = [min(expected.min(), predicted.min()), max(expected.max(), predicted.max())]
        axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
        every = max(1, len(expected) // 2_000)
        alpha = 0.5 if len(expected) < 500 else 0.25
        axes.scatter(expected[::every], predicted[::every], s=9, color=BLUE, alpha=alpha, lw=0)
        dress(axes, "true", "predicted")

    return Plot("Predicted over true", draw, (5.2, 3.6))


def by_length(outcomes: Outcomes) -> Plot:
    """How right texts of like length are, with the interval of a mean."""
    order = np.argsort(outcomes.lengths, kind="stable")
    parts = [part for part in np.array_split(order, min(LENGTHS, len(order))) if part.size]
    x = [float(np.median(outcomes.lengths[part])) for part in parts]
    y = [float(outcomes.quality[part].mean()) for part in parts]
    error = [1.96 * float(outcomes.quality[part].std()) / np.sqrt(part.size) for part in parts]

    def draw(axes: Any) -> None:
        axes.errorbar(x, y, yerr=error, color=BLUE, marker="o", markersize=4, capsize=2, lw=1.4,
                      elinewidth=0.9)  # fmt: skip
        if outcomes.expected is None:
            axes.set_ylim(min(0.0, *y), 1.04)
        if min(x) > 0 and max(x) > 20 * min(x):
            axes.set_xscale("log")
        dress(axes, outcomes.length_of, outcomes.quality_of)

    return Plot("By length", draw)


def short(label: str, most: int = 18) -> str:
    """A label that fits beside an axis, in one line; '$' is no mathematics.

    What cannot be printed (controls, halves of characters) would stop the drawing.
    """
    flat = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(label.split()))
    return (flat if len(flat) <= most else f"{flat[: most - 1]}…").replace("$", r"\$")


def _bars(axes: Any, figures: Mapping[str, Figure], scale: float) -> None:
    """Bars from the left, the first on top, the interval as a line, the value at its end."""
    places = np.arange(len(figures))
    values = scale * np.nan_to_num(np.array([one.value for one in figures.values()]))
    low = scale * np.array([one.low for one in figures.values()])
    high = scale * np.array([one.high for one in figures.values()])
    errors = np.nan_to_num(np.maximum(0, [values - low, high - values]))
    axes.barh(places, values, height=0.62, color=GREY, alpha=0.75)
    axes.errorbar(values, places, xerr=errors, fmt="none", ecolor=ORANGE, elinewidth=1.4, capsize=2)
    axes.set_yticks(places, list(figures))
    axes.set_ylim(len(figures) - 0.5, -0.5)


def _largest(confusion: Confusion) -> tuple[list[str], Floats]:
    """Labels and counts, of too many labels those that take part in most confusions."""
    counts = confusion.counts.astype(np.float64)
    if len(confusion.labels) <= MOST_LABELS:
        return list(confusion.labels), counts
    astray = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    kept = np.sort(np.argsort(-astray, kind="stable")[:MOST_LABELS])
    return [confusion.labels[at] for at in kept], counts[np.ix_(kept, kept)]
