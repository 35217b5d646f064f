"""The page of a model that was taught a task: its fields, and its answer."""

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
from ownlm.recipes.lessons import read_as
from ownlm.serving.page import predicted
from ownlm.serving.page.frame import View
from ownlm.serving.page.parts import action, area, heading, told

HERE = Origin("the page")
FIELDS: dict[str, tuple[str, ...]] = {
    "pair": ("text", "second"),
    "regress": ("text", "second"),
    "span": ("question", "context"),
    "embed": ("lines",),
}
"""Names of the fields of each task; others have one text."""
TALL = ("context", "lines", "text")


class Task:
    """One opened page."""

    def __init__(self, view: View) -> None:
        self.view, self.served, self.words = view, view.served, view.words
        self.kind: str = view.served.tuned.kind

    def build(self, view: View) -> None:
        """The page."""
        heading(self.words(self.kind), 1)
        names = FIELDS.get(self.kind, ("text",))
        self.fields = [area(self.words(name), rows=4 if name in TALL else 1) for name in names]
        with ui.element("div").classes("row-tools"):
            self.go = action(self.words("do"), self.press, kind="main", marker="go")
            self.busy = ui.spinner(size="sm")
        self.busy.visible = False
        self.place = ui.element("section").classes("result").props("aria-live=polite")

    async def press(self) -> None:
        """Ask the model."""
        texts = [str(field.value or "") for field in self.fields]
        self.go.disable()
        self.busy.visible = True
        try:
            found = await told(self.ask(texts))
        finally:
            self.go.enable()
            self.busy.visible = False
        if found is not None:
            self.place.clear()
            with self.place:
                heading(self.words("result"))
                self.draw(*found)

    async def ask(self, texts: list[str]) -> tuple[list[Record], list[Prediction]]:
        """The records of what was typed, and what the model says. DataError for a blank text."""
        if self.kind == "embed":
            lines = [line for line in texts[0].split("\n") if line.strip()]
            if len(lines) < 2:
                raise DataError(self.words("several"))
            records = [self.record(line) for line in lines]
        else:
            records = [self.record(*texts)]
        return records, await self.served.predict(records)

    def record(self, text: str, other: str = "") -> Record:
        """What was typed, as the task reads it."""
        try:
            return typed(text, other, read_as(self.served.tuned.kind), HERE)
        except Bad as bad:
            raise DataError(bad.reason) from None

    def draw(self, records: list[Record], said: list[Prediction]) -> None:
        """The answer, in the form of the task."""
        if self.kind == "embed":
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
