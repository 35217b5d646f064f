"""Beam search as a data structure: which beginnings of a text go on, and which are done.

Each text has `beams` places, one a row of the model's batch. A beginning stays in its place as
long as it goes on, so that of the cache only what is continued twice is ever copied:

    place   0: a b      1: a c      2: d e      3: d f
    best    a b x       a b y       d e x       a c z         d f has none and is dropped
    place   0: a b x    1: a c z    2: d e x    3: a b y      one move: row 0 to row 3

A finished text counts its log-probability over its length to the power of the length penalty,
the end included; the search ends when no beginning, at its present length, is better than the
worst of `beams` finished ones (transformers' rule, after Wu et al. 2016, arXiv:1609.08144,
section 7). With one beam it is greedy.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ownlm.inference.config import WritingConfig


class Beam(NamedTuple):
    """The beginning of a text."""

    ids: list[int]
    score: float
    """Its log-probability, in nats."""


class Candidate(NamedTuple):
    """A beginning with one more token."""

    score: float
    """The log-probability of all of it; minus infinity for what may not be."""
    place: int
    """Of the beginning."""
    token: int


class Written(NamedTuple):
    """A text as ids."""

    ids: list[int]
    """Without the token that ended it."""
    complete: bool
    """Whether the model ended it; else there was no room for more."""
    score: float
    """Its log-probability over its length to the power of the length penalty."""


class Search:
    """The search for one text."""

    def __init__(
        self,
        config: WritingConfig,
        ends: Collection[int],
        limit: int,
        before: Sequence[int] = (),
    ) -> None:
        """`ends` are the ids that end a text; `limit` is how many ids it may have with its end;
        what it must not repeat may also stand `before` it."""
        self.config, self.ends, self.limit, self.before = config, ends, limit, [*before]
        self.places: list[Beam | None] = [Beam([], 0.0)] + [None] * (config.beams - 1)
        """The beginnings that go on; None where there are fewer."""
        self.moves: list[tuple[int, int]] = []
        """What the last step asks of a cache: (place, the place whose past it takes over). No
        place is on both sides."""
        self.length, self.done = 0, limit <= 0
        self._finished: list[Written] = []

    @property
    def wanted(self) -> int:
        """How many candidates a step needs, so that enough go on whatever ends."""
        return max(2, 1 + len(self.ends)) * self.config.beams

    @property
    def last(self) -> list[int]:
        """The newest token of each place; 0 where there is none."""
        return [beam.ids[-1] if beam and beam.ids else 0 for beam in self.places]

    @property
    def scores(self) -> list[float]:
        """Of each place."""
        return [beam.score if beam else -math.inf for beam in self.places]

    @property
    def best(self) -> Written:
        """What was found."""
        if self._finished:
            return self._finished[0]
        beam = max((beam for beam in self.places if beam), key=lambda b: b.score)
        return self._written(beam, complete=False)

    def advance(self, candidates: Sequence[Candidate]) -> None:
        """One step: the `wanted` best candidates over all places, best first."""
        beams, live, before = self.config.beams, [], self.places
        self.length += 1
        for rank, (score, place, token) in enumerate(candidates):
            parent, ends = before[place], token in self.ends
            if parent is None or score == -math.inf:
                continue
            beam = Beam([*parent.ids, token], score)
            if not ends and self.length < self.limit:
                live.append((place, beam))
            elif rank < beams:
                self._finished.append(self._written(beam, complete=ends))
        live = live[:beams]
        self._finished = sorted(self._finished, key=lambda one: -one.score)[:beams]
        self.done = not live or self._cannot_improve(live[0][1])
        if live:
            self._settle(live)

    def forbidden(self, place: int) -> set[int]:
        """Tokens that may not come next."""
        beam, size = self.places[place], self.config.no_repeat
        found = set(self.ends) if self.length < self.config.min_tokens else set()
        return found | (repeated(self.before + beam.ids, size) if beam and size else set())

    def _written(self, beam: Beam, *, complete: bool) -> Written:
        share = beam.score / max(1, len(beam.ids)) ** self.config.length_penalty
        return Written(beam.ids[:-1] if complete else beam.ids, complete, share)

    def _cannot_improve(self, best: Beam) -> bool:
        if len(self._finished) < self.config.beams:
            return False
        reach = best.score / self.length**self.config.length_penalty
        return self.config.beams == 1 or reach <= self._finished[-1].score

    def _settle(self, live: list[tuple[int, Beam]]) -> None:
        """Every beginning keeps its place, a further one from there takes a place left free."""
        self.places, self.moves = [None] * len(self.places), []
        further = []
        for place, beam in live:
            if self.places[place] is None:
                self.places[place] = beam
            else:
                further.append((place, beam))
        free = [place for place, beam in enumerate(self.places) if beam is None]
        for to, (place, beam) in zip(free, further):
            self.places[to] = beam
            self.moves.append((to, place))


def repeated(ids: Sequence[int], size: int) -> set[int]:
    """Tokens after which the last `size` ids would stand in `ids` twice.

    >>> repeated([1, 2, 3, 1, 2], 3)
    {3}
    """
    last = list(ids[len(ids) - size + 1 :])
    if len(ids) < size:
        return set()
    starts = range(len(ids) - size + 1)
    return {ids[at + size - 1] for at in starts if list(ids[at : at + size - 1]) == last}
