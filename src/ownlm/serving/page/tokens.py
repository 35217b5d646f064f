"""Tokens on a page: as the model reads them, or coloured by how likely the model finds them."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from nicegui import ui

from ownlm.inspection.given import Piece
from ownlm.serving.page.parts import Text, bar, stop
from ownlm.tokenization.tokenizer import Tokenizer

PART = "▪"
"""Stands for a token that is only a part of a character."""


class Shown(NamedTuple):
    """A token as people see it."""

    id: int
    text: str
    control: bool
    logprob: float | None = None
    others: Sequence[tuple[int, str, float]] = ()
    """Id, text and log-probability of what could stand here."""


def shown(tokenizer: Tokenizer, ids: Iterable[int]) -> list[Piece]:
    """Tokens with the characters that each one completes: readable in any script."""
    stream = tokenizer.stream(skip_special=False)
    controls = {*tokenizer.special.values()}
    found = []
    for id in ids:
        text = stream.push(id)
        control = id in controls
        found.append(Piece(id, tokenizer.readable(id) if control else text or PART, control))
    return found


def piece_classes(piece: Piece) -> str:
    """How a token looks; a control token cannot be mistaken for text that spells it."""
    return "token control" if piece.control else "token"


def draw_prompt(pieces: Sequence[Piece]) -> None:
    """Tokens side by side as they are read."""
    with ui.element("div").classes("tokens prompt").props('dir="auto"'):
        for number, piece in enumerate(pieces):
            classes = piece_classes(piece) + (" odd" if number % 2 else "")
            Text("span", visible(piece.text), classes, title=f"{number}: id {piece.id}")


def visible(text: str) -> str:
    """Ends of lines can be seen, and still end the line."""
    return text.replace("\n", "↵\n")


def draw_scored(
    tokens: Sequence[Shown], choose: Callable[[int], Any], since: int = 0
) -> list[Text]:
    """Tokens from `since` on, coloured by probability; each tells it when pointed at, and can be
    chosen. The Tab key stops at the first one only: the place around them is to `rove`."""
    made = []
    for number, token in enumerate(tokens[since:], since):
        one = Text("span", visible(token.text), "token scored" + " control" * token.control)
        if token.logprob is not None:
            one.style(f"--surprise: {surprise(token.logprob):.3f}")
            one.props["data-tip"] = f"{math.exp(token.logprob):.2%}"
        one.props.update({"role": "button", "tabindex": stop(number), "aria-label": label(token)})
        for event in ("click", "keydown.enter", "keydown.space.prevent"):
            one.on(event, lambda number=number: choose(number))
        made.append(one.mark(f"token-{number}"))
    return made


def highlight(drawn: Sequence[Text], number: int) -> None:
    """Mark one of the tokens that were drawn."""
    for place, one in enumerate(drawn):
        one.classes(add="chosen") if place == number else one.classes(remove="chosen")


def label(token: Shown) -> str:
    """A token and its probability, to be read out."""
    share = "" if token.logprob is None else f", {math.exp(token.logprob):.1%}"
    return f"{token.text}{share}"


def surprise(logprob: float) -> float:
    """0 for a certain token, 1 for one of a ten-thousandth and less."""
    return min(1.0, -logprob / math.log(10_000))


def draw_alternatives(token: Shown, choose: Callable[[int], Any] | None) -> None:
    """What could stand at a place, likeliest first; with `choose` each is a button."""
    for id, text, logprob in token.others:
        share = math.exp(logprob)
        if choose is None:
            bar(visible(text), share, f"{share:.2%}", strong=id == token.id)
            continue
        row = ui.element("button").classes("alternative").props('type="button"')
        row.props["aria-label"] = f"{text}, {share:.1%}"
        row.on("click", lambda id=id: choose(id))
        with row.mark(f"alternative-{id}"):
            bar(visible(text), share, f"{share:.2%}", strong=id == token.id)
