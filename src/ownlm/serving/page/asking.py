"""From what a person sets to what the engine is asked for, and its events to text with tokens."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from nicegui import ui

from ownlm.errors import ConfigError
from ownlm.inference.config import SamplingConfig
from ownlm.inference.request import Chosen, Event, Request
from ownlm.models.model import EncoderDecoder
from ownlm.serving.page.going import Going
from ownlm.serving.page.parts import area
from ownlm.serving.page.words import Words

NUMBERS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
           "frequency_penalty")  # fmt: skip
WHOLE = ("top_k",)
STEPS = {"temperature": 0.1, "top_p": 0.05, "top_k": 10, "min_p": 0.01}
SEEDS = 1 << 31


@dataclass
class Settings:
    """What is written, and how."""

    values: dict[str, Any] = field(default_factory=lambda: {"temperature": 0.7, "top_p": 0.95})
    """Of SamplingConfig, but for the seed."""
    seed: int | None = None
    """None: another one each time."""
    max_tokens: int = 512
    system: str = ""
    stop: str = ""

    @property
    def sampling(self) -> SamplingConfig:
        """ConfigError for a value out of range."""
        seed = secrets.randbelow(SEEDS) if self.seed is None else int(self.seed)
        given = {name: value for name, value in self.values.items() if value is not None}
        for name in WHOLE:
            if name in given:
                given[name] = int(given[name])
        return SamplingConfig.parse({**given, "seed": seed}, "settings")

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings before which a text ends."""
        return tuple(line for line in self.stop.split("\n") if line)

    def panel(self, words: Words, *, system: bool = True) -> None:
        """Fields for all of it."""
        if system:
            area(words("system"), rows=3).bind_value(self, "system")
        standard = SamplingConfig()
        for name in NUMBERS:
            self.values.setdefault(name, getattr(standard, name))
            made = ui.number(words(name), step=STEPS.get(name, 0.1)).props("outlined dense")
            made.bind_value(self.values, name).mark(name)
        ui.number(words("max_tokens"), min=1, step=64).props("outlined dense").bind_value(
            self, "max_tokens"
        ).mark("max_tokens")
        ui.number(words("seed"), min=0).props("outlined dense").bind_value(self, "seed")
        area(words("stop_strings"), rows=1).bind_value(self, "stop")


def for_messages(served: Any, messages: Sequence[dict[str, str]], settings: Settings) -> Request:
    """The answer to a conversation. ConfigError or DataError for one that cannot be read."""
    ids = tuple(served.lm.prompt_ids([*messages]))
    return _request(served, ids, settings, ends=frozenset(served.lm.turn_ids))


def for_text(served: Any, text: str, settings: Settings) -> Request:
    """What follows a text, or of an encoder-decoder, what it writes to one; with alternatives."""
    ids = tuple(served.lm.prompt_ids(text))
    ends = frozenset(served.lm.stop_ids)
    if isinstance(served.lm.model, EncoderDecoder):
        opening = tuple(served.lm.frame.opening)
        return replace(_request(served, opening, settings, ends), source=ids, logprobs=10)
    return replace(_request(served, ids, settings, ends), logprobs=10)


def _request(
    served: Any, ids: tuple[int, ...], settings: Settings, ends: frozenset[int]
) -> Request:
    room = served.lm.model.context + 1 - len(ids)
    if room < 1:
        raise ConfigError(
            f"{len(ids)} tokens are more than the {served.lm.model.context} that the model reads"
        )
    return Request(
        prompt=ids,
        sampling=settings.sampling,
        max_tokens=max(1, min(int(settings.max_tokens or 1), room)),
        stop=settings.stops,
        ends=ends,
    )


@dataclass
class Written:
    """A text as it comes."""

    text: str = ""
    tokens: list[Chosen] = field(default_factory=list)
    finish: str = ""
    error: str = ""
    begun: float = field(default_factory=time.perf_counter)
    first: float = 0.0
    """Seconds to the first token."""
    last: float = 0.0

    def take(self, event: Event) -> None:
        """What came."""
        now = time.perf_counter() - self.begun
        if event.tokens and not self.tokens:
            self.first = now
        self.text += event.text
        self.tokens += event.tokens
        self.last, self.finish, self.error = now, event.finish, event.error

    def note(self, words: Words) -> str:
        """How fast, and how it ended."""
        if self.error:
            return self.error
        seconds = max(self.last - self.first, 1e-9)
        rate = max(0, len(self.tokens) - 1) / seconds
        said = words("speed", tokens=len(self.tokens), rate=rate, first=1000 * self.first)
        ended = {"length": words("cut"), "cancelled": words("cancelled")}.get(self.finish)
        return f"{said} · {ended}" if ended else said


async def writing(served: Any, request: Request, going: Going) -> AsyncIterator[Written]:
    """The text so far, after each event; ends, and the engine with it, when that is asked for."""
    so_far = Written()
    async with aclosing(served.service.stream(request)) as events:
        async for event in events:
            if going.gone:
                return
            so_far.take(event)
            if going.pressed and not so_far.finish:
                so_far.finish = "cancelled"
                yield so_far
                return
            yield so_far
