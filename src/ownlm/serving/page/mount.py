"""The pages in the server's application: one table of addresses, and what stands behind each."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from nicegui import app as inner
from nicegui import ui
from starlette.responses import Response

from ownlm.serving.page.chat import Chat
from ownlm.serving.page.compare import Compare
from ownlm.serving.page.complete import Complete, settings_of
from ownlm.serving.page.frame import State, View, waiting
from ownlm.serving.page.inside import Inside
from ownlm.serving.page.policy import Policy
from ownlm.serving.page.runs import Runs
from ownlm.serving.page.tasks import Task
from ownlm.serving.refusal import on_refusal

STYLE = Path(__file__).parent / "page.css"
ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' "
    "rx='8' fill='#2f6fde'/><g fill='#fff'><rect x='7' y='7' width='5' height='5'/>"
    "<rect x='7' y='14' width='5' height='5'/><rect x='14' y='14' width='5' height='5'/>"
    "<rect x='7' y='21' width='5' height='5'/><rect x='14' y='21' width='5' height='5'/>"
    "<rect x='21' y='21' width='5' height='5'/></g></svg>"
)
"""A triangle of causal attention."""
MODELS: dict[str, tuple[Callable[[View], Any], bool | None]] = {
    "chat": (Chat, True),
    "complete": (Complete, False),
    "compare": (Compare, True),
    "tasks": (Task, None),
    "inside": (Inside, None),
}
"""Pages about models, and whether their settings have a system prompt; None: no settings."""
OURS = ("/_nicegui", "/_nicegui_ws")


def add_pages(app: FastAPI, state: State, runs: Path | None = None) -> None:
    """Put the pages into the server's application; `runs` is a folder of runs to watch.

    Comes after every other route: what no route knows is asked of the pages.
    """
    # It looks at all objects there are, and some libraries warn when they are looked at.
    warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui.ui_run_with")
    register(state, runs)
    state.page_paths += ["/", *(f"/{name}" for name in (*MODELS, "runs")), *OURS]
    inner.add_middleware(Policy)
    inner.add_exception_handler(404, on_missing)
    ui.run_with(
        app,
        title="ownlm",
        favicon=ICON,
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        gzip_middleware_factory=None,
    )


async def on_missing(request: HttpRequest, error: Exception) -> Response:
    """An address that is neither a page nor the interface's: told as the interface tells it, since
    whoever asks is a program with a wrong base_url more often than a person."""
    return await on_refusal(request, error)


def register(state: State, runs: Path | None) -> None:
    """The addresses of all pages."""
    ui.add_css(STYLE.read_text(encoding="utf-8"), shared=True)

    def first(request: HttpRequest) -> None:
        view = View("", state, runs, request)
        if view.pages:
            ui.navigate.to(f"/{view.pages[0]}")
        else:
            view.show(waiting, None)

    ui.page("/")(first)
    for name in MODELS:
        ui.page(f"/{name}", title=f"{name} · ownlm")(about_model(name, state, runs))
    if runs is not None:
        ui.page("/runs", title="runs · ownlm")(about_runs(state, runs))


def about_model(name: str, state: State, runs: Path | None) -> Callable[..., None]:
    """The page of a name in MODELS."""
    kind, system = MODELS[name]

    def page(request: HttpRequest, model: str = "") -> None:
        view = View(name, state, runs, request, model)
        if view.served is None:
            view.show(waiting, None)
            return
        made = kind(view)
        view.show(made.build, None if system is None else settings_of(made, system))

    return page


def about_runs(state: State, runs: Path) -> Callable[..., None]:
    """The page of runs; `names` are looked up in the table of those that were found."""

    def page(request: HttpRequest, names: str = "") -> None:
        view = View("runs", state, runs, request)
        view.show(Runs(view, names).build, None)

    return page
