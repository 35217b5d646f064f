"""Texts with labels: accuracy, F1 and Matthews' correlation from counts; what is taken for what.

Letters: N records, C labels.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ownlm.data.tasks.predictions import Classified
from ownlm.data.tasks.records import Labelled
from ownlm.evaluation.tasks.calibration import calibrated
from ownlm.evaluation.tasks.case import Case
from ownlm.evaluation.tasks.figures import Figure, Floats, estimate, ratio
from ownlm.evaluation.tasks.judgement import (
    MISTAKES,
    Calibration,
    ClassFigures,
    Confusion,
    Judgement,
    Mistake,
    Outcomes,
)

NONE, OTHER = "(none)", "(other)"
"""Of a confusion matrix: no label was given, or one that there is not."""
Sets = Sequence[tuple[str, ...]]


def judge_labelled(case: Case) -> Judgement:
    """Classification of texts and of pairs, with one label or any number a text."""
    expected = [one.labels for one in case.records if isinstance(one, Labelled)]
    said = [one for one in case.predictions if isinstance(one, Classified)]
    assert len(expected) == len(said) == len(case.records)
    predicted = [one.labels for one in said]
    several = any(len(one) != 1 for one in expected) or any(len(one) > 1 for one in predicted)
    labels = known(case.labels, expected)
    table = counts(expected, predicted, labels)
    found = estimate(table, partial(figures, labels=labels, several=several), case.draws)
    right = table[:, -2]
    return Judgement(
        kind=case.kind,
        records=len(said),
        drawn=case.draws.unit,
        figures={name: one for name, one in found.items() if ":" not in name},
        classes=classes(found, table.sum(axis=0), labels),
        confusion=None if several else confusion(expected, predicted, labels),
        calibration=_calibrated(expected, said, labels, several),
        mistakes=_mistakes(case, right),
        wrong=int((right == 0).sum()),
        outcomes=Outcomes(lengths(case), right, "share that is right"),
    )


def known(labels: Sequence[str], expected: Sets) -> tuple[str, ...]:
    """The labels stated, and any further ones that the records have."""
    further = {label for one in expected for label in one} - set(labels)
    return (*labels, *sorted(further))


def lengths(case: Case) -> Floats:
    """(N,) Characters of what a model reads."""
    return np.array([len(one.inputs) for one in case.records], np.float64)


def counts(expected: Sets, predicted: Sets, labels: Sequence[str]) -> Floats:
    """(N, 3 C + 2): hits, said and due of every label, whether all is right, 1."""
    size = len(labels)
    place = {label: at for at, label in enumerate(labels)}
    table = np.zeros((len(expected), 3 * size + 2))
    for row, due, said in zip(table, expected, predicted, strict=True):
        for label in {*due} & {*said}:
            row[place[label]] = 1
        for label in {*said} & place.keys():
            row[size + place[label]] = 1
        for label in {*due}:
            row[2 * size + place[label]] = 1
        row[-2:] = {*due} == {*said}, 1
    return table


def figures(sums: Floats, labels: Sequence[str], several: bool) -> dict[str, Floats]:
    """Measures from sums (..., 3 C + 2); those of one label are named 'f1:LABEL'."""
    size = len(labels)
    hits, said, due = (sums[..., at * size : (at + 1) * size] for at in range(3))
    f1 = ratio(2 * hits, said + due)  # undefined for a label that neither is nor was said
    micro = ratio(2 * hits.sum(-1), (said + due).sum(-1))
    macro = over_labels(f1)
    exact = ratio(sums[..., -2], sums[..., -1])
    if several:
        found = {"micro_f1": micro, "macro_f1": macro, "exact": exact}
    else:
        found = {"accuracy": exact, "macro_f1": macro, "micro_f1": micro}
        found["matthews"] = matthews(hits, said, due)
    return found | by_class(hits, said, due, f1, labels)


def by_class(
    hits: Floats, said: Floats, due: Floats, f1: Floats, labels: Sequence[str]
) -> dict[str, Floats]:
    """Precision, recall and F1 of each label, by 'MEASURE:LABEL'."""
    columns = {"precision": ratio(hits, said), "recall": ratio(hits, due), "f1": f1}
    return {
        f"{name}:{label}": column[..., at]
        for name, column in columns.items()
        for at, label in enumerate(labels)
    }


def classes(
    found: dict[str, Figure], sums: Floats, labels: Sequence[str]
) -> dict[str, ClassFigures]:
    """The figures of each label that is due or was said."""
    size = len(labels)
    return {
        label: ClassFigures(
            precision=found[f"precision:{label}"],
            recall=found[f"recall:{label}"],
            f1=found[f"f1:{label}"],
            support=int(sums[2 * size + at]),
            predicted=int(sums[size + at]),
        )
        for at, label in enumerate(labels)
        if sums[2 * size + at] or sums[size + at]
    }


def matthews(hits: Floats, said: Floats, due: Floats) -> Floats:
    """Matthews' correlation coefficient for any number of labels (Gorodkin 2004).

    0 where all texts are of one label or all were given one, as scikit-learn has it.
    """
    total = due.sum(-1)
    covariance = hits.sum(-1) * total - (said * due).sum(-1)
    spread = (total**2 - (said**2).sum(-1)) * (total**2 - (due**2).sum(-1))
    return np.nan_to_num(ratio(covariance, np.sqrt(np.maximum(spread, 0))))


def confusion(expected: Sets, predicted: Sets, labels: Sequence[str]) -> Confusion:
    """What single labels were taken for; columns for no label and a strange one if there are."""
    given = [one[0] if one else NONE for one in predicted]
    strange = {label for label in given if label not in labels and label != NONE}
    names = [*labels, *([OTHER] if strange else []), *([NONE] if NONE in given else [])]
    place = {label: at for at, label in enumerate(names)} | {one: len(labels) for one in strange}
    rows = [place[one[0]] for one in expected]
    matrix = np.zeros((len(names), len(names)), np.int64)
    np.add.at(matrix, (rows, [place[one] for one in given]), 1)
    return Confusion(tuple(names), matrix)


def over_labels(values: Floats) -> Floats:
    """The mean over the labels for which it is defined."""
    sound = np.isfinite(values)
    return ratio(np.where(sound, values, 0).sum(-1), sound.sum(-1))


def _calibrated(
    expected: Sets, said: Sequence[Classified], labels: Sequence[str], several: bool
) -> Calibration | None:
    """None where no probabilities were given."""
    if not all(one.probabilities for one in said) or not said:
        return None
    given = np.array([[one.probabilities.get(label, 0.0) for label in labels] for one in said])
    due = np.array([[label in one for label in labels] for one in expected], np.float64)
    if several:  # every label of every text is a decision of its own
        agrees = (given >= 0.5) == due.astype(bool)
        brier = float(((given - due) ** 2).mean())
        return calibrated(np.maximum(given, 1 - given).ravel(), agrees.ravel() * 1.0, brier)
    right = np.array([a == b.labels for a, b in zip(expected, said, strict=True)], np.float64)
    sure = np.array([confidence(one) for one in said], np.float64)
    return calibrated(sure, right, float(((given - due) ** 2).sum(axis=1).mean()))


def confidence(said: Classified) -> float:
    """The probability of what was said: of one label its own, of several that of all decisions."""
    if len(said.labels) == 1:
        return float(said.probabilities.get(said.labels[0], 0.0))
    certain = (p if label in said.labels else 1 - p for label, p in said.probabilities.items())
    return float(np.prod([*certain]))


def _mistakes(case: Case, right: Floats) -> tuple[Mistake, ...]:
    """Those that the model was surest of."""
    found = []
    for record, said, fine in zip(case.records, case.predictions, right, strict=True):
        if not fine:
            assert isinstance(record, Labelled) and isinstance(said, Classified)
            sure = confidence(said) if said.probabilities else None
            due, given = (", ".join(one.labels) or NONE for one in (record, said))
            found.append(Mistake(record, due, given, sure, "wrong"))
    found.sort(key=lambda one: -(one.confidence or 0.0))
    return tuple(found[:MISTAKES])
