"""The logit lens drawn: a column a token, a row a layer, in each cell what would be said."""

from html import escape

from nicegui import ui

from ownlm.inspection.lens import Guess, Lens, decodes
from ownlm.models.model import Model
from ownlm.serving.page.parts import note
from ownlm.serving.page.tokens import visible
from ownlm.serving.page.words import Words


def draw_lens(lens: Lens, model: Model, words: Words) -> None:
    """A table, the last layer on top; a cell's first guesses show when it is pointed at."""
    note(words("lens_help"))
    after = words("after_token" if decodes(model) else "at_token")
    with ui.element("div").classes("wide"):
        ui.html(table(lens, after, words), sanitize=True)


def table(lens: Lens, after: str, words: Words) -> str:
    """The same as HTML: every text in it is escaped, and the browser purifies it again."""
    heads = "".join(f"<th scope='col' dir='auto'>{_text(one.text)}</th>" for one in lens.tokens)
    count = len(lens.layers)
    rows = [
        f"<tr><th scope='row'>{escape(_layer(number, words))}</th>"
        + "".join(cell(place) for place in lens.layers[number])
        + "</tr>"
        for number in reversed(range(count))
    ]
    corner = f"<th>{escape(after)} …</th>"
    return f"<table class='lens'><thead><tr>{corner}{heads}</tr></thead>{''.join(rows)}</table>"


def cell(guesses: list[Guess]) -> str:
    """One cell: the likeliest token, and the others as its tip."""
    best = guesses[0]
    tip = "\n".join(f"{g.token.text!r}  {g.probability:.2%}" for g in guesses)
    classes = "control" if best.token.control else ""
    return (
        f"<td tabindex='0' class='{classes}' style='--heat: {best.probability:.3f}' dir='auto' "
        f'data-tip="{escape(tip)}">{_text(best.token.text)}</td>'
    )


def _layer(number: int, words: Words) -> str:
    return words("layer", layer=number) if number else words("before")


def _text(text: str) -> str:
    return escape(visible(text).strip() or "␣")
