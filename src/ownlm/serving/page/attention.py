"""Attention drawn: all heads as small pictures, then one of them, weight by weight."""

from typing import Any

import numpy as np
import numpy.typing as npt
from nicegui import ui

from ownlm.inspection.attention_maps import AttentionMap
from ownlm.inspection.given import Piece
from ownlm.serving.page import charts
from ownlm.serving.page.markup import heat_picture
from ownlm.serving.page.parts import Text, bar, heading, note, rove, stop
from ownlm.serving.page.tokens import piece_classes, visible
from ownlm.serving.page.words import Words

MOST_HEADS = 400
"""Small pictures that are drawn at once; of larger models the layers in between are left out."""
Seen = tuple[AttentionMap, list[Piece], list[Piece]]
"""Weights, the tokens that read, the tokens that are read."""


class AttentionView:
    """The attention of a model to one text."""

    def __init__(self, maps: list[Seen], words: Words) -> None:
        self.maps, self.words = maps, words
        self.kind, self.layer, self.head, self.query = 0, 0, 0, 0
        weights = [one[0].weights.numpy() for one in maps]
        self.weights: list[npt.NDArray[np.float32]] = weights
        self.layers = [spread(len(one), one.shape[1]) for one in weights]
        self.pictures = [
            {(layer, head): heat_picture(picture)
             for layer in layers for head, picture in enumerate(one[layer])}
            for one, layers in zip(weights, self.layers, strict=True)
        ]  # fmt: skip
        """Painted here, in the thread that looked."""

    def build(self) -> None:
        """Overview and detail, side by side where there is room."""
        if len(self.maps) > 1:
            names = {n: self.words(seen[0].kind) for n, seen in enumerate(self.maps)}
            kinds = ui.toggle(names, value=self.kind, on_change=self._choose_kind)
            kinds.props("no-caps unelevated").mark("kind")
        with ui.element("div").classes("two attention-view"):
            with ui.element("section").classes("overview"):
                heading(self.words("heads"))
                note(self.words("heads_help"))
                self.grid = ui.element("div").classes("wide")
            self.detail = ui.element("section").classes("detail").props("aria-live=polite")
        self.layer = self.layers[self.kind][-1] // 2
        self._draw_grid()
        self._draw_detail()

    def _choose_kind(self, event: Any) -> None:
        self.kind, self.query, self.head = int(event.value), 0, 0
        self.layer = min(self.layer, len(self.weights[self.kind]) - 1)
        self._draw_grid()
        self._draw_detail()

    def _draw_grid(self) -> None:
        self.grid.clear()
        pictures, layers = self.pictures[self.kind], self.layers[self.kind]
        heads = self.weights[self.kind].shape[1]
        self.buttons: dict[tuple[int, int], ui.element] = {}
        with self.grid, ui.element("div").classes("heads").style(f"--heads: {heads}") as grid:
            rove(grid, heads)
            for layer in layers:
                Text("span", str(layer + 1), "layer")
                for head in range(heads):
                    name = self.words("head", layer=layer + 1, head=head + 1)
                    made = Text("button", "", "head", type="button", title=name, aria_label=name)
                    made.props["tabindex"] = stop(len(self.buttons))
                    made.style["background-image"] = f"url({pictures[layer, head]})"
                    made.on("click", lambda at=(layer, head): self._look(*at))
                    made.mark(f"head-{layer}-{head}")
                    self.buttons[layer, head] = made

    def _look(self, layer: int, head: int) -> None:
        self.layer, self.head = layer, head
        self._draw_detail()

    def _draw_detail(self) -> None:
        _, queries, keys = self.maps[self.kind]
        self._mark_chosen()
        weights = self.weights[self.kind][self.layer, self.head]
        self.detail.clear()
        with self.detail:
            heading(self.words("head", layer=self.layer + 1, head=self.head + 1))
            note(self.words("reads_help"))
            with ui.element("div").classes("tokens reading").props('dir="auto"') as text:
                rove(text)
                self.tokens = [self._token(n, piece) for n, piece in enumerate(queries)]
            self.reading = ui.element("div").classes("reads")
            options = charts.heatmap(queries, keys, weights, self.words)
            chart = ui.echart(options, on_point_click=lambda e: self._read(int(e.value[1])))
            chart.classes("heatmap").style(f"--rows: {len(queries)}")
        self._read(min(self.query or len(queries) - 1, len(queries) - 1))

    def _token(self, number: int, piece: Piece) -> Text:
        made = Text("button", visible(piece.text), piece_classes(piece), type="button")
        made.props["tabindex"] = stop(number)
        made.on("click", lambda: self._read(number))
        return made

    def _read(self, query: int) -> None:
        """What one token reads: on the text where both sides are one text, and as bars."""
        self.query = query
        seen, queries, keys = self.maps[self.kind]
        line = self.weights[self.kind][self.layer, self.head, query]
        for number, token in enumerate(self.tokens):
            share = float(line[number]) if seen.kind != "cross" else 0.0
            token.style(f"--share: {share**0.5:.3f}")
            token.classes(add="chosen") if number == query else token.classes(remove="chosen")
        self.reading.clear()
        with self.reading:
            heading(self.words("reads", token=queries[query].text.strip() or "␣"), 3)
            for key in np.argsort(-line, kind="stable")[:8]:
                bar(visible(keys[key].text), float(line[key]), f"{line[key]:.4f}")

    def _mark_chosen(self) -> None:
        for at, button in self.buttons.items():
            chosen = at == (self.layer, self.head)
            button.classes(add="chosen") if chosen else button.classes(remove="chosen")
            button.props["aria-pressed"] = str(chosen).lower()


def spread(layers: int, heads: int) -> list[int]:
    """The layers whose heads are drawn: all, or as many as there is room for, first and last
    among them.

    >>> spread(3, 4), len(spread(48, 25)), spread(48, 25)[-1]
    ([0, 1, 2], 16, 47)
    """
    most = max(2, MOST_HEADS // heads)
    if layers <= most:
        return [*range(layers)]
    return [round(n * (layers - 1) / (most - 1)) for n in range(most)]
