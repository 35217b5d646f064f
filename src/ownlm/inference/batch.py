"""Many texts at once, greedily or by beam search, from decoders and encoder-decoders.

Texts of like length share a batch; one that is done leaves it. A neighbour changes nothing but
the order in which sums are rounded.

Shapes: N texts, R rows (one a text, or one a beam), V vocabulary, K candidates.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ownlm.inference.beams import Candidate, Search, Written
from ownlm.inference.candidates import Terms, candidates
from ownlm.inference.config import WritingConfig
from ownlm.inference.reading import Answering, Continuing, Ids, Reading, Writer
from ownlm.models.model import EncoderDecoder
from ownlm.objectives.tasks.write import Wanted

TEXTS = 64
"""Texts of a batch at most."""
TOKENS = 1 << 15
"""Tokens that the caches of a batch may grow to: 2.4 GB for GPT-2 in float32."""
SPARE = 8
"""A batch is made smaller once this part of it is done: to leave is to copy what stays."""


def generate(model: Any, prompts: Sequence[Ids], wanted: Wanted) -> list[Written]:
    """What tasks predict with (objectives.tasks.write.Generate)."""
    writer: Writer = (
        Answering(model, wanted.opening)
        if isinstance(model, EncoderDecoder)
        else Continuing(model.writer, both_ways=wanted.both_ways)
    )
    config = WritingConfig(beams=wanted.beams, max_tokens=max(wanted.limits, default=0))
    terms = Terms(config=config, ends=wanted.ends, vocab=wanted.vocab, banned=wanted.banned)
    return write(writer, prompts, terms, wanted.limits)


@torch.inference_mode()
def write(
    writer: Writer, prompts: Sequence[Ids], terms: Terms, limits: Sequence[int] = ()
) -> list[Written]:
    """What follows each prompt (of at least one id), in the order of the prompts; `limits` may
    bound each text by itself.

    Raises NonFiniteError when the model computes nonsense. A prompt that leaves no room in the
    context is followed by nothing, which is not complete.
    """
    found: dict[int, Written] = {}
    for numbers in batches([len(prompt) for prompt in prompts], terms.config):
        bounds = [limits[n] for n in numbers] if limits else ()
        texts = write_together(writer, [prompts[n] for n in numbers], terms, bounds)
        found |= dict(zip(numbers, texts, strict=True))
    return [found[n] for n in range(len(prompts))]


@torch.inference_mode()
def write_plainly(writer: Writer, prompt: Ids, terms: Terms) -> Written:
    """The reference: one text, one beam after the other, all read again for every token."""
    search = _search(writer, prompt, terms.config.max_tokens, terms)
    while not search.done:
        found = []
        for place, beam in enumerate(search.places):
            if beam is not None:
                scores_V = writer.whole(prompt, beam.ids).float().log_softmax(dim=-1) + beam.score
                for token in {*terms.banned, *search.forbidden(place)}:
                    scores_V[token] = -torch.inf
                scores = enumerate(scores_V[: terms.vocab].tolist())
                found += [Candidate(score, place, token) for token, score in scores]
        search.advance(sorted(found, reverse=True)[: search.wanted])
    return search.best


def batches(lengths: Sequence[int], config: WritingConfig) -> Iterator[list[int]]:
    """Numbers of prompts that are read together, the longest first."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        # The first is the longest: it says how long all rows of its batch may become.
        longest = lengths[batch[0]] + config.max_tokens if batch else 0
        if len(batch) == TEXTS or (len(batch) + 1) * config.beams * longest > TOKENS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def write_together(
    writer: Writer, prompts: Sequence[Ids], terms: Terms, limits: Sequence[int] = ()
) -> list[Written]:
    """One batch."""
    bounds = limits or [terms.config.max_tokens] * len(prompts)
    searches = [_search(writer, *one, terms) for one in zip(prompts, bounds, strict=True)]
    here = [n for n, search in enumerate(searches) if not search.done]
    if here:
        group = _Group(terms, [searches[n] for n in here])
        reading, logits_NV = writer.begin([prompts[n] for n in here])
        group.advance(logits_NV)
        group.spread(reading)
        while not group.done:
            group.leave(reading)
            group.advance(reading.read(group.next(logits_NV.device)))
            reading.move(group.moves)
    return [search.best for search in searches]


def _search(writer: Writer, prompt: Ids, bound: int, terms: Terms) -> Search:
    limit = min(bound, terms.config.max_tokens, writer.room(prompt))
    return Search(terms.config, terms.ends, limit, writer.before(prompt))


class _Group:
    """The searches of a batch; text n has the rows from n * beams on."""

    def __init__(self, terms: Terms, searches: Sequence[Search]) -> None:
        self.terms, self.searches = terms, list(searches)
        self.beams = terms.config.beams

    @property
    def done(self) -> bool:
        """Whether no text goes on."""
        return all(search.done for search in self.searches)

    @property
    def moves(self) -> list[tuple[int, int]]:
        """Of all texts, as rows."""
        return [
            (n * self.beams + to, n * self.beams + place)
            for n, search in enumerate(self.searches)
            if not search.done
            for to, place in search.moves
        ]

    def next(self, device: torch.device) -> Tensor:
        """The newest token of each row, (R, 1)."""
        ids = [token for search in self.searches for token in search.last]
        return torch.tensor(ids, device=device)[:, None]

    def advance(self, logits_RV: Tensor) -> None:
        """One step of every search; before the first one there is a row a text."""
        places = range(len(logits_RV) // len(self.searches))
        best = candidates(self.terms, self.searches, places, logits_RV.float())
        for search, found in zip(self.searches, best):
            if not search.done:
                search.advance(found)

    def spread(self, reading: Reading) -> None:
        """From a row a text to a row a beam."""
        if self.beams > 1 and not self.done:
            texts = torch.arange(len(self.searches), device=reading.model.device)
            reading.keep(texts.repeat_interleave(self.beams), texts)

    def leave(self, reading: Reading) -> None:
        """Let texts that are done go, once they are many, or once one has no place to read at."""
        stay = [n for n, search in enumerate(self.searches) if not search.done]
        steps = max(search.length for search in self.searches)
        full = any(search.done and steps >= search.limit for search in self.searches)
        if not full and (len(self.searches) - len(stay)) * SPARE < len(self.searches):
            return
        texts = torch.tensor(stay, device=reading.model.device)
        rows = texts[:, None] * self.beams + torch.arange(self.beams, device=texts.device)
        reading.keep(rows.flatten(), texts)
        self.searches = [self.searches[n] for n in stay]
