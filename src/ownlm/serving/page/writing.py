"""A model's text as it appears: Markdown, drawn anew some times a second while it grows."""

import time

from nicegui import ui

from ownlm.serving.page.markup import markdown

PAUSE = 0.06
"""Seconds between two drawings: more often costs and is not seen."""


class Answer(ui.html):
    """What a model wrote, as Markdown that can run nothing (markup.markdown)."""

    def __init__(self, text: str) -> None:
        super().__init__(markdown(text), sanitize=True)
        self.classes("said markdown").props('dir="auto"')
        self._drawn = time.perf_counter()

    def show(self, text: str) -> None:
        """The text so far; not drawn if it was just before."""
        now = time.perf_counter()
        if now - self._drawn >= PAUSE:
            self.content, self._drawn = markdown(text), now

    def finish(self, text: str) -> None:
        """All of it."""
        self.content = markdown(text)
