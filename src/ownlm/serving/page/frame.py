"""What stands around every page: its name, ways to the others, the model, the language."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from fastapi import Request as HttpRequest
from nicegui import ui

from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Record
from ownlm.inference.language_model import LM
from ownlm.inspection.fill import fills
from ownlm.recipes.tuned import Tuned
from ownlm.serving.page.parts import Text, action, choice, note
from ownlm.serving.page.words import Words, language_of

LANGUAGE, DARK = "ownlm_language", "ownlm_dark"
"""Cookies: the only thing that a page leaves in a browser."""
IS_DARK = "() => emit(document.body.classList.contains('body--dark'))"


class Served(Protocol):
    """A model as the server has it."""

    name: str
    lm: LM
    service: Any
    """None where it writes no text; else `stream(Request)` gives Events."""
    tuned: Tuned | None

    async def predict(self, records: list[Record]) -> list[Prediction]:
        """What its task says of records."""

    async def alone(self, work: Callable[[], Any]) -> Any:
        """Work with the model in a thread."""


class State(Protocol):
    """What the server knows."""

    page_paths: list[str]

    @property
    def models(self) -> Mapping[str, Any]:
        """By name: each as `Served`."""

    @property
    def phase(self) -> str:
        """loading, ready, or why not."""


def kinds_of(served: Any) -> list[str]:
    """What the page of tasks can ask of a model: gaps to be filled, and the task it was taught."""
    tuned = served.tuned
    taught = [] if tuned is None or tuned.kind == "chat" else [tuned.kind]
    return ["fill"] * fills(served.lm) + taught


Fits = Callable[[Any], bool]
FITS: dict[str, Fits] = {
    "chat": lambda served: served.service is not None and served.lm.tokenizer.chat is not None,
    "complete": lambda served: served.service is not None,
    "compare": lambda served: served.service is not None,
    "tasks": lambda served: bool(kinds_of(served)),
    "inside": lambda served: True,
}
"""What a model must be for each page about models."""
ICONS = {"chat": "forum", "complete": "edit_note", "compare": "vertical_split",
         "tasks": "task_alt", "inside": "visibility", "runs": "show_chart"}  # fmt: skip


class View:
    """One opened page: for whom, in which language, about which model."""

    def __init__(
        self, name: str, state: State, runs: Path | None, request: HttpRequest, model: str = ""
    ) -> None:
        """`model` is looked up in the table of models; an unknown one is the first that fits."""
        self.name, self.state, self.runs = name, state, runs
        cookies = request.cookies
        accepted = request.headers.get("accept-language", "")
        self.words = Words(language_of(cookies.get(LANGUAGE), accepted))
        self.dark = {"dark": True, "light": False}.get(cookies.get(DARK, ""))
        fitting = self.fitting
        self.served: Any = fitting.get(model) or next(iter(fitting.values()), None)

    @property
    def fitting(self) -> dict[str, Any]:
        """The models that this page is for, by name."""
        fits = FITS.get(self.name, lambda served: False)
        return {name: served for name, served in self.state.models.items() if fits(served)}

    @property
    def pages(self) -> list[str]:
        """The pages that have something to show."""
        models = [*self.state.models.values()]
        named = [page for page, fits in FITS.items() if any(fits(one) for one in models)]
        return named + ["runs"] * (self.runs is not None)

    def show(self, build: Callable[["View"], None], settings: Callable[[], None] | None) -> None:
        """The page with its frame; `settings` fill a drawer."""
        ui.run_javascript(f"document.documentElement.lang = {self.words.language!r}")
        ui.on_exception(self._fault)
        if self.name:
            ui.page_title(f"{self.words(self.name)} · ownlm")
        dark = ui.dark_mode(self.dark)
        drawer = self._drawer(settings) if settings is not None else None
        with ui.header(fixed=True).classes("top"):
            Text("span", "ownlm", "brand", title=self.words("offline"))
            self._ways()
            ui.space()
            self._tools(dark, drawer)
        with ui.element("main").classes(f"page {self.name}") as main:
            build(self)
        ui.skip_link(self.words("skip"), target=main)

    def _fault(self, error: Exception) -> None:
        """What went wrong that nobody foresaw."""
        ui.notify(self.words("fault", error=type(error).__name__), type="negative", position="top")

    def _ways(self) -> None:
        with ui.element("nav").classes("ways").props(f'aria-label="{self.words("pages")}"'):
            for page in self.pages:
                here = {"aria-current": "page"} if page == self.name else {}
                with ui.element("a").props(f'href="/{page}"') as link:
                    ui.icon(ICONS[page]).props("aria-hidden=true")
                    Text("span", self.words(page))
                link.props.update(here)

    def _tools(self, dark: ui.dark_mode, drawer: ui.right_drawer | None) -> None:
        if self.name != "compare":  # there each side has its own
            self._model()
        if drawer is not None:
            action("", drawer.toggle, icon="tune", told=self.words("settings"))
        action("", None, icon="contrast", told=self.words("dark")).on(
            "click", lambda event: self._turn(dark, not event.args), js_handler=IS_DARK
        )
        action(self.words("language"), self._speak, kind="language").props("flat dense")

    def _model(self) -> None:
        """Which model it is about, and a choice of others."""
        if len(self.fitting) > 1:
            names = {name: name for name in self.fitting}
            choice(names, self.served.name, self.words("model"), self._choose).classes("models")
        elif self.served is not None:
            Text("span", self.served.name, "model-name", dir="auto")

    def _drawer(self, fill: Callable[[], None]) -> ui.right_drawer:
        with ui.right_drawer(value=False, bordered=True).classes("drawer") as drawer:
            drawer.on("keydown.escape", drawer.hide)
            with ui.row().classes("spread"):
                Text("h2", self.words("settings"))
                action("", drawer.hide, icon="close", told=self.words("close"))
            fill()
        return drawer

    def _choose(self, event: Any) -> None:
        ui.navigate.to(f"/{self.name}?model={_quoted(event.value)}")

    def _speak(self) -> None:
        other = "en" if self.words.language == "zh" else "zh"
        ui.run_javascript(_cookie(LANGUAGE, other) + "; location.reload()")

    def _turn(self, dark: ui.dark_mode, value: bool) -> None:
        """Dark or light, whatever the system says."""
        dark.value = value
        ui.run_javascript(_cookie(DARK, "dark" if dark.value else "light"))


def waiting(view: View) -> None:
    """A page whose models are not there yet, or that no model is for."""
    if view.state.phase == "loading":
        with ui.row().classes("waiting").props("role=status"):
            ui.spinner(size="lg")
            Text("p", view.words("loading"))

        def look() -> None:
            if view.state.phase != "loading":
                ui.navigate.reload()

        ui.timer(1.0, look)
    else:
        note(view.words("nothing"), "waiting")


def _cookie(name: str, value: str) -> str:
    return f"document.cookie = '{name}={value}; path=/; max-age=31536000; SameSite=Strict'"


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
