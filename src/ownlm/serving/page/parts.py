"""Small parts that all pages are made of. Text always goes in as text, never as HTML."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from ownlm.errors import OwnlmError

Handler = Callable[..., Any]
SEND_ON_ENTER = (
    "(e) => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing)"
    " { e.preventDefault(); emit(e.target.value); } }"
)
"""Not while an input method composes a word: there Enter ends the word."""
ROVE = """(e) => {
  const moves = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: %(columns)d, ArrowUp: -%(columns)d};
  const all = [...e.currentTarget.querySelectorAll("[tabindex]")];
  const to = all[all.indexOf(e.target) + moves[e.key]];
  if (!to) return;
  e.preventDefault();
  e.target.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}"""


class Text(TextElement):
    """An element of any tag with a text."""

    def __init__(self, tag: str, text: str = "", classes: str = "", **props: object) -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)
        for name, value in props.items():
            self.props[name.replace("_", "-")] = value


def heading(text: str, level: int = 2) -> Text:
    """A title."""
    return Text(f"h{level}", text)


def note(text: str, classes: str = "") -> Text:
    """A line in small print."""
    return Text("p", text, f"note {classes}".strip())


def action(
    text: str,
    do: Handler | None,
    *,
    icon: str = "",
    kind: str = "",
    told: str = "",
    marker: str = "",
) -> ui.button:
    """A button; `kind` "main" for the one that the page is for. `told` names it where it shows an
    icon only."""
    made = ui.button(text, on_click=do, icon=icon or None, color=None).props("no-caps unelevated")
    made.props["aria-label"] = told or text
    made.classes(f"action {kind}".strip())
    if told:
        made.tooltip(told)
        made.props("flat dense round")
    return made.mark(marker or mark_of(told or text))


def choice(
    options: dict[str, str], value: str, label: str, change: Handler | None = None
) -> ui.select:
    """A drop-down list: what stands behind each option, and its name."""
    made = ui.select(options, value=value, label=label, on_change=change).props("outlined dense")
    return made.classes("choice").mark(mark_of(label))


def area(label: str, value: str = "", *, rows: int = 3, hint: str = "") -> ui.textarea:
    """A field for a text of several lines, which grows with it."""
    made = ui.textarea(label=label or None, value=value, placeholder=hint or None)
    made.props(f'outlined autogrow input-style="min-height: {1.5 * rows}em"')
    made.props["aria-label"] = label or hint
    return made.classes("area").mark("field-" + mark_of(label or hint))


def rove(place: ui.element, columns: int = 1) -> None:
    """Make the elements in a place one stop of the Tab key, as their number makes sense: arrows go
    from each to the next, up and down by `columns`. The elements have `stop` as tabindex."""
    place.on("keydown", js_handler=ROVE % {"columns": columns})


def stop(number: int) -> str:
    """The tabindex of an element by its number: the first one is where the Tab key stops."""
    return "-1" if number else "0"


def mark_of(words: str) -> str:
    """What tests find an element by.

    >>> mark_of("Save the chat")
    'save-the-chat'
    """
    return "-".join(words.lower().split())


def bar(name: str, share: float, told: str = "", *, strong: bool = False) -> None:
    """A share from 0 to 1 with its name."""
    with ui.element("div").classes("bar" + (" strong" if strong else "")):
        Text("span", name, "name", dir="auto")
        with ui.element("span").classes("rail"):
            ui.element("span").classes("fill").style(f"width: {100 * max(0.0, share):.2f}%")
        Text("span", told or f"{share:.1%}", "value")


async def told(work: Awaitable[Any]) -> Any:
    """The result of some work; what the package refuses is shown to the person, and is None."""
    try:
        return await work
    except OwnlmError as error:
        refuse(error)
        return None


def refuse(error: OwnlmError) -> None:
    """Show why something cannot be done."""
    words = ": ".join(part for part in (error.where, error.what) if part)
    ui.notify(words, type="negative", position="top", multi_line=True, close_button="×")
