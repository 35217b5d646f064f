"""The page of what a model does with a text: its fields, and its answer."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from ownlm.data.faults import Bad
from ownlm.data.tasks.predictions import (
    Classified,
    Estimate,
    Extract,
    Prediction,
    Tagging,
    Vector,
    Writing,
)
from ownlm.data.tasks.records import Origin, Question, Record, Tagged
from ownlm.data.tasks.unlabelled import typed
from ownlm.errors import DataError
from ownlm.inspection.fill import fill
from ownlm.recipes.lessons import read_as
from ownlm.serving.page import predicted
from ownlm.serving.page.frame import View, kinds_of
from ownlm.serving.page.parts import action, area, heading, note, told

HERE = Origin("the page")
FIELDS: dict[str, tuple[str, ...]] = {
    "pair": ("text", "second"),
    "regress": ("text", "second"),
    "span": ("question", "context"),
    "embed": ("lines",),
    "fill": ("gaps",),
}
"""Names of the fields of each task; others have one text."""
TALL = ("context", "lines", "text")
BEGIN = {"gaps": "gaps_example"}
"""Words that stand in a field at first."""
Draw = Callable[[], None]


class Task:
    """One opened page."""

    def __init__(self, view: View) -> None:
        self.view, self.served, self.words = view, view.served, view.words
        self.kinds = kinds_of(view.served)
        self.kind = self.kinds[0]

    def build(self, view: View) -> None:
        """The page: what to do, where there is a choice, and the form of it."""
        if len(self.kinds) > 1:
            names = {kind: self.words(kind) for kind in self.kinds}
            choice = ui.toggle(names, value=self.kind, on_change=self._choose)
            choice.props("no-caps unelevated").mark("kind")
        self.form = ui.element("div").classes("form")
        self._draw_form()

    def _choose(self, event: Any) -> None:
        self.kind = str(event.value)
        self._draw_form()

    def _draw_form(self) -> None:
        self.form.clear()
        names = FIELDS.get(self.kind, ("text",))
        with self.form:
            if len(self.kinds) == 1:  # else the choice above says it
                heading(self.words(self.kind), 1)
            self.fields = [
                area(self.words(name), self.words(BEGIN[name]) if name in BEGIN else "",
                     rows=4 if name in TALL else 1)
                for name in names
            ]  # fmt: skip
            with ui.element("div").classes("row-tools"):
                self.go = action(self.words("do"), self.press, kind="main", marker="go")
                self.busy = ui.spinner(size="sm")
                if self.kind == "fill":
                    note(self.words("gaps_help"))
            self.busy.visible = False
            self.place = ui.element("section").classes("result").props("aria-live=polite")

    async def press(self) -> None:
        """Ask the model."""
        texts = [str(field.value or "") for field in self.fields]
        go, busy, place = self.go, self.busy, self.place
        go.disable()
        busy.visible = True
        try:
            draw = await told(self.ask(texts))
        finally:
            go.enable()
            busy.visible = False
        if draw is not None:
            place.clear()
            with place:
                heading(self.words("result"))
                draw()

    async def ask(self, texts: list[str]) -> Draw:
        """Ask the model; what comes draws its answer. DataError for a blank text."""
        if self.kind == "fill":
            found = await self.served.alone(lambda: fill(self.served.lm, texts[0]))
            return lambda: predicted.gaps(texts[0], found, self.words)
        if self.kind == "embed":
            lines = [line for line in texts[0].split("\n") if line.strip()]
            if len(lines) < 2:
                raise DataError(self.words("several"))
            records = [self.record(line) for line in lines]
        else:
            records = [self.record(*texts)]
        said = await self.served.predict(records)
        return lambda: self.draw(records, said)

    def record(self, text: str, other: str = "") -> Record:
        """What was typed, as the task reads it."""
        try:
            return typed(text, other, read_as(self.served.tuned.kind), HERE)
        except Bad as bad:
            raise DataError(bad.reason) from None

    def draw(self, records: list[Record], said: list[Prediction]) -> None:
        """The answer, in the form of the task."""
        if isinstance(said[0], Vector):
            vectors = [one for one in said if isinstance(one, Vector)]
            predicted.similarities([text_of(one) for one in records], vectors, self.words)
            return
        draw: Callable[..., None] = DRAW[type(said[0])]
        draw(records[0], said[0], self.words)


def text_of(record: Any) -> str:
    """The first text of a record."""
    return str(getattr(record, "text", "") or getattr(record, "source", ""))


def _labels(record: Record, said: Classified, words: Any) -> None:
    predicted.labels(said)


def _tags(record: Record, said: Tagging, words: Any) -> None:
    assert isinstance(record, Tagged)
    predicted.tags(record.words, said, words)


def _span(record: Record, said: Extract, words: Any) -> None:
    assert isinstance(record, Question)
    predicted.span(record.context, said, words)


DRAW: dict[type, Callable[..., None]] = {
    Classified: _labels,
    Estimate: lambda record, said, words: predicted.number(said),
    Tagging: _tags,
    Extract: _span,
    Writing: lambda record, said, words: predicted.text(said, words),
}
"""How each kind of prediction is drawn."""
