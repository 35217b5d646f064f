"""Conversations written by a chat template: as text, and as ids in which only the template's own
control tokens are control tokens."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ownlm.errors import DataError
from ownlm.tokenization.controls import Parts
from ownlm.tokenization.disguise import Disguises
from ownlm.tokenization.messages import with_text_arguments
from ownlm.tokenization.pieces import Pieces
from ownlm.tokenization.render import Limits, Rendered, Renderer

_TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")

Plain = list[dict[str, Any]]
"""Messages or tools that were checked."""


class Encoder(Protocol):
    """What a template needs of a tokenizer."""

    special: dict[str, int]
    settings: dict[str, Any]
    pieces: Pieces

    def encode_parts(self, batch: Sequence[Parts]) -> list[list[int]]:
        """Ids of texts with control tokens in them."""

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of ids."""


class Job(NamedTuple):
    """A conversation to be written, perhaps with the beginning of the next answer."""

    messages: Plain
    generate: bool


class Written(NamedTuple):
    """A conversation as the template writes it: text, and the ids of control tokens in it."""

    parts: list[str | int]
    ids: list[int]

    def after(self, prompt: "Written") -> list[str | int] | None:
        """The parts that follow `prompt`; None where this does not begin with it."""
        if not prompt.parts:
            return list(self.parts)
        *before, last = prompt.parts
        if self.parts[: len(before)] != before or len(self.parts) <= len(before):
            return None
        found, *rest = self.parts[len(before) :]
        if found == last:
            return rest
        if isinstance(last, int) or isinstance(found, int) or not found.startswith(last):
            return None
        return [found.removeprefix(last), *rest]

    def place(self, number: int) -> int:
        """Where in the ids control token `number` of the template is, counted from 0."""
        put = {part for part in self.parts if isinstance(part, int)}
        return [place for place, id in enumerate(self.ids) if id in put][number]

    @property
    def controls(self) -> int:
        """How many control tokens the template wrote."""
        return sum(isinstance(part, int) for part in self.parts)


class Writer:
    """A template, or one and another for conversations with tools, and a tokenizer."""

    def __init__(
        self,
        sources: tuple[str, str],
        tokenizer: Encoder,
        variables: Mapping[str, Any],
        now: datetime.datetime | None,
        limits: Limits | None,
    ) -> None:
        self.tokenizer, self._now = tokenizer, now
        self._variables = _token_names(tokenizer.settings) | {"documents": None, **variables}
        one = Renderer(sources[0], limits)
        self._renderers = one, one if sources[0] == sources[1] else Renderer(sources[1], limits)
        special, hidden = tokenizer.special, tokenizer.pieces.hidden
        self.markers = frozenset(id for id in special.values() if id not in hidden)
        """Control tokens that decoding shows, such as <think>."""
        markers = [name for name, id in special.items() if id in self.markers]
        self._disguises = Disguises(special, markers)

    def write(self, jobs: Sequence[Job], tools: Plain | None) -> list[Written]:
        """The conversations; DataError for what the template refuses."""
        if not jobs:
            return []
        asked = [
            self._variables
            | {"messages": job.messages, "tools": tools, "add_generation_prompt": job.generate}
            for job in jobs
        ]
        parts = self._parts(asked, self._renderers[bool(tools)])
        return [Written(*pair) for pair in zip(parts, self.tokenizer.encode_parts(parts))]

    def _parts(self, asked: list[dict[str, Any]], render: Renderer) -> list[list[str | int]]:
        now = self._now or datetime.datetime.now()
        asked, plain = _plainly(asked, render, now)
        found: list[list[str | int] | None] = [None] * len(asked)
        for disguised in zip(*map(self._disguises, asked)):
            left = [n for n, parts in enumerate(found) if parts is None]
            for n, dressed in zip(left, render([disguised[n] for n in left], now)):
                found[n] = self._told_apart(plain[n].text, dressed)
        return [_sound(parts) for parts in found]

    def _told_apart(self, plain: str, dressed: Rendered) -> list[str | int] | None:
        pieces = None if dressed.fault else self._disguises.split(plain, dressed.text)
        if pieces is None:
            return None
        special = self.tokenizer.special
        parts = [special[p] if place % 2 else p for place, p in enumerate(pieces)]
        return [part for part in parts if part != ""]


def _token_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """bos_token, eos_token, ... as tokenizer_config.json has them."""
    found = {}
    for key in (f"{role}_token" for role in _TOKENS):
        named = settings.get(key)
        named = named.get("content") if isinstance(named, dict) else named
        if isinstance(named, str):
            found[key] = named
    return found


def _plainly(
    asked: list[dict[str, Any]], render: Renderer, now: datetime.datetime
) -> tuple[list[dict[str, Any]], list[Rendered]]:
    """What the template writes, and of what: some join the arguments of a call as text."""
    found = render(asked, now)
    if any(rendered.fault for rendered in found):
        texts = [job | {"messages": with_text_arguments(job["messages"])} for job in asked]
        again = render(texts, now)
        if not any(rendered.fault for rendered in again):
            return texts, again
    for rendered, job in zip(found, asked):
        if rendered.fault:
            raise DataError(
                f"the chat template refuses this conversation: {rendered.fault:.300}",
                where=f"up to message {len(job['messages'])}",
            )
    return asked, found


def _sound(parts: list[str | int] | None) -> list[str | int]:
    if parts is None:
        raise DataError(
            "the chat template takes what is said for its own control text, so that the two "
            "cannot be told apart",
            next_command="leave out what spells control tokens, such as <tool_response>",
        )
    return parts
