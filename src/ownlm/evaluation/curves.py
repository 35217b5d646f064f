"""A run's log as curves: series of numbers, smoothed, and drawn as self-contained SVG."""

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ownlm.errors import ConfigError

Row = Mapping[str, Any]

MOST_POINTS = 1_500
"""Points drawn of one curve; longer ones are thinned, so that a report stays below 1 MB."""

BLUE, ORANGE, GREY = "#3f7fe8", "#e8743b", "#8a8f98"
"""Readable on white and on black: the plots' background is transparent."""


class Series(NamedTuple):
    """One curve: values (unit by its name) over optimizer steps, or what a panel's axis says."""

    steps: Sequence[float]
    values: list[float]

    def thinned(self, most: int = MOST_POINTS) -> "Series":
        """At most about `most` points, evenly spaced, the last one kept."""
        every = max(1, math.ceil(len(self.steps) / most))
        kept = list(range(0, len(self.steps), every))
        if kept and kept[-1] != len(self.steps) - 1:
            kept.append(len(self.steps) - 1)
        return Series([self.steps[i] for i in kept], [self.values[i] for i in kept])


class Panel(NamedTuple):
    """One plot: a title, the unit, and its curves (the fainter raw one first)."""

    title: str
    unit: str
    curves: list[tuple[str, Series]]
    axis: str = "step"
    alike: bool = False
    """All curves are of a kind, such as those of several runs, and get colours of their own."""


def series(rows: Sequence[Row], key: str) -> Series:
    """The finite values of `key` in a log, over its steps; rows without it are passed over."""
    found = [(int(row["step"]), row[key]) for row in rows if key in row and "step" in row]
    finite = [(s, float(v)) for s, v in found if _number(v) and math.isfinite(v)]
    return Series([s for s, _ in finite], [v for _, v in finite])


def smoothed(raw: Series, share: float = 0.03) -> Series:
    """An exponential mean over about `share` of the points, and over fewer near the start.

    There the loss falls fast: a wide mean would lag behind it. The window grows with a tenth
    of the points so far, so the first point is the first value itself.
    """
    widest, mean = share * len(raw.values), 0.0
    values = []
    for index, value in enumerate(raw.values):
        mean += (value - mean) / max(1.0, min(widest, 0.1 * index))
        values.append(mean)
    return Series(raw.steps, values)


def panels(rows: Sequence[Row]) -> list[Panel]:
    """The plots of a run, those without a value left out."""
    loss, speed, norm = (series(rows, k) for k in ("loss", "tokens_per_second", "grad_norm"))
    wanted = [
        Panel(
            "Loss",
            "nats per token",
            [
                ("train", loss),
                ("smoothed", smoothed(loss)),
                ("validation", series(rows, "validation_loss")),
            ],
        ),
        Panel(
            "Bits per byte",
            "bits",
            [
                ("smoothed", smoothed(series(rows, "bpb"))),
                ("validation", series(rows, "validation_bpb")),
            ],
        ),
        Panel("Learning rate", "", [("learning rate", series(rows, "lr"))]),
        Panel("Speed", "tokens per second", [("raw", speed), ("smoothed", smoothed(speed))]),
        Panel("Gradient norm", "before clipping", [("raw", norm), ("smoothed", smoothed(norm))]),
    ]
    filled = [p._replace(curves=[c for c in p.curves if c[1].steps]) for p in wanted]
    return [p for p in filled if p.curves]


def svg(panel: Panel) -> bytes:
    """A panel as SVG; the same panel gives the same bytes. ConfigError as for `drawn`."""

    def draw(axes: Any) -> None:
        for index, (name, curve) in enumerate(panel.curves):
            look = {"color": f"C{index % 10}"} if panel.alike else _look(name, len(curve.steps))
            axes.plot(*curve.thinned(), label=name, **look)
        axes.locator_params(axis="x", integer=True)
        dress(axes, panel.axis, panel.unit, legend=len(panel.curves) > 1)
        if limits := usual_range([v for _, curve in panel.curves for v in curve.values]):
            axes.set_ylim(*limits)

    return drawn(draw)


def drawn(
    draw: Callable[[Any], None], size: tuple[float, float] = (5.2, 3.0), *, letters: bool = False
) -> bytes:
    """What `draw` puts on the axes it gets, as SVG (size in inches) that needs nothing else.

    Letters are drawn as shapes; with `letters` they stay letters of the reader's own fonts, for
    labels in any script. Raises ConfigError where matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "matplotlib is not installed, so the report has no plots",
            next_command='pip install "ownlm[report]"',
        ) from None
    options: Any = {"svg.hashsalt": "ownlm", "font.size": 9, "svg.fonttype": "path"}
    if letters:
        options["svg.fonttype"] = "none"
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        out = io.BytesIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def _look(name: str, points: int) -> dict[str, Any]:
    if name == "validation":
        marker = "o" if points <= 60 else ""
        return {"color": ORANGE, "linewidth": 1.6, "marker": marker, "markersize": 3.5}
    faint = name in ("train", "raw")
    return {"color": BLUE, "linewidth": 1.0 if faint else 1.6, "alpha": 0.45 if faint else 1.0}


def dress(axes: Any, x: str, y: str, *, legend: bool = False) -> None:
    """The quiet look of all plots: titles of the axes, a faint grid, no frame."""
    axes.set_xlabel(x, color=GREY)
    axes.set_ylabel(y, color=GREY)
    axes.tick_params(colors=GREY, length=3)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)
    if legend:
        axes.legend(frameon=False, labelcolor=GREY)


def usual_range(values: Sequence[float]) -> tuple[float, float] | None:
    """Limits that leave out a few wild values (a compile step, a spike); None shows them all.

    An end is cut where the outer 2 % reach more than twice as far as all the others together.
    """
    if len(values) < 50:
        return None
    ordered = sorted(values)
    edge = len(ordered) // 50
    low, high = ordered[edge], ordered[-1 - edge]
    spread = high - low
    bottom = low - 0.3 * spread if low - ordered[0] > 2 * spread else ordered[0]
    top = high + 0.3 * spread if ordered[-1] - high > 2 * spread else ordered[-1]
    margin = 0.05 * (top - bottom)
    return (bottom - margin, top + margin) if margin else None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
