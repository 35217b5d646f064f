"""Two models side by side: the same messages, both answers at once."""

import asyncio
from typing import Any

from nicegui import ui

from ownlm.errors import OwnlmError
from ownlm.inference.request import Request
from ownlm.serving.page.asking import Settings, for_messages, for_text, writing
from ownlm.serving.page.composer import Composer
from ownlm.serving.page.frame import View
from ownlm.serving.page.going import Going
from ownlm.serving.page.parts import Text, choice, note, refuse
from ownlm.serving.page.talk import Talk
from ownlm.serving.page.writing import Answer


class Side:
    """One of both models, and what was said with it."""

    def __init__(self, served: Any, settings: Settings) -> None:
        self.served, self.settings, self.talk = served, settings, Talk()
        self.place: ui.element

    def choose(self, served: Any) -> None:
        """Another model; what was said is left."""
        self.served, self.talk = served, Talk()
        self.place.clear()

    def request(self, text: str) -> Request:
        """A conversation goes on; a model without conversations gets the text alone."""
        turn = self.talk.add(self.talk.last, "user", text)
        if self.served.lm.tokenizer.chat is None:
            return for_text(self.served, text, self.settings)
        return for_messages(
            self.served, self.talk.messages(turn, self.settings.system), self.settings
        )

    async def answer(self, text: str, going: Going, view: View) -> None:
        """Draw the message and the answer as it comes."""
        request = self.request(text)
        turn = self.talk.add(self.talk.last, "assistant")
        with self.place:
            with ui.element("article").classes("turn user"):
                Text("div", text, "said", dir="auto")
            with ui.element("article").classes("turn assistant"):
                drawn, told = Answer(""), note("")
        async for written in writing(self.served, request, going):
            turn.text = written.text
            drawn.show(written.text)
            told.text = written.note(view.words)
        if not going.gone:
            drawn.finish(turn.text)


class Compare:
    """One comparison in one opened page."""

    def __init__(self, view: View) -> None:
        self.view, self.words, self.settings = view, view.words, Settings()
        names = [*view.fitting]
        second = view.fitting[names[1 if len(names) > 1 else 0]]
        first = view.fitting[names[0]]
        self.sides = [Side(first, self.settings), Side(second, self.settings)]
        self.composer: Composer

    def build(self, view: View) -> None:
        """The page."""
        names = {name: name for name in view.fitting}
        with ui.element("div").classes("sides"):
            for side, key in zip(self.sides, ("left", "right"), strict=True):
                with ui.element("section").props(f'aria-label="{self.words(key)}"'):
                    choose = choice(names, side.served.name, self.words(key))
                    choose.on_value_change(
                        lambda event, side=side: side.choose(view.fitting[event.value])
                    )
                    side.place = ui.element("div").classes("turns").props("aria-live=polite")
        self.composer = Composer(self.words, self.ask, "ask_both")

    async def ask(self, text: str) -> None:
        """Both answers, at once."""
        going = self.composer.going
        with going.begun():
            work = [side.answer(text, going, self.view) for side in self.sides]
            for failed in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(failed, OwnlmError):
                    refuse(failed)
                elif isinstance(failed, BaseException):
                    raise failed
