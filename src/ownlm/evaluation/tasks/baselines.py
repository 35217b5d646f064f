"""What is reached without a language model: what a trained one must beat to be worth its cost.

Each learns from the training records alone and predicts for the test records, as a model does.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ownlm.data.tasks.predictions import Estimate, Extract, Prediction, Writing
from ownlm.data.tasks.records import Labelled, Parallel, Question, Record, Scored
from ownlm.evaluation.tasks.bags import latent, logistic, similarity
from ownlm.evaluation.tasks.embedded import partner
from ownlm.evaluation.tasks.sentences import best_sentence, lead
from ownlm.evaluation.tasks.usual import usual_labels, usual_tags
from ownlm.evaluation.tasks.written import is_summary

Found = dict[str, list[Prediction]]


def baselines(
    kind: str, train: Sequence[Record], test: Sequence[Record], labels: Sequence[str] = ()
) -> Found:
    """Predictions for the records of `test`, by the name of the baseline; none for chats.

    Raises ConfigError where scikit-learn is needed and missing.
    """
    build = BASELINES.get(kind)
    return build(train, test, labels) if build and train and test else {}


def _labelled(train: Sequence[Record], test: Sequence[Record], labels: Sequence[str]) -> Found:
    """The most frequent label, and logistic regression on words."""
    known = [one for one in train if isinstance(one, Labelled)]
    asked = [one for one in test if isinstance(one, Labelled)]
    found: Found = {"majority class": usual_labels(known, asked)}
    if len({one.labels for one in known}) > 1:
        found["bag of words"] = logistic(known, asked)
    return found


def _scored(train: Sequence[Record], test: Sequence[Record], labels: Sequence[str]) -> Found:
    """The mean, and a linear regression on how alike two texts are, or on their words."""
    known = [one for one in train if isinstance(one, Scored)]
    mean = float(np.mean([one.score for one in known]))
    regressed = similarity(known, [one for one in test if isinstance(one, Scored)])
    name = "word overlap" if known[0].pair is not None else "bag of words"
    return {"mean": [Estimate(mean) for _ in test], name: [*regressed]}


def _answers(train: Sequence[Record], test: Sequence[Record], labels: Sequence[str]) -> Found:
    """The sentence most like the question; and none, where some have none."""
    known = [one for one in train if isinstance(one, Question)]
    asked = [one for one in test if isinstance(one, Question)]
    found: Found = {"best sentence": best_sentence(known, asked)}
    if any(not one.answers for one in known):
        found["no answer"] = [Extract("") for _ in test]
    return found


def _parallel(train: Sequence[Record], test: Sequence[Record], labels: Sequence[str]) -> Found:
    """The source as it is; for summaries its beginning, as long as targets are."""
    known = [one for one in train if isinstance(one, Parallel)]
    asked = [one for one in test if isinstance(one, Parallel)]
    found: Found = {"copy": [Writing(one.source) for one in asked]}
    if is_summary(known):
        found = {"lead": lead(known, asked)} | found
    return found


def _embedded(train: Sequence[Record], test: Sequence[Record], labels: Sequence[str]) -> Found:
    """Words as vectors of fewer numbers."""
    pairs = [[(one.inputs.removesuffix(f"\n{partner(one)}"), partner(one)) for one in part]
             for part in (train, test)]  # fmt: skip
    return {"latent semantic analysis": latent(*pairs)}


BASELINES: dict[str, Callable[[Sequence[Record], Sequence[Record], Sequence[str]], Found]] = {
    "classify": _labelled,
    "pair": _labelled,
    "regress": _scored,
    "tag": usual_tags,
    "span": _answers,
    "seq2seq": _parallel,
    "embed": _embedded,
}
