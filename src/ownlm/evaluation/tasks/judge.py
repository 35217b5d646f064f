"""Predictions against the truth: the one entrance for all kinds of task.

>>> found = judge("classify", test, predictions, labels)
>>> found.figures["accuracy"]
Figure(value=0.9911, low=0.984, high=0.9973)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ownlm import files
from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Record
from ownlm.errors import DataError
from ownlm.evaluation.report import EVALUATION
from ownlm.evaluation.tasks.answers import judge_answers
from ownlm.evaluation.tasks.case import Case
from ownlm.evaluation.tasks.embedded import judge_embedded
from ownlm.evaluation.tasks.figures import RESAMPLES, Draws, Figure, Floats, estimate
from ownlm.evaluation.tasks.judgement import Judgement, compared
from ownlm.evaluation.tasks.labelled import judge_labelled
from ownlm.evaluation.tasks.scored import judge_scored
from ownlm.evaluation.tasks.tagged import judge_tagged
from ownlm.evaluation.tasks.written import judge_written, missing

JUDGES: dict[str, Callable[[Case], Judgement]] = {
    "classify": judge_labelled, "pair": judge_labelled, "regress": judge_scored,
    "tag": judge_tagged, "span": judge_answers, "seq2seq": judge_written, "chat": judge_written,
    "embed": judge_embedded,
}  # fmt: skip
LIBRARIES = {
    "classify": ("sklearn",), "pair": ("sklearn",), "regress": ("sklearn",), "tag": (),
    "span": (), "seq2seq": ("sacrebleu", "rouge_score"), "chat": ("sacrebleu", "rouge_score"),
    "embed": ("sklearn",),
}  # fmt: skip
"""Modules of the extra `eval` that judging a kind and its baselines need."""
_PACKAGES = {"sklearn": "scikit-learn", "rouge_score": "rouge-score"}


def judge(
    kind: str,
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    labels: Sequence[str] = (),
    *,
    losses: Sequence[tuple[float, int]] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Judgement:
    """All figures of a kind of task, with intervals, and what was got wrong.

    `predictions` are one a record, in order. `losses` are, where known, the nats of each record
    and the tokens they are summed over, from which comes the perplexity. Judgements of the same
    records and seed share their resamples, so that they can be compared: `compared`.

    Raises DataError without records, and ConfigError where a library is missing: `require` says
    so before anything is trained.
    """
    assert len(records) == len(predictions), (len(records), len(predictions))
    if not records:
        raise DataError(
            "no records to judge on",
            next_command="keep some apart: --data.test 0.1, or name a file: --data.test-path",
        )
    draws = Draws(records, resamples, seed)
    found = JUDGES[kind](Case(kind, records, predictions, tuple(labels), draws))
    if losses:
        figures = found.figures | {"perplexity": perplexity(losses, draws)}
        found = replace(found, figures=figures)
    return found


def require(kind: str) -> None:
    """ConfigError, before the work, where a library that judging needs is not installed."""
    for module in LIBRARIES.get(kind, ()):
        if find_spec(module) is None:
            raise missing(_PACKAGES.get(module, module), "the evaluation of this task")


def perplexity(losses: Sequence[tuple[float, int]], draws: Draws) -> Figure:
    """exp of the nats a token, over all records together."""

    def reduce(sums: Floats) -> dict[str, Floats]:
        return {"": np.exp(np.minimum(sums[..., 0] / np.maximum(sums[..., 1], 1), 700.0))}

    return estimate(np.array(losses, np.float64), reduce, draws)[""]


def evaluation(judgement: Judgement, others: Mapping[str, Judgement]) -> dict[str, Any]:
    """Everything for JSON; of the others their figures, and how far the model lies above each."""
    against = {
        title: {
            "figures": {name: one.as_dict() for name, one in other.figures.items()},
            f"{judgement.headline}_above": apart.as_dict(),
        }
        for title, other in others.items()
        if (apart := compared(judgement, {title: other}).get(title))
    }
    return judgement.as_dict() | {"against": against}


def write_evaluation(folder: Path, judgement: Judgement, others: Mapping[str, Judgement]) -> Path:
    """Write `folder`/evaluation.json and return its path."""
    path = folder / EVALUATION
    files.write_json(path, _sound(evaluation(judgement, others)))
    return path


def _sound(value: Any) -> Any:
    """With null for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: _sound(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
