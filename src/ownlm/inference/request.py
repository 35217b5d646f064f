"""What an engine is asked for, and what it answers. No torch here."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ownlm.inference.config import SamplingConfig

Finish = Literal["", "stop", "length", "cancelled", "error"]
ConstraintKind = Literal["json", "regex", "choice", "grammar"]


@dataclass(frozen=True)
class Constraint:
    """What a text must look like.

    Of kind "json" the text is a JSON schema (`{"type": "object"}`: any object), of "regex" an
    expression that all of the text matches, of "grammar" a Lark grammar whose first rule is
    `start`; of "choice" one of `choices` is written.
    """

    kind: ConstraintKind
    text: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One text to be written."""

    prompt: tuple[int, ...]
    """What is read first; of an encoder-decoder the ids that its decoder begins with."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    max_tokens: int = 200
    """Tokens to write at most; 0: the prompt is only read."""
    stop: tuple[str, ...] = ()
    """The text ends before any of these strings."""
    ends: frozenset[int] = frozenset()
    """Ids that end the text; they are not given out."""
    min_tokens: int = 0
    """Tokens to write before it may end."""
    ignore_end: bool = False
    """Whether `ends` are tokens like others."""
    logprobs: int | None = None
    """Alternatives to tell for each token; 0: the token's own probability only, None: not even
    that."""
    prompt_logprobs: int | None = None
    """The same for the prompt."""
    constraint: Constraint | None = None
    """What the text must look like."""
    source: tuple[int, ...] = ()
    """What an encoder-decoder reads."""
    beams: int = 1
    """Beginnings of the text that are kept at once; the best text comes as one event, when it is
    known. 1: token after token is chosen by `sampling`, which else is left as it is."""
    length_penalty: float = 1.0
    """With several beams a text's log-probability is divided by its length to this power."""
    no_repeat: int = 0
    """No so many tokens in a row come twice, which is searched for too; 0: they may."""

    @property
    def searches(self) -> bool:
        """Whether the text is searched for, and known only at its end."""
        return self.beams > 1 or self.no_repeat > 0


class Alternative(NamedTuple):
    """A token that could have come."""

    token: int
    logprob: float


class Chosen(NamedTuple):
    """A token that came.

    Log-probabilities are the model's own, in nats, before temperature, penalties and constraints.
    """

    token: int
    logprob: float = 0.0
    """0 where none was asked for."""
    top: tuple[Alternative, ...] = ()
    """The likeliest tokens, best first."""


class Event(NamedTuple):
    """What came of a request in one step."""

    text: str = ""
    """Complete characters; text that may be the beginning of a stop string comes later, so that
    it may belong to tokens of earlier events."""
    tokens: tuple[Chosen, ...] = ()
    """What was written, without the id that ended it."""
    finish: Finish = ""
    """Why this is the last event: an end or a stop string came, there was no more room
    ("length"), it was cancelled, or something went wrong; empty where more will come."""
    stopped_by: str | int | None = None
    """The stop string or id that ended it."""
    error: str = ""
    """What went wrong."""
    prompt: tuple[Chosen | None, ...] = ()
    """With `prompt_logprobs`, in the first event: each token of the prompt; None for the first
    one, which nothing predicts."""
    cached: int = 0
    """In the first event: tokens of the prompt that need not be read again."""

    def and_then(self, later: "Event") -> "Event":
        """This one and a later one of the same request as one."""
        return later._replace(
            text=self.text + later.text,
            tokens=self.tokens + later.tokens,
            prompt=self.prompt or later.prompt,
            cached=self.cached or later.cached,
        )
