"""Numbers for texts: correlation with the truth, and distance from it.

Pearson's is a function of sums and costs a product; for Spearman's the ranks are taken anew in
every resample, from the order of all values and how often each was drawn.
"""

import numpy as np

from ownlm.data.tasks.predictions import Estimate
from ownlm.data.tasks.records import Scored
from ownlm.evaluation.tasks.case import Case
from ownlm.evaluation.tasks.figures import Draws, Figure, Floats, estimate, figure, ratio
from ownlm.evaluation.tasks.judgement import MISTAKES, Judgement, Mistake, Outcomes
from ownlm.evaluation.tasks.labelled import lengths


def judge_scored(case: Case) -> Judgement:
    """Regression on texts and pairs."""
    due = np.array([one.score for one in case.records if isinstance(one, Scored)], np.float64)
    said = np.array([one.score for one in case.predictions if isinstance(one, Estimate)])
    assert len(due) == len(said) == len(case.records)
    distance = np.abs(said - due)
    found = correlations(due, said, case.draws) | distances(due, said, case.draws)
    return Judgement(
        kind=case.kind,
        records=len(due),
        drawn=case.draws.unit,
        figures=found,
        mistakes=_mistakes(case, distance),
        wrong=int((distance > 0).sum()),
        outcomes=Outcomes(
            lengths(case), distance, "mean absolute error", expected=due, predicted=said
        ),
    )


def correlations(due: Floats, said: Floats, draws: Draws) -> dict[str, Figure]:
    """Pearson's and Spearman's; not a number where one side does not vary."""
    x, y = _centred(due), _centred(said)  # small sums: nothing cancels
    table = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    found = estimate(table, lambda sums: {"pearson": _pearson(sums)}, draws)
    whole = np.ones((1, len(x)))
    resampled = np.concatenate([_spearman(weights, x, y) for weights in draws.weights()])
    return found | {"spearman": figure(float(_spearman(whole, x, y)[0]), resampled)}


def distances(due: Floats, said: Floats, draws: Draws) -> dict[str, Figure]:
    """Root mean square error and mean absolute error, in the units of the data."""
    apart = said - due
    table = np.stack([np.ones_like(apart), apart**2, np.abs(apart)], axis=1)
    return estimate(
        table,
        lambda sums: {
            "rmse": np.sqrt(ratio(sums[..., 1], sums[..., 0])),
            "mae": ratio(sums[..., 2], sums[..., 0]),
        },
        draws,
    )


def _pearson(sums: Floats) -> Floats:
    """From sums (..., 6) of 1, x, y, xx, yy, xy."""
    n, x, y, xx, yy, xy = (sums[..., at] for at in range(6))
    spread_x, spread_y = _spread(n * xx, x * x), _spread(n * yy, y * y)
    return ratio(n * xy - x * y, np.sqrt(spread_x * spread_y))


def _spread(squares: Floats, square: Floats) -> Floats:
    """The difference, 0 where it is rounding alone: there all values are one."""
    found: Floats = np.where(squares - square > 1e-12 * squares, squares - square, 0.0)
    return found


def _centred(values: Floats) -> Floats:
    """Less their mean: zeros where all are equal, whatever their mean is rounded to."""
    return values - values.mean() if np.ptp(values) else np.zeros_like(values)


def _spearman(weights: Floats, x: Floats, y: Floats) -> Floats:
    """(R,) for resamples in which each value was drawn (R, N) times."""
    a, b = _ranks(weights, x), _ranks(weights, y)
    n = weights.sum(axis=1, keepdims=True)
    a, b = a - (n + 1) / 2, b - (n + 1) / 2
    columns = (weights, weights * a, weights * b, weights * a * a, weights * b * b, weights * a * b)
    return _pearson(np.stack([one.sum(axis=1) for one in columns], axis=-1))


def _ranks(weights: Floats, values: Floats) -> Floats:
    """(R, N) Ranks from 1, those of equal values their mean."""
    distinct, of = np.unique(values, return_inverse=True)
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(len(distinct)))
    drawn = np.add.reduceat(weights[:, order], starts, axis=1)
    up_to = np.cumsum(drawn, axis=1)
    ranks: Floats = (up_to - (drawn - 1) / 2)[:, of]
    return ranks


def _mistakes(case: Case, distance: Floats) -> tuple[Mistake, ...]:
    worst = [at for at in np.argsort(-distance, kind="stable")[:MISTAKES] if distance[at] > 0]
    found = []
    for at in worst:
        record, said = case.records[at], case.predictions[at]
        assert isinstance(record, Scored) and isinstance(said, Estimate)
        texts = f"{record.score:g}", f"{said.score:.4g}"
        found.append(Mistake(record, *texts, None, f"off by {distance[at]:.3g}"))
    return tuple(found)
