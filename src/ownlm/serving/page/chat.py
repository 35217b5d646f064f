"""Talking to a model: stop, another answer, edit, branches; the chat can be saved and opened."""

import json
from typing import Any

from nicegui import ui
from nicegui.events import UploadEventArguments

from ownlm.errors import OwnlmError
from ownlm.serving.page.asking import Settings, for_messages, writing
from ownlm.serving.page.composer import Composer
from ownlm.serving.page.frame import View
from ownlm.serving.page.parts import SEND_ON_ENTER, Text, action, area, note, refuse
from ownlm.serving.page.talk import MOST_BYTES, Talk, Turn, open_talk
from ownlm.serving.page.tokens import draw_prompt, shown
from ownlm.serving.page.writing import Answer


class Chat:
    """One chat in one opened page."""

    def __init__(self, view: View) -> None:
        self.view, self.served, self.words = view, view.served, view.words
        self.talk, self.settings = Talk(), Settings()
        self.turns: ui.element
        self.live: Answer
        """The last answer on the page."""
        self.composer: Composer

    def build(self, view: View) -> None:
        """The page."""
        with ui.element("div").classes("chat-tools"):
            action("", self.begin, icon="add_comment", told=self.words("new"))
            action("", self.save, icon="download", told=self.words("download"))
            self._opener()
            action("", self.show_prompt, icon="data_array", told=self.words("prompt"))
        self.turns = ui.element("div").classes("turns").props("role=log aria-live=polite")
        self.composer = Composer(self.words, self.say)
        self.draw()

    @property
    def busy(self) -> bool:
        """Whether an answer is being written."""
        return self.composer.going.busy

    def draw(self) -> None:
        """Every message that is shown, anew."""
        self.turns.clear()
        with self.turns:
            for turn in self.talk.path:
                self._turn(turn)
            if not self.talk.path:
                Text("p", self.words("hello"), "hello")

    def _turn(self, turn: Turn) -> None:
        with ui.element("article").classes(f"turn {turn.role}") as place:
            name = self.words("you") if turn.role == "user" else self.served.name
            Text("h2", self.words("system") if turn.role == "system" else name, "who", dir="auto")
            if turn.role == "assistant":
                self.live = Answer(turn.text)
            else:
                Text("div", turn.text, "said", dir="auto")
            if self.busy:
                return
            with ui.element("div").classes("turn-tools"):
                self._versions(turn)
                if turn.role == "assistant":
                    self._button("refresh", "again", lambda: self.answer(turn.before))
                else:
                    self._button("edit", "edit", lambda: self._edit(turn, place))
                if turn.after:
                    self._button("call_split", "branch", lambda: self._branch(turn))
                if turn.note:
                    note(turn.note)

    def _button(self, icon: str, key: str, do: Any) -> None:
        action("", do, icon=icon, told=self.words(key), marker=key).props("size=sm")

    def _versions(self, turn: Turn) -> None:
        if len(turn.versions) < 2:
            return
        for key, icon, step in (("earlier", "chevron_left", -1), ("later", "chevron_right", 1)):
            if step > 0:
                Text("span", f"{turn.version + 1}/{len(turn.versions)}", "count")
            self._button(icon, key, lambda step=step: self._show(turn, turn.version + step))

    def _show(self, turn: Turn, version: int) -> None:
        if not self.busy:
            self.talk.show(turn, version)
            self.draw()

    async def say(self, text: str) -> None:
        """A message of the person, and the answer to it."""
        await self.answer(self.talk.add(self.talk.last, "user", text))

    async def answer(self, before: Turn | None) -> None:
        """A new answer to a message."""
        if before is None or self.busy:
            return
        try:
            messages = self.talk.messages(before, self.settings.system)
            request = for_messages(self.served, messages, self.settings)
        except OwnlmError as error:
            self.draw()
            refuse(error)
            return
        turn, going = self.talk.add(before, "assistant"), self.composer.going
        try:
            with going.begun():
                self.draw()
                live = self.live.classes("live")
                async for written in writing(self.served, request, going):
                    turn.text, turn.note = written.text, written.note(self.words)
                    live.show(written.text)
        except OwnlmError as error:
            refuse(error)
        finally:
            if not going.gone:
                self.draw()

    def _edit(self, turn: Turn, place: ui.element) -> None:
        """A field in the place of the message: Enter keeps the edit, Escape leaves it."""
        if self.busy:
            return
        place.clear()
        with place:
            field = area("", turn.text, rows=1, hint=self.words("edit")).props("autofocus")

            async def save(text: str) -> None:
                edited = self.talk.add(turn.before or self.talk.root, turn.role, text)
                if turn.role == "user":
                    await self.answer(edited)
                else:
                    self.draw()

            field.on("keydown", lambda e: save(str(e.args)), js_handler=SEND_ON_ENTER)
            field.on("keydown.escape", self.draw)
            with ui.element("div").classes("turn-tools"):
                action(self.words("save"), lambda: save(str(field.value)), kind="main")
                action(self.words("cancel"), self.draw)

    def _branch(self, turn: Turn) -> None:
        """Go on from a message as if nothing had followed; what did is kept as a version."""
        if not self.busy and turn.after:
            self.talk.leave(turn)
            self.draw()

    def begin(self) -> None:
        """A new chat."""
        self.composer.going.halt()
        self.talk = Talk()
        self.draw()

    def save(self) -> None:
        """All branches as a file."""
        text = json.dumps(self.talk.as_dict(), ensure_ascii=False, indent=1)
        ui.download.content(text, "chat.json", "application/json")

    def _opener(self) -> None:
        hidden = ui.upload(on_upload=self._open, auto_upload=True, max_file_size=MOST_BYTES)
        hidden.classes("hidden-upload").props("accept=.json")
        told = self.words("upload")
        action("", lambda: hidden.run_method("pickFiles"), icon="upload", told=told)

    async def _open(self, event: UploadEventArguments) -> None:
        try:
            self.talk = open_talk(await event.file.read())
        except OwnlmError as error:
            refuse(error)
        else:
            self.draw()

    def show_prompt(self) -> None:
        """The tokens that stand before the next answer."""
        try:
            messages = self.talk.messages(self.talk.last, self.settings.system)
            ids = self.served.lm.prompt_ids(messages or [{"role": "user", "content": ""}])
        except OwnlmError as error:
            refuse(error)
            return
        context = self.served.lm.model.context
        with ui.dialog(value=True) as dialog, ui.card().classes("sheet"):
            dialog.on("hide", dialog.delete)
            with ui.row().classes("spread"):
                Text("h2", self.words("prompt"))
                action("", dialog.close, icon="close", told=self.words("close"))
            note(self.words("prompt_note", count=len(ids), context=context))
            draw_prompt(shown(self.served.lm.tokenizer, ids))
