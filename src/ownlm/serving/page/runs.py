"""Runs as they train: curves of several at once, what differs, what they write."""

from pathlib import Path
from typing import Any

from nicegui import ui

from ownlm.evaluation.curves import Series
from ownlm.evaluation.live import AXES, LiveRun, differing, find_runs
from ownlm.serving.page import charts
from ownlm.serving.page.frame import View
from ownlm.serving.page.parts import Text, choice, heading, note

PAUSE, LOOK = 2.0, 10.0
"""Seconds between two readings of what is new in chosen runs, and between two looks for runs."""
MOST_CHOSEN = 8
FIRST = ("loss", "validation_loss", "bpb")
"""Figures that are shown until others are chosen."""


class Runs:
    """One opened page. Runs are chosen by name from the table of those that were found."""

    def __init__(self, view: View, names: str = "") -> None:
        """`names`, with commas between them, are looked up in the table."""
        assert view.runs is not None, "the page is there for a folder"
        self.view, self.words, self.folder = view, view.words, view.runs
        self.found: dict[str, Path] = find_runs(self.folder)
        self.open: dict[str, LiveRun] = {}
        asked = [name for name in names.split(",") if name in self.found]
        self.chosen = asked[:MOST_CHOSEN] or newest(self.found)[:2]
        self.axis, self.log_x, self.log_y, self.smooth = "step", False, False, True
        self.figures: list[str] = []
        self.charts: dict[str, ui.echart] = {}

    def build(self, view: View) -> None:
        """The page."""
        with ui.element("div").classes("runs-view"):
            with Text("aside", "", "run-list", aria_label=self.words("runs")):
                heading(self.words("runs"))
                note(self.words("live"))
                self.filter = ui.input(self.words("find"), on_change=self._draw_list)
                self.filter.props("outlined dense clearable")
                self.list = ui.element("ul")
            with ui.element("section").classes("curves"):
                self._tools()
                self.grid = ui.element("div").classes("charts")
                self.below = ui.element("div")
        self.draw()
        ui.timer(PAUSE, self.poll)
        ui.timer(LOOK, self.look)

    def _tools(self) -> None:
        words = self.words
        with ui.element("div").classes("row-tools"):
            axes = {axis: words(f"by_{axis}") for axis in AXES}
            choice(axes, self.axis, words("axis"), lambda e: self._set("axis", e.value))
            self.pick = ui.select([], multiple=True, label=words("figure")).props("outlined dense")
            self.pick.classes("choice figures").on_value_change(lambda e: self._pick(e.value))
            for name in ("log_x", "log_y", "smooth"):
                switch = ui.switch(words(name), value=getattr(self, name)).mark(name)
                switch.on_value_change(lambda e, name=name: self._set(name, e.value))

    def _set(self, name: str, value: Any) -> None:
        setattr(self, name, value)
        self._draw_charts(anew=True)

    def _pick(self, figures: list[str]) -> None:
        if figures != self.figures:
            self.figures = [*figures]
            self._draw_charts(anew=True)

    def runs(self) -> dict[str, LiveRun]:
        """The chosen runs; each is opened once."""
        for name in self.chosen:
            if name not in self.open:
                self.open[name] = LiveRun(self.found[name])
                self.open[name].poll()
        return {name: self.open[name] for name in self.chosen}

    def poll(self) -> None:
        """What is new in the chosen runs."""
        changed = [run.poll() for run in self.runs().values()]
        if any(changed):
            self._draw_charts()
            self._draw_list()

    def look(self) -> None:
        """Runs that are new."""
        found = find_runs(self.folder)
        if found != self.found:
            self.found = found
            self.chosen = [name for name in self.chosen if name in found]
            self.draw()

    def draw(self) -> None:
        """Everything."""
        known = {figure: None for run in self.runs().values() for figure in run.figures}
        self.figures = [f for f in self.figures or FIRST if f in known] or [*known][:1]
        self.pick.set_options([*known], value=self.figures)
        self._draw_list()
        self._draw_charts(anew=True)
        self._draw_below()

    def _draw_list(self) -> None:
        self.list.clear()
        with self.list:
            if not self.found:
                note(self.words("no_runs", folder=self.folder.name))
            wanted = str(self.filter.value or "").lower()
            others = [n for n in self.found if n not in self.chosen and wanted in n.lower()]
            for name in (*self.chosen, *others):
                with ui.element("li"):
                    self._row(name)

    def _row(self, name: str) -> None:
        on = name in self.chosen
        colour = charts.COLOURS[self.chosen.index(name)] if on else "transparent"
        classes = "run chosen" if on else "run"
        row = Text("button", "", classes, type="button", aria_pressed=str(on).lower())
        row.on("click", lambda: self._toggle(name)).mark(f"run-{name}")
        with row:
            ui.element("span").classes("dot").style(f"background: {colour}")
            Text("span", name, "name", dir="auto")
            if on:
                Text("small", told(self.open[name], self.words))

    def _toggle(self, name: str) -> None:
        if name in self.chosen:
            self.chosen.remove(name)
        elif len(self.chosen) < MOST_CHOSEN:
            self.chosen.append(name)
        self.draw()

    def _draw_charts(self, anew: bool = False) -> None:
        """New data into the charts that are there; anew when others are to be there."""
        options = {figure: self._options(figure) for figure in self.figures}
        if not anew and options.keys() == self.charts.keys():
            for figure, made in self.charts.items():
                made.options.clear()
                made.options.update(options[figure])
                made.update()
            return
        self.grid.clear()
        with self.grid:
            if not self.chosen:
                note(self.words("choose_runs"))
            self.charts = {
                figure: ui.echart(made).classes("chart").mark(f"chart-{figure}")
                for figure, made in options.items()
            }

    def _options(self, figure: str) -> dict[str, Any]:
        lines = {}
        for name, run in self.runs().items():
            raw, smooth = run.curve(figure, self.axis)
            marks = run.resumed(self.axis)
            lines[name] = points(raw), points(smooth) if self.smooth else [], marks
        over = self.words(f"by_{self.axis}")
        return charts.curves(
            lines, title=figure.replace("_", " "), x=over, log_x=self.log_x, log_y=self.log_y,
            words=self.words,
        )  # fmt: skip

    def _draw_below(self) -> None:
        self.below.clear()
        runs = self.runs()
        with self.below:
            if len(runs) > 1:
                heading(self.words("differences"))
                differences(runs, self.words)
            written = {name: found for name, run in runs.items() if (found := run.samples)}
            if written:
                heading(self.words("samples"))
                samples(written, self.words)


def newest(found: dict[str, Path]) -> list[str]:
    """Names of runs, that whose log was written last first."""
    return sorted(found, key=lambda name: -(found[name] / "log.jsonl").stat().st_mtime)


def points(curve: Series) -> list[charts.Point]:
    """A curve as pairs."""
    return [*zip((float(x) for x in curve.steps), curve.values)]


def told(run: LiveRun, words: Any) -> str:
    """How far a run is, in a line."""
    steps = f"{run.step:,}" + (f" / {run.steps:,}" if run.steps else "")
    loss = run.last("loss")
    return f"{words('step')} {steps}" + ("" if loss is None else f" · loss {loss:.3f}")


def differences(runs: dict[str, LiveRun], words: Any) -> None:
    """A table of the settings that are not the same in all runs."""
    rows = differing([*runs.values()])
    if not rows:
        note(words("same"))
        return
    with ui.element("div").classes("wide"), ui.element("table").classes("differences"):
        with ui.element("tr"):
            Text("th", words("setting"), scope="col")
            for name in runs:
                Text("th", name, scope="col", dir="auto")
        for key, values in rows.items():
            with ui.element("tr"):
                Text("th", key, scope="row")
                for value in values:
                    Text("td", "–" if value is None else str(value), dir="auto")


def samples(written: dict[str, dict[int, str]], words: Any) -> None:
    """What each model wrote, step by step; the newest first."""
    steps = sorted({step for found in written.values() for step in found})

    def draw(number: int) -> None:
        step = steps[number]
        label.text = words("sample_at", step=f"{step:,}")
        place.clear()
        with place:
            for name, found in written.items():
                if step in found:
                    with ui.element("article"):
                        Text("h3", name, dir="auto")
                        Text("pre", found[step], "sample", dir="auto")

    with ui.element("div").classes("row-tools"):
        slider = ui.slider(min=0, max=len(steps) - 1, value=len(steps) - 1, step=1)
        slider.props["aria-label"] = words("samples")
        slider.on_value_change(lambda e: draw(int(e.value)))
        label = Text("span", "")
    place = ui.element("div").classes("samples")
    draw(len(steps) - 1)
