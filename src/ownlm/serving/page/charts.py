"""Options of charts. Nothing in them is HTML or code: tips are drawn as text, too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.inspection.given import Piece
from ownlm.serving.page.words import Words

GREY = "#8a8f98"
"""Readable on white and on black."""
COLOURS = ("#2f6fde", "#e8743b", "#1f9d6b", "#b04fc4", "#c9a20a", "#d6455d", "#3aa6b9", "#7a6ff0")
AXIS = {
    "axisLabel": {"color": GREY, "hideOverlap": True},
    "nameTextStyle": {"color": GREY},
    "axisLine": {"lineStyle": {"color": GREY}},
    "splitLine": {"lineStyle": {"color": GREY, "opacity": 0.2}},
}
Point = tuple[float, float]
Options = dict[str, Any]


def heatmap(
    queries: Sequence[Piece], keys: Sequence[Piece], weights_TS: npt.NDArray[np.float32],
    words: Words,
) -> Options:  # fmt: skip
    """The weights of one head: a row a token that reads, a column a token that is read."""
    values = [
        [key, query, float(f"{weight:.4g}")]
        for query, line in enumerate(weights_TS)
        for key, weight in enumerate(line)
    ]
    label = {"color": GREY, "interval": 0, "fontSize": 10}
    return {
        "animation": False,
        "tooltip": tip("item"),
        "grid": {"left": 8, "right": 8, "top": 8, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "category", "data": names(keys), "position": "top",
                  "axisLabel": label | {"rotate": 60}, "axisPointer": pointer()},
        "yAxis": {"type": "category", "data": names(queries), "inverse": True,
                  "axisLabel": label, "axisPointer": pointer()},
        "visualMap": {"show": False, "min": 0, "max": 1, "dimension": 2,
                      "inRange": {"color": ["rgba(47,111,222,0.03)", "rgba(47,111,222,0.55)",
                                            "#1d4fb0"]}},
        "series": [{"type": "heatmap", "name": words("attention"), "data": values,
                    "progressive": 2000,
                    "emphasis": {"itemStyle": {"borderColor": "#e8743b", "borderWidth": 1}}}],
    }  # fmt: skip


def names(pieces: Sequence[Piece]) -> list[str]:
    """Names of places: equal tokens stay apart by their numbers."""
    return [f"{piece.text.strip() or '␣'}  {number}" for number, piece in enumerate(pieces)]


def curves(
    lines: Mapping[str, tuple[Sequence[Point], Sequence[Point], Sequence[float]]],
    *,
    title: str,
    x: str,
    log_x: bool,
    log_y: bool,
    words: Words,
) -> Options:
    """Curves by run: raw points (faint), smoothed ones (none: the raw ones stand alone), and the
    places where it was resumed."""
    series: list[Options] = []
    for number, (name, (raw, smooth, marks)) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        if smooth:
            series.append(line(name, kept(raw, log_x, log_y), colour, faint=True))
        series.append(line(name, kept(smooth or raw, log_x, log_y), colour))
        series[-1]["markLine"] = resumes(marks, colour, words("resumed"))
    return {
        "animation": False,
        "title": {"text": title, "textStyle": {"color": GREY, "fontSize": 13}, "left": 6, "top": 4},
        "tooltip": tip("axis") | {"order": "valueAsc"},
        "legend": {"show": False},
        "grid": {"left": 8, "right": 16, "top": 46, "bottom": 24, "containLabel": True},
        "xAxis": AXIS | {"type": "log" if log_x else "value", "name": x, "nameLocation": "middle",
                         "nameGap": 26, "scale": True},
        "yAxis": AXIS | {"type": "log" if log_y else "value", "scale": True},
        "dataZoom": [{"type": "inside", "filterMode": "none"}],
        "series": series,
    }  # fmt: skip


def line(name: str, points: Sequence[Point], colour: str, *, faint: bool = False) -> Options:
    """One curve; a faint one tells nothing when pointed at."""
    seldom = len(points) <= 40 and not faint
    return {
        "type": "line",
        "name": name,
        "data": [list(point) for point in points],
        "showSymbol": seldom,
        "symbolSize": 5,
        "color": colour,
        "lineStyle": {"width": 1 if faint else 2, "opacity": 0.3 if faint else 1},
        "silent": faint,
        "tooltip": {"show": not faint},
        "emphasis": {"disabled": True},
    }


def resumes(places: Sequence[float], colour: str, word: str) -> Options:
    """Dashed lines where a run was resumed."""
    return {
        "silent": True,
        "symbol": "none",
        "label": {"formatter": word, "color": GREY, "fontSize": 10},
        "lineStyle": {"color": colour, "type": "dashed", "width": 1},
        "data": [{"xAxis": place} for place in places],
    }


def kept(points: Sequence[Point], log_x: bool, log_y: bool) -> list[Point]:
    """Points that the axes can show: a logarithm needs more than zero."""
    return [(x, y) for x, y in points if (x > 0 or not log_x) and (y > 0 or not log_y)]


def tip(trigger: str) -> Options:
    """What shows at a place that is pointed at."""
    return {"trigger": trigger, "renderMode": "richText", "confine": True,
            "textStyle": {"fontSize": 12}}  # fmt: skip


def pointer() -> Options:
    """The name of the row or column that is pointed at."""
    return {"show": True, "type": "shadow", "label": {"show": True}, "triggerTooltip": False}
