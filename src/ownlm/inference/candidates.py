"""Which tokens may follow the beginnings of texts, and which of them are best.

Shapes: R rows (one a beginning), V vocabulary, K candidates.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ownlm.inference.beams import Candidate, Search
from ownlm.inference.config import WritingConfig
from ownlm.inference.sampling import not_numbers


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What holds for all texts."""

    config: WritingConfig
    ends: Collection[int]
    """Ids that end a text."""
    vocab: int
    """Ids from here on are never written."""
    banned: Sequence[int] = field(default=())
    """Ids that are never written: padding."""


def candidates(
    terms: Terms, searches: Sequence[Search], places: Sequence[int], logits_RV: Tensor
) -> Iterator[list[Candidate]]:
    """The best of each text, best first. Logits, which are changed, follow each of its `places`,
    one text after the other.

    NonFiniteError when the model computes nonsense.
    """
    sums_R = logits_RV.logsumexp(dim=-1)
    if not bool(sums_R.isfinite().all()):
        raise not_numbers()
    _forbid(terms, searches, places, logits_RV)
    usable_RV = logits_RV[:, : terms.vocab]
    wanted = min(searches[0].wanted, usable_RV.shape[1])
    best_RK, tokens_RK = usable_RV.topk(wanted)
    before_R = [search.scores[place] for search in searches for place in places]
    best_RK += (torch.tensor(before_R, device=sums_R.device) - sums_R)[:, None]
    best, order = best_RK.view(len(searches), -1).topk(wanted)
    tokens = tokens_RK.view(len(searches), -1).gather(1, order)
    for scores, rows, ids in zip(best.tolist(), (order // wanted).tolist(), tokens.tolist()):
        yield [Candidate(score, places[row], id) for score, row, id in zip(scores, rows, ids)]


def _forbid(
    terms: Terms, searches: Sequence[Search], places: Sequence[int], logits_RV: Tensor
) -> None:
    """Make what may not come next minus infinity."""
    if terms.banned:
        logits_RV[:, list(terms.banned)] = -torch.inf
    if not (terms.config.min_tokens or terms.config.no_repeat):
        return
    rows = ((search, place) for search in searches for place in places)
    for logits_V, (search, place) in zip(logits_RV, rows, strict=True):
        if tokens := search.forbidden(place):
            logits_V[list(tokens)] = -torch.inf
