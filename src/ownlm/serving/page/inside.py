"""Looking into a model at work on one's own text: attention, logit lens, token probabilities."""

from collections.abc import Callable

from nicegui import ui

from ownlm.errors import ConfigError
from ownlm.inspection.attention_maps import attention_maps
from ownlm.inspection.given import Given, given
from ownlm.inspection.lens import logit_lens
from ownlm.inspection.token_scores import token_scores
from ownlm.inspection.ways import ways
from ownlm.models.model import EncoderDecoder
from ownlm.serving.page.attention import AttentionView
from ownlm.serving.page.frame import View
from ownlm.serving.page.lens import draw_lens
from ownlm.serving.page.parts import action, area, heading, note, rove, told
from ownlm.serving.page.tokens import PART, Shown, draw_alternatives, draw_scored, highlight, shown

MOST = 160
"""Tokens that are drawn of a text at most: a head's picture has their square."""
EXAMPLE = {
    "en": "The cat sat on the mat because it was tired.",
    "zh": "小猫趴在垫子上，因为它累了。",
}


class Inside:
    """One opened page."""

    def __init__(self, view: View) -> None:
        self.view, self.served, self.words = view, view.served, view.words
        self.model = view.served.lm.model

    def build(self, view: View) -> None:
        """The page: the text, then a tab for each way to look."""
        words, names = self.words, ways(self.served.lm)
        if not names:
            note(words("nothing"), "waiting")
            return
        self.text = area(words("text"), EXAMPLE[words.language], rows=2)
        self.other: ui.textarea | None = None
        self.chat: ui.switch | None = None
        if isinstance(self.model, EncoderDecoder):
            self.other = area(words("written"), rows=1)
        elif not self.model.architecture.stack.causal:
            self.other = area(words("second_hint"), rows=1)
        with ui.element("div").classes("row-tools"):
            self.go = action(words("look"), self.press, kind="main", marker="go")
            if self.served.lm.tokenizer.chat is not None and self.other is None:
                self.chat = ui.switch(words("as_chat"))
            self.busy = ui.spinner(size="sm")
        self.busy.visible = False
        with ui.tabs().props("no-caps align=left").classes("ways-to-look") as tabs:
            for name in names:
                ui.tab(name, words(name))
        with ui.tab_panels(tabs, value=names[0]).classes("looked-at").props("animated=false"):
            self.places = {}
            for name in names:
                with ui.tab_panel(name):
                    self.places[name] = ui.element("div")
        self.tabs = tabs
        tabs.on_value_change(lambda: self.press())
        ui.timer(0.1, self.press, once=True)

    def given(self) -> Given:
        """What the model reads of the fields."""
        text, other = str(self.text.value or ""), str(self.other.value or "") if self.other else ""
        lm = self.served.lm
        if isinstance(self.model, EncoderDecoder):
            return given(lm, text, written=other)
        if self.chat is not None and self.chat.value:
            return given(lm, [{"role": "user", "content": text}])
        return given(lm, text, other=other)

    async def press(self) -> None:
        """Look in the way of the tab that is open."""
        name = str(self.tabs.value)
        self.busy.visible = True
        self.go.disable()
        try:
            done = await told(self.served.alone(lambda: self._looked(name)))
        finally:
            self.busy.visible = False
            self.go.enable()
        if done is not None:
            place = self.places[name]
            place.clear()
            with place:
                done()

    def _looked(self, name: str) -> Callable[[], None]:
        """The work, in a thread; what it returns draws the result."""
        read = self.given()
        if (longest := max(len(read.reads), len(read.written))) > MOST:
            raise ConfigError(f"{longest} tokens: {MOST} can be drawn, take a part of the text")
        return LOOKS[name](self, read)

    def attention(self, read: Given) -> Callable[[], None]:
        """All heads, then one of them."""
        maps = attention_maps(self.served.lm, read)
        sides = {id: shown(self.served.lm.tokenizer, id) for id in (read.reads, read.written)}
        tokens = {"cross": (sides[read.written], sides[read.reads])} | {
            kind: (sides[ids], sides[ids])
            for kind, ids in (("self", read.reads), ("encoder", read.reads),
                              ("decoder", read.written))
        }  # fmt: skip
        pictured = AttentionView([(one, *tokens[one.kind]) for one in maps], self.words)
        return pictured.build

    def lens(self, read: Given) -> Callable[[], None]:
        """What each layer would say."""
        found = logit_lens(self.served.lm, read)
        return lambda: draw_lens(found, self.model, self.words)

    def probabilities(self, read: Given) -> Callable[[], None]:
        """How likely each token of the text is."""
        scored = token_scores(self.served.lm, read, top=8)
        ids = [one.token.id for one in scored]
        pieces = shown(self.served.lm.tokenizer, ids)
        tokens = [
            Shown(piece.id, piece.text, piece.control, one.logprob,
                  [(a.token.id, a.token.text or PART, a.logprob) for a in one.alternatives])
            for piece, one in zip(pieces, scored, strict=True)
        ]  # fmt: skip
        ranks = [one.rank for one in scored]
        return lambda: self._draw_scores(tokens, ranks)

    def _draw_scores(self, tokens: list[Shown], ranks: list[int]) -> None:
        def look(number: int) -> None:
            highlight(drawn, number)
            beside.clear()
            with beside:
                heading(tokens[number].text)
                if ranks[number]:
                    note(self.words("rank", rank=ranks[number]))
                draw_alternatives(tokens[number], None)

        with ui.element("div").classes("two"):
            with ui.element("section"):
                with ui.element("div").classes("tokens").props('dir="auto"') as place:
                    rove(place)
                    drawn = draw_scored(tokens, look)
                note(self.words("token_help"))
            beside = ui.element("aside").props("aria-live=polite")


Look = Callable[[Inside, Given], Callable[[], None]]
LOOKS: dict[str, Look] = {
    "attention": Inside.attention,
    "lens": Inside.lens,
    "probabilities": Inside.probabilities,
}
"""Ways to look, by the name of their tab."""
