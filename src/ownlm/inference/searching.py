"""A request that is answered by beam search, in an engine.

Shapes: P beginnings that go on, V vocabulary.
"""

from collections.abc import Collection

from torch import Tensor

from ownlm.inference.beams import Search, Written
from ownlm.inference.candidates import Terms, candidates
from ownlm.inference.config import WritingConfig
from ownlm.inference.request import Request


class Searching:
    """The search for what follows one prompt, from the prompt's end on; it may begin anew."""

    def __init__(self, request: Request, most: int, vocab: int, banned: Collection[int]) -> None:
        """`most` tokens there is room for, its end among them."""
        self.request, self.most = request, most
        self.terms = Terms(
            config=writing(request),
            ends=frozenset() if request.ignore_end else request.ends,
            vocab=vocab,
            banned=[*banned],
        )
        self.begin()

    def begin(self) -> None:
        """Nothing was written yet."""
        terms, prompt = self.terms, self.request.prompt
        self.search = Search(terms.config, terms.ends, self.most, prompt)

    def advance(self, logits_PV: Tensor) -> None:
        """One step; logits, which are changed, follow the beginnings that go on. Raises
        NonFiniteError."""
        places = [place for place, beam in enumerate(self.search.places) if beam is not None]
        (found,) = candidates(self.terms, [self.search], places, logits_PV)
        self.search.advance(found)

    @property
    def found(self) -> Written | None:
        """The best text, once the search is over."""
        return self.search.best if self.search.done else None

    @property
    def moves(self) -> list[tuple[int, int]]:
        """Places that take over the past of others."""
        return self.search.moves

    @property
    def following(self) -> dict[int, int]:
        """The token that each place reads next."""
        last = self.search.last
        return {n: last[n] for n, beam in enumerate(self.search.places) if beam is not None}


def writing(request: Request) -> WritingConfig:
    """The same as a configuration; ConfigError for values out of range."""
    names = ("beams", "length_penalty", "max_tokens", "min_tokens", "no_repeat")
    return WritingConfig.parse({name: getattr(request, name) for name in names}, "request")
