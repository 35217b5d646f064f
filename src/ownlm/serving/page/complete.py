"""Texts that go on: every token with its probability, and what could have stood there."""

from dataclasses import replace
from typing import Any

from nicegui import ui

from ownlm.errors import OwnlmError
from ownlm.inference.request import Chosen, Request
from ownlm.serving.page.asking import Settings, for_text, writing
from ownlm.serving.page.frame import View
from ownlm.serving.page.going import Going
from ownlm.serving.page.parts import Text, action, area, heading, note, refuse, rove
from ownlm.serving.page.tokens import Shown, draw_alternatives, draw_scored, highlight, shown


class Complete:
    """One text in one opened page."""

    def __init__(self, view: View) -> None:
        self.view, self.served, self.words = view, view.served, view.words
        self.settings = Settings(max_tokens=100)
        self.beginning = ""
        """What was typed for it."""
        self.request: Request | None = None
        """The first one for this text: where its prompt ends."""
        self.written: list[Chosen] = []
        self.drawn: list[Text] = []
        """Its tokens on the page."""
        self.going = Going(self._show)

    def build(self, view: View) -> None:
        """The page."""
        reads = self.served.lm.answers
        hint = self.words("source" if reads else "begin")
        self.field = area(self.words("text"), rows=4, hint=hint)
        with ui.element("div").classes("row-tools"):
            self.go = action(self.words("go_on"), self.press, kind="main", marker="go")
            self.status = note("")
        with ui.element("div").classes("two"):
            with ui.element("section").classes("written"):
                self.place = ui.element("div").classes("tokens").props('dir="auto"')
                rove(self.place)
                self.legend = ui.element("div").classes("legend")
            with ui.element("aside"):
                self.beside = ui.element("div").props("aria-live=polite")
        with self.legend:
            Text("span", self.words("likely"))
            ui.element("span").classes("scale")
            Text("span", self.words("unlikely"))
            note(self.words("token_help"))
        self.legend.visible = False
        ui.context.slot.parent.on("keydown.escape", self.going.halt)

    def _show(self, busy: bool) -> None:
        self.go.text = self.words("stop" if busy else "go_on")
        self.go.props["aria-label"] = self.go.text

    async def press(self) -> None:
        """Write, or stop writing."""
        if self.going.busy:
            self.going.halt()
            return
        self.beginning = str(self.field.value or "")
        try:
            self.request = for_text(self.served, self.beginning, self.settings)
        except OwnlmError as error:
            refuse(error)
            return
        await self.write([])

    async def write(self, kept: list[Chosen]) -> None:
        """Go on behind the prompt and the tokens that are kept."""
        first = self.request
        if first is None or self.going.busy:
            return
        ids = first.prompt + tuple(one.token for one in kept)
        room = self.served.lm.model.context + 1 - len(ids)
        request = replace(first, prompt=ids, max_tokens=max(1, min(first.max_tokens, room)))
        self.beside.clear()
        drawn = 0
        try:
            with self.going.begun():
                async for written in writing(self.served, request, self.going):
                    self.written = kept + written.tokens
                    self.status.text = written.note(self.words)
                    if drawn == 0:
                        self.redraw()
                    else:
                        self.draw(drawn)
                    drawn = len(self.written)
        except OwnlmError as error:
            refuse(error)

    def tokens(self) -> list[Shown]:
        """What was written, as people see it; what is shown of it completes the prompt's last
        character."""
        assert self.request is not None, "something was written"
        tokenizer, count = self.served.lm.tokenizer, len(self.written)
        ids = [*self.request.prompt, *(one.token for one in self.written)]
        pieces = shown(tokenizer, ids)[len(ids) - count :]
        return [
            Shown(piece.id, piece.text, piece.control, one.logprob, self._others(one))
            for piece, one in zip(pieces, self.written, strict=True)
        ]

    def _others(self, one: Chosen) -> list[tuple[int, str, float]]:
        readable = self.served.lm.tokenizer.readable
        found = [(o.token, readable(o.token), o.logprob) for o in one.top]
        if all(id != one.token for id, _, _ in found):
            found.append((one.token, readable(one.token), one.logprob))
        return found

    def redraw(self) -> None:
        """The prompt and all tokens, anew."""
        self.place.clear()
        with self.place:
            if self.request is not None and not self.request.source:
                Text("span", self.beginning, "given")
        self.draw(0)

    def draw(self, since: int) -> None:
        """The tokens from `since` on behind those that are drawn."""
        tokens = self.tokens()
        with self.place:
            self.drawn[since:] = draw_scored(tokens, self.look, since)
        self.legend.visible = bool(tokens)

    def look(self, number: int) -> None:
        """What could stand in the place of a token."""
        if self.going.busy or number >= len(self.written):
            return
        token = self.tokens()[number]
        highlight(self.drawn, number)

        async def take(id: int) -> None:
            other = next((o for o in self.written[number].top if o.token == id), None)
            chosen = self.written[number]
            if other is not None:
                chosen = Chosen(other.token, other.logprob, chosen.top)
            await self.write([*self.written[:number], chosen])

        self.beside.clear()
        with self.beside:
            heading(self.words("alternatives"))
            draw_alternatives(token, take)
            note(self.words("alternatives_help"))


def settings_of(page: Any, system: bool) -> Any:
    """What fills the drawer of a page that writes."""
    return lambda: page.settings.panel(page.words, system=system)
