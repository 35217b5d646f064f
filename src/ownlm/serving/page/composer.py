"""Where a person writes to models: Enter sends, Escape and the button stop what is written."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from ownlm.serving.page.going import Going
from ownlm.serving.page.parts import SEND_ON_ENTER, action, area, note
from ownlm.serving.page.words import Words


class Composer:
    """A field and its button, at the foot of a page."""

    def __init__(
        self, words: Words, say: Callable[[str], Awaitable[None]], key: str = "send"
    ) -> None:
        """`say` takes what was written, blank texts aside; `key` names the button in `words`."""
        self.words, self.say, self.key = words, say, key
        self.going = Going(self._show)
        with ui.element("form").classes("composer").on("submit.prevent", lambda: None):
            self.field = area("", rows=1, hint=words("say")).props("autofocus")
            self.field.on("keydown", self._typed, js_handler=SEND_ON_ENTER)
            self.button = action("", self._press, icon="send", told=words(key), kind="main")
        note(words("enter"), "hint")
        ui.context.slot.parent.on("keydown.escape", self.going.halt)

    async def _typed(self, event: Any) -> None:
        await self._send(str(event.args))

    async def _press(self) -> None:
        if self.going.busy:
            self.going.halt()
        else:
            await self._send(str(self.field.value or ""))

    async def _send(self, text: str) -> None:
        if text.strip() and not self.going.busy:
            self.field.value = ""
            await self.say(text)

    def _show(self, busy: bool) -> None:
        self.button.icon = "stop" if busy else "send"
        self.button.props["aria-label"] = self.words("stop" if busy else self.key)
        self.button.update()
