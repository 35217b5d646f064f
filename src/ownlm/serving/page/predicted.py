"""What models say of a text, drawn: bars of labels, coloured spans, a marked answer, likeness."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from nicegui import ui

from ownlm.data.tasks.predictions import Classified, Estimate, Extract, Tagging, Vector, Writing
from ownlm.inspection.fill import filled
from ownlm.inspection.token_scores import Alternative
from ownlm.serving.page.parts import Text, bar, heading, note
from ownlm.serving.page.tokens import visible
from ownlm.serving.page.words import Words

MOST_BARS = 30
MOST_PAIRS = 10


def labels(said: Classified) -> None:
    """A bar a label, likeliest first; those that were given stand out."""
    ranked = sorted(said.probabilities.items(), key=lambda item: -item[1])
    for label, share in ranked[:MOST_BARS]:
        bar(label, share, strong=label in said.labels)
    if not ranked:
        for label in said.labels:
            Text("p", label, "big", dir="auto")


def number(said: Estimate) -> None:
    """One large number."""
    Text("p", f"{said.score:.3g}", "big")


def text(said: Writing, words: Words) -> None:
    """What was written."""
    Text("div", said.text, "said", dir="auto")
    if not said.complete:
        note(words("cut"))


def tags(tokens: Sequence[str], said: Tagging, words: Words) -> None:
    """The text with its chunks coloured by kind."""
    chunks = [*_chunks(said.tags)]
    with ui.element("p").classes("spans").props('dir="auto"'):
        for start, end, kind in chunks:
            inside = " ".join(tokens[start:end])
            if start:
                Text("span", " ")
            if not kind:
                Text("span", inside)
                continue
            sure = said.probabilities[start:end]
            with ui.element("mark").classes("chunk").style(f"--hue: {hue(kind)}") as mark:
                Text("span", inside)
                Text("small", kind)
            if sure:
                mark.props["data-tip"] = f"{kind}: {min(sure):.1%}"
                mark.props["tabindex"] = "0"
    if not any(kind for _, _, kind in chunks):
        note(words("no_tags"))


def _chunks(found: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """First word, end and kind of each chunk, and of the words between them (kind "")."""
    start = 0
    for place in range(1, len(found) + 1):
        kind = kind_of(found[start])
        goes_on = (
            place < len(found)
            and kind_of(found[place]) == kind
            and (not kind or not found[place].startswith("B-"))
        )
        if not goes_on:
            yield start, place, kind
            start = place


def kind_of(tag: str) -> str:
    """The kind of a chunk's tag; empty for O.

    >>> kind_of("B-person"), kind_of("NOUN"), kind_of("O")
    ('person', 'NOUN', '')
    """
    return "" if tag == "O" else tag[2:] if tag[:2] in ("B-", "I-") else tag


def hue(kind: str) -> int:
    """A colour that a kind always has, as an angle."""
    return zlib.crc32(kind.encode()) * 47 % 360


def span(context: str, said: Extract, words: Words) -> None:
    """The answer, and where it stands."""
    if not said.text:
        note(words("no_answer"))
        return
    Text("p", said.text, "big", dir="auto")
    begin = said.start
    end = begin + len(said.text)
    with ui.element("p").classes("spans context").props('dir="auto"'):
        if begin >= 0 and context[begin:end] == said.text:
            Text("span", context[:begin])
            Text("mark", said.text, "answer")
            Text("span", context[end:])
        else:
            Text("span", context)


def gaps(said: str, guesses: Sequence[Sequence[Alternative]], words: Words) -> None:
    """The text with the likeliest words in its gaps, then what else each could hold."""
    best = [found[0].token.text.strip() for found in guesses]
    Text("p", filled(said, best), "big", dir="auto")
    for number, found in enumerate(guesses, 1):
        if len(guesses) > 1:
            heading(words("gap", number=number), 3)
        for place, one in enumerate(found):
            share = one.probability
            bar(visible(one.token.text), share, f"{share:.2%}", strong=place == 0)


def similarities(texts: Sequence[str], vectors: Sequence[Vector], words: Words) -> None:
    """How alike texts are: the nearest pairs, and all of them as a table of cosines."""
    points = np.array([one.values for one in vectors])
    points = points / np.linalg.norm(points, axis=1, keepdims=True).clip(1e-12)
    cosines = points @ points.T
    first, second = np.triu_indices(len(texts), 1)
    order = np.argsort(-cosines[first, second], kind="stable")[:MOST_PAIRS]
    heading(words("nearest"), 3)
    with ui.element("div").classes("pairs"):
        for at in order:
            a, b = int(first[at]), int(second[at])
            bar(f"{texts[a]}\n{texts[b]}", float(cosines[a, b]), f"{cosines[a, b]:.3f}")
    with ui.element("div").classes("wide"), ui.element("table").classes("cosines"):
        with ui.element("tr"):
            Text("td")
            for number in range(len(texts)):
                Text("th", str(number + 1), scope="col")
        for row, line in enumerate(texts):
            with ui.element("tr"):
                Text("th", f"{row + 1}  {line}", "line", scope="row", dir="auto")
                for value in cosines[row]:
                    cell = Text("td", f"{value:.2f}")
                    cell.style(f"--heat: {max(0.0, float(value)):.3f}")
