"""One request as it is answered: tokens are chosen from logits, become text, and end.

Nothing here knows of other requests, so that none can change what another is answered.

Shapes: V vocabulary, T tokens.
"""

import math
from collections.abc import Collection
from typing import Any, Protocol

from torch import Tensor

from ownlm.inference.beams import Written
from ownlm.inference.request import Alternative, Chosen, Event, Finish, Request
from ownlm.inference.sampling import Sampler, not_numbers
from ownlm.inference.stops import Stops
from ownlm.tokenization.tokenizer import Tokenizer

LEAST = -9999.0
"""Stands for the logarithm of a probability of 0, for which JSON has no number."""

HEARD = 64
"""Last tokens of a prompt that decide how the text behind it begins: half a character, a space."""


class Matcher(Protocol):
    """What a constraint has seen of a text."""

    def allowed(self) -> Tensor:
        """Which tokens may come next, booleans (V,)."""

    def take(self, token: int) -> None:
        """One came."""

    @property
    def complete(self) -> bool:
        """Whether nothing may follow."""


class Answer:
    """The state of one answer: what was said, and how it ended."""

    def __init__(
        self,
        request: Request,
        tokenizer: Tokenizer,
        most: int,
        matcher: Matcher | None = None,
        banned: Collection[int] = (),
    ) -> None:
        """`most` tokens there is room for; `banned` never come."""
        self.request, self.most = request, most
        self.matcher, self.banned = matcher, banned
        self.ends = frozenset() if request.ignore_end else request.ends
        if matcher is not None:
            self.ends |= {tokenizer.eos_id}  # with it a constraint says that nothing follows
        heard = () if request.source else request.prompt
        self.sampler = Sampler(request.sampling, heard)
        self.decoder, self.stops = tokenizer.stream(), Stops(request.stop)
        for token in heard[-HEARD:]:
            self.decoder.push(token)  # the first new piece then keeps its leading space
        self.count = 0
        """Tokens that were written."""
        self.finish: Finish = ""
        self.stopped_by: str | int | None = None
        self.prompt: list[Chosen | None] = [None]
        """What was found of the prompt, where that was asked."""
        self.begun = False
        """Whether the prompt was read."""
        self._said: list[Chosen] = []
        self._text: list[str] = []
        self._news: dict[str, Any] = {}
        """What the first event says besides."""

    def read_prompt(self, start: int, logits_TV: Tensor) -> None:
        """Logits after the prompt's tokens from position `start` on."""
        known, wanted = len(self.prompt) - 1, self.request.prompt_logprobs or 0
        followed = self.request.prompt[start + 1 :]
        logprobs = logits_TV[known - start : len(followed)].log_softmax(dim=-1)
        best = logprobs.topk(min(wanted, logprobs.shape[1]))
        tokens = self.request.prompt[known + 1 : known + 1 + len(logprobs)]
        tops = zip(best.indices.tolist(), best.values.tolist())
        for row_V, token, top in zip(logprobs, tokens, tops, strict=True):
            self.prompt.append(Chosen(token, _said(row_V[token]), _alternatives(*top)))

    def begin(self, cached: int) -> None:
        """The prompt was read, all but so many tokens that had been read before."""
        self.begun = True
        asked = self.request.prompt_logprobs is not None
        self._news = {"cached": cached, "prompt": tuple(self.prompt) if asked else ()}
        if self.most == 0:
            self.finish = "length"

    def hear(self, logits_V: Tensor, best: int, highest: float) -> int | None:
        """The next token; None when the text ends without one.

        `best` is the likeliest token and `highest` its logit. Raises NonFiniteError and
        ConfigError as Sampler does.
        """
        early = self.count < self.request.min_tokens
        if not math.isfinite(highest):
            raise not_numbers()
        if self.sampler.plain and self.matcher is None and not early and not self.banned:
            token = best
        else:
            allowed = None if self.matcher is None else self.matcher.allowed()
            banned = [*self.banned, *(self.ends if early and allowed is None else ())]
            token = self.sampler(logits_V, allowed, banned)
        if token in self.ends:
            self.finish, self.stopped_by = "stop", token
            return None
        self._take(self._chosen(token, logits_V))
        return token

    def say(self, written: Written) -> None:
        """All of a text that a search found."""
        for token in written.ids:
            if not self.finish:
                self._take(Chosen(token))
        if not self.finish:
            self.finish = "stop" if written.complete else "length"

    def event(self) -> Event:
        """What came since the last one."""
        if self.finish in ("stop", "length") and not isinstance(self.stopped_by, str):
            self._say(self.decoder.end())
            self._text.append(self.stops.end())
            if self.stops.found is not None:
                self.finish, self.stopped_by = "stop", self.stops.found
        text, said = "".join(self._text), tuple(self._said)
        made = Event(text, said, self.finish, self.stopped_by, **self._news)
        self._text, self._said, self._news = [], [], {}
        return made

    def _take(self, chosen: Chosen) -> None:
        token = chosen.token
        self.count += 1
        self._said.append(chosen)
        if self.matcher is not None:
            self.matcher.take(token)
        self._say(self.decoder.push(token))
        if self.stops.found is not None:
            self.finish, self.stopped_by = "stop", self.stops.found
        elif self.matcher is not None and self.matcher.complete:
            self.finish = "stop"
        elif self.count >= self.most:
            self.finish = "length"

    def _say(self, piece: str) -> None:
        if self.count <= self.request.min_tokens and self.request.min_tokens:
            self._text.append(piece)  # too early for a stop string
        elif piece:
            self._text.append(self.stops.push(piece))

    def _chosen(self, token: int, logits_V: Tensor) -> Chosen:
        wanted = self.request.logprobs
        if wanted is None:
            return Chosen(token)
        whole = logits_V.logsumexp(dim=-1)
        best = logits_V.topk(min(wanted, len(logits_V)))
        top = _alternatives(best.indices.tolist(), (best.values - whole).tolist())
        return Chosen(token, _said(logits_V[token] - whole), top)


def _alternatives(tokens: list[int], logprobs: list[float]) -> tuple[Alternative, ...]:
    pairs = zip(tokens, logprobs, strict=True)
    return tuple(Alternative(token, max(value, LEAST)) for token, value in pairs)


def _said(logprob: Tensor) -> float:
    return max(float(logprob), LEAST)
