"""Texts as vectors: whether each finds the text it belongs to among those of all records.

Vectors are compared by their cosine. Partners with equal texts are one: to find either is right.
Where pairs have scores, the cosines are correlated with them instead.
"""

from collections.abc import Sequence

import numpy as np

from ownlm.data.tasks.predictions import Vector
from ownlm.data.tasks.records import Labelled, Parallel, Record, Scored
from ownlm.errors import DataError
from ownlm.evaluation.tasks.case import Case
from ownlm.evaluation.tasks.figures import Floats, mean
from ownlm.evaluation.tasks.judgement import MISTAKES, Judgement, Mistake, Outcomes
from ownlm.evaluation.tasks.labelled import lengths
from ownlm.evaluation.tasks.scored import correlations

_AT_ONCE = 512  # rows of similarities held in memory


def judge_embedded(case: Case) -> Judgement:
    """Pairs of texts, both as vectors: `Vector.values` and `Vector.pair`."""
    said = [one for one in case.predictions if isinstance(one, Vector)]
    if len(said) != len(case.records) or not all(len(one.pair) == len(one.values) for one in said):
        raise DataError("vectors are judged in pairs, and some have no partner")
    first = _unit(np.array([one.values for one in said], np.float64))
    second = _unit(np.array([one.pair for one in said], np.float64))
    cosine = (first * second).sum(axis=1)
    scores = [one.score for one in case.records if isinstance(one, Scored)]
    if len(scores) == len(said):
        due = np.array(scores, np.float64)
        return Judgement(
            kind=case.kind,
            records=len(said),
            drawn=case.draws.unit,
            figures=correlations(due, cosine, case.draws),
            outcomes=Outcomes(lengths(case), cosine, "cosine", expected=due, predicted=cosine),
        )
    return _found(case, first, second)


def partner(record: Record) -> str:
    """The second text of a record."""
    if isinstance(record, Parallel):
        return record.target
    assert isinstance(record, Labelled | Scored)
    return record.pair or ""


def _found(case: Case, first: Floats, second: Floats) -> Judgement:
    """How early each text's partner comes when all are sorted by their cosine to it."""
    partners = [partner(one) for one in case.records]
    rank, nearest, cosine = ranks(first, second, partners)
    figures = {
        "recall_1": mean((rank <= 1).astype(np.float64), case.draws),
        "recall_5": mean((rank <= 5).astype(np.float64), case.draws),
        "reciprocal_rank": mean(1 / rank, case.draws),
    }
    worst = sorted(np.flatnonzero(rank > 1).tolist(), key=lambda at: (-rank[at], at))
    mistakes = (
        Mistake(case.records[at], partners[at], partners[nearest[at]], None,
                f"partner comes {int(rank[at]):,}., cosine {cosine[at]:.2f}")
        for at in worst[:MISTAKES]
    )  # fmt: skip
    return Judgement(
        kind=case.kind,
        records=len(rank),
        drawn=case.draws.unit,
        figures=figures,
        mistakes=tuple(mistakes),
        wrong=len(worst),
        outcomes=Outcomes(lengths(case), 1 / rank, "reciprocal rank"),
        notes={"partner": f"looked for among those of all {len(rank):,} records, by cosine"},
    )


def ranks(
    first: Floats, second: Floats, partners: Sequence[str]
) -> tuple[Floats, list[int], Floats]:
    """(N,) Place of each partner from 1, which text came first, and the cosine of the pair."""
    _, same = np.unique(np.array(partners, dtype=object), return_inverse=True)
    rank, nearest, cosine = [], [], []
    for begin in range(0, len(first), _AT_ONCE):
        here = slice(begin, begin + _AT_ONCE)
        sims = first[here] @ second.T
        mine = same[here][:, None] == same[None, :]
        own = np.where(mine, sims, -np.inf).max(axis=1)
        rank.append(1.0 + (np.where(mine, -np.inf, sims) > own[:, None] + 1e-9).sum(axis=1))
        nearest += sims.argmax(axis=1).tolist()
        cosine.append(own)
    return np.concatenate(rank), nearest, np.concatenate(cosine)


def _unit(vectors: Floats) -> Floats:
    """Of length 1; what is zero stays so."""
    found: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found
