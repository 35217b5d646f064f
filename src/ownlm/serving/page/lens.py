"""The logit lens drawn: a column a token, a row a layer, in each cell what would be said."""

from html import escape

from nicegui import ui

from ownlm.inspection.lens import Guess, Lens, decodes
from ownlm.models.model import Model
from ownlm.serving.page.parts import note, rove, stop
from ownlm.serving.page.tokens import visible
from ownlm.serving.page.words import Words


def draw_lens(lens: Lens, model: Model, words: Words) -> None:
    """A table, the last layer on top; a cell's first guesses show when it is pointed at."""
    note(words("lens_help"))
    after = words("after_token" if decodes(model) else "at_token")
    with ui.element("div").classes("wide") as place:
        rove(place, len(lens.tokens))
        ui.html(table(lens, after, words), sanitize=True)


def table(lens: Lens, after: str, words: Words) -> str:
    """The same as HTML: every text in it is escaped, and the browser purifies it again."""
    heads = "".join(f"<th scope='col' dir='auto'>{_text(one.text)}</th>" for one in lens.tokens)
    count = len(lens.layers)
    rows = [
        _row(_layer(number, words), lens.layers[number], number == count - 1)
        for number in reversed(range(count))
    ]
    corner = f"<th>{escape(after)} …</th>"
    return f"<table class='lens'><thead><tr>{corner}{heads}</tr></thead>{''.join(rows)}</table>"


def _row(name: str, places: list[list[Guess]], first: bool) -> str:
    cells = [cell(guesses, stop(place + (not first))) for place, guesses in enumerate(places)]
    return f"<tr><th scope='row'>{escape(name)}</th>{''.join(cells)}</tr>"


def cell(guesses: list[Guess], stops: str) -> str:
    """One cell: the likeliest token, and the others as its tip; `stops` is its tabindex."""
    best = guesses[0]
    lines = ((g.token.text.replace("\n", "↵"), g.probability) for g in guesses)
    tip = "\n".join(f"“{text}”  {share:.2%}" for text, share in lines)
    classes = "control" if best.token.control else ""
    return (
        f"<td tabindex='{stops}' class='{classes}' style='--heat: {best.probability:.3f}' "
        f"dir='auto' data-tip=\"{escape(tip)}\">{_text(best.token.text)}</td>"
    )


def _layer(number: int, words: Words) -> str:
    return words("layer", layer=number) if number else words("before")


def _text(text: str) -> str:
    return escape(visible(text).strip() or "␣")
