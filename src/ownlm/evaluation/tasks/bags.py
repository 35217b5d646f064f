"""Baselines that weigh words: logistic regression, and regression on how alike two texts are.

scikit-learn's, as everybody would try them first: TF-IDF of words and pairs of words, of single
characters to groups of three where no spaces are written; logistic regression with C = 10.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ownlm.data.tasks.predictions import Classified, Estimate, Prediction, Vector
from ownlm.data.tasks.records import Labelled, Scored
from ownlm.evaluation.tasks.figures import Floats
from ownlm.evaluation.tasks.words import spaceless, words
from ownlm.evaluation.tasks.written import missing

MOST_FEATURES = 300_000
DIRECTIONS = 256
"""Numbers that latent semantic analysis keeps of a text."""
STRENGTH = 10.0
"""Inverse of the penalty: TF-IDF is small, so the usual 1 fits too little."""


def logistic(train: Sequence[Labelled], test: Sequence[Labelled]) -> list[Prediction]:
    """Logistic regression; for several labels a text, one for each label."""
    seen, asked = _features(train, test)
    if all(len(one.labels) == 1 for one in train):
        model = _linear_model().LogisticRegression(C=STRENGTH, max_iter=2_000)
        model.fit(seen, [one.labels[0] for one in train])
        names = [str(one) for one in model.classes_]
        given = model.predict_proba(asked)
        return [Classified((names[int(row.argmax())],), _named(names, row)) for row in given]
    names = sorted({label for one in train for label in one.labels})
    given = np.stack([_one_label(name, train, seen, asked) for name in names], axis=1)
    return [
        Classified(tuple(n for n, p in sure.items() if p >= 0.5), sure)
        for sure in (_named(names, row) for row in given)
    ]


def similarity(train: Sequence[Scored], test: Sequence[Scored]) -> list[Prediction]:
    """Least squares on the overlap of two texts; of single texts, ridge on their words."""
    due = np.array([one.score for one in train], np.float64)
    if train[0].pair is None:
        seen, asked = _features(train, test)
        model = _linear_model().Ridge(alpha=1.0).fit(seen, due)
        found = model.predict(asked)
    else:
        left, right = (np.array([_alike(one) for one in part]) for part in (train, test))
        weights, *_ = np.linalg.lstsq(left, due, rcond=None)
        found = right @ weights
    return [Estimate(float(one)) for one in np.clip(found, due.min(), due.max())]


def latent(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> list[Prediction]:
    """TF-IDF of both texts in the directions in which training texts differ most.

    Latent semantic analysis (Deerwester 1990): what stands in similar texts becomes similar.
    """
    try:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise missing("scikit-learn", "the baseline") from None
    known = [text for pair in train for text in pair]
    by_character = spaceless(known)
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: _grams(text, by_character),
        sublinear_tf=True,
        max_features=MOST_FEATURES,
    )
    seen = vectorizer.fit_transform(known)
    fewer = TruncatedSVD(max(1, min(DIRECTIONS, min(seen.shape) - 1)), random_state=0).fit(seen)
    first, second = (
        fewer.transform(vectorizer.transform([pair[side] for pair in test])) for side in (0, 1)
    )
    return [Vector(tuple(a), tuple(b)) for a, b in zip(first.tolist(), second.tolist())]


def grams(record: Labelled | Scored, by_character: bool) -> list[str]:
    """Features of a record: its n-grams, and of a pair those of each text and those of both."""
    first = _grams(record.text, by_character)
    if record.pair is None:
        return first
    second = _grams(record.pair, by_character)
    shared = {*first} & {*second}
    return [
        *(f"1:{gram}" for gram in first),
        *(f"2:{gram}" for gram in second),
        *(f"both:{gram}" for gram in sorted(shared)),
    ]


def _grams(text: str, by_character: bool) -> list[str]:
    if by_character:
        flat = " ".join(text.lower().split())
        return [flat[at : at + n] for n in (1, 2, 3) for at in range(len(flat) - n + 1)]
    found = words(text)
    return found + [f"{a} {b}" for a, b in pairwise(found)]


def _features(
    train: Sequence[Labelled | Scored], test: Sequence[Labelled | Scored]
) -> tuple[Any, Any]:
    """Sparse TF-IDF of both, weighed by the training texts alone."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise missing("scikit-learn", "the baseline") from None
    by_character = spaceless(one.text for one in train)
    vectorizer = TfidfVectorizer(
        analyzer=lambda record: grams(record, by_character),
        sublinear_tf=True,
        max_features=MOST_FEATURES,
    )
    return vectorizer.fit_transform(train), vectorizer.transform(test)


def _linear_model() -> Any:
    try:
        import sklearn.linear_model
    except ImportError:
        raise missing("scikit-learn", "the baseline") from None
    return sklearn.linear_model


def _one_label(name: str, train: Sequence[Labelled], seen: Any, asked: Any) -> Floats:
    """The probability of a label for each text; a label of all texts or none is not learned."""
    due = np.array([name in one.labels for one in train])
    if due.all() or not due.any():
        return np.full(asked.shape[0], float(due.all()))
    model = _linear_model().LogisticRegression(C=STRENGTH, max_iter=2_000).fit(seen, due)
    found: Floats = model.predict_proba(asked)[:, 1]
    return found


def _alike(record: Scored) -> list[float]:
    """1, and how much two texts share: of all words, of the shorter, of letters, in length."""
    first, second = {*words(record.text)}, {*words(record.pair or "")}
    one, other = ({*_grams(text, True)} for text in (record.text, record.pair or ""))
    lengths = sorted((len(record.text), len(record.pair or "")))
    return [
        1.0,
        _share(len(first & second), len(first | second)),
        _share(len(first & second), min(len(first), len(second))),
        _share(len(one & other), len(one | other)),
        _share(lengths[0], lengths[1]),
    ]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _named(names: Sequence[str], row: Floats) -> dict[str, float]:
    return {name: float(one) for name, one in zip(names, row, strict=True)}
