"""Classification: every measure as scikit-learn has it; calibration and mistakes by hand."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ownlm.data.tasks.predictions import Classified
from ownlm.errors import DataError
from ownlm.evaluation.tasks.calibration import calibrated
from ownlm.evaluation.tasks.judge import evaluation, judge, write_evaluation
from ownlm.evaluation.tasks.judgement import compared, verdicts, written

LABELS = ("a", "b", "c", "d")
Draw = Callable[[Sequence[str], int], list[str]]


def test_measures_are_those_of_scikit_learn(make: Any, drawn: Draw) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    due, noise = drawn("aaaabbc", 300), drawn("abcd", 301)[:300]
    said = [a if n % 3 else b for n, (a, b) in enumerate(zip(due, noise, strict=True))]
    found = judge("classify", [make.labelled(x) for x in due],
                  [Classified((x,)) for x in said], LABELS)  # fmt: skip
    values = {name: one.value for name, one in found.figures.items()}
    assert values["accuracy"] == pytest.approx(metrics.accuracy_score(due, said))
    for kind in ("macro", "micro"):
        expected = metrics.f1_score(due, said, average=kind)
        assert values[f"{kind}_f1"] == pytest.approx(expected)
    assert values["matthews"] == pytest.approx(metrics.matthews_corrcoef(due, said))
    parts = metrics.precision_recall_fscore_support(due, said, labels=LABELS, zero_division=0)
    for at, label in enumerate(LABELS):
        one = found.classes[label]
        mine = (one.precision.value, one.recall.value, one.f1.value)
        assert np.nan_to_num(mine) == pytest.approx([part[at] for part in parts[:3]])
        assert one.support == parts[3][at] and one.predicted == said.count(label)
    assert found.confusion is not None
    matrix = metrics.confusion_matrix(due, said, labels=LABELS)
    assert (found.confusion.counts == matrix).all()
    assert found.confusion.pairs()[0][0] == (matrix - np.diag(np.diag(matrix))).max()


def test_several_labels_a_text_are_judged_as_scikit_learn_does(make: Any, drawn: Draw) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    due = rng.random((200, 4)) < 0.4
    said = np.where(rng.random((200, 4)) < 0.2, ~due, due)

    def names(row: Any) -> tuple[str, ...]:
        return tuple(label for label, one in zip(LABELS, row, strict=True) if one)

    found = judge("classify", [make.labelled(*names(row)) for row in due],
                  [Classified(names(row)) for row in said], LABELS)  # fmt: skip
    values = {name: one.value for name, one in found.figures.items()}
    for kind in ("macro", "micro"):
        expected = metrics.f1_score(due, said, average=kind)
        assert values[f"{kind}_f1"] == pytest.approx(expected)
    assert values["exact"] == pytest.approx(metrics.accuracy_score(due, said))
    assert found.confusion is None and set(values) == {"micro_f1", "macro_f1", "exact"}


def test_an_interval_holds_what_a_plain_bootstrap_gives(make: Any, drawn: Draw) -> None:
    """Macro F1 of resamples taken one by one, with scikit-learn."""
    metrics = pytest.importorskip("sklearn.metrics")
    due, noise = drawn("abc", 120), drawn("abc", 121)[:120]
    said = [a if n % 2 else b for n, (a, b) in enumerate(zip(due, noise, strict=True))]
    found = judge("classify", [make.labelled(x) for x in due],
                  [Classified((x,)) for x in said], LABELS).figures["macro_f1"]  # fmt: skip
    rng = np.random.default_rng(7)
    plain = [
        metrics.f1_score(np.array(due)[at], np.array(said)[at], average="macro")
        for at in rng.integers(0, 120, (400, 120))
    ]
    low, high = np.quantile(plain, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_an_answer_that_is_no_label_is_wrong_and_shown_as_such(make: Any) -> None:
    records = [make.labelled(x) for x in "aab"]
    found = judge(
        "classify", records, [Classified(("a",)), Classified(("?",)), Classified(())], "ab"
    )
    assert found.figures["accuracy"].value == pytest.approx(1 / 3)
    assert found.confusion is not None and found.confusion.labels == ("a", "b", "(other)", "(none)")
    assert found.confusion.counts[:2].tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]


def test_calibration_by_hand() -> None:
    """Four decisions in (0.9, 1], three right; two in (0.5, 0.6], one right."""
    sure = np.array([0.95, 0.95, 0.95, 0.95, 0.6, 0.6])
    right = np.array([1, 1, 1, 0, 1, 0], np.float64)
    found = calibrated(sure, right)
    assert found.error == pytest.approx(4 / 6 * 0.20 + 2 / 6 * 0.10)
    assert [(b.low, b.decisions, b.accuracy) for b in found.bins] == [(0.5, 2, 0.5), (0.9, 4, 0.75)]


def test_brier_is_the_squared_distance_of_all_probabilities(make: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    given = np.array([0.9, 0.2, 0.6, 0.3])
    due = np.array([1, 0, 0, 1])
    predictions = [Classified(("b" if p > 0.5 else "a",), {"a": 1 - p, "b": p}) for p in given]
    found = judge("classify", [make.labelled("ab"[y]) for y in due], predictions, "ab")
    assert found.calibration is not None  # both labels count: twice the error of the one
    expected = 2 * metrics.brier_score_loss(due, given)
    assert found.calibration.brier == pytest.approx(expected)


def test_the_surest_mistakes_come_first(make: Any) -> None:
    records = [make.labelled("a") for _ in range(40)]
    sure = np.linspace(0.51, 0.99, 40)
    predictions = [Classified(("b",), {"a": 1 - p, "b": p}) for p in sure]
    found = judge("classify", records, predictions, "ab")
    assert found.wrong == 40 and len(found.mistakes) == 20
    first = found.mistakes[0]
    assert first.record is records[39] and first.confidence == pytest.approx(0.99)
    assert first.as_dict()["where"] == "made.tsv:40"
    assert (first.expected, first.predicted) == ("a", "b")


def test_a_model_is_compared_on_the_same_draws(make: Any, drawn: Draw, tmp_path: Any) -> None:
    due = drawn("ab", 200)
    records = [make.labelled(x) for x in due]
    good = [Classified((x,)) for x in due[:190]] + [Classified(("a",))] * 10
    model = judge("classify", records, good, "ab")
    same = judge("classify", records, good, "ab")
    poor = judge("classify", records, [Classified(("a",))] * 200, "ab")
    others = {"majority": poor, "itself": same}
    apart = compared(model, others)
    assert apart["majority"].low > 0 and (apart["itself"].low, apart["itself"].high) == (0, 0)
    lines = verdicts(model, others)
    assert "points above majority" in lines[0] and "the same as itself" in lines[1]
    assert "chance" in lines[1]
    path = write_evaluation(tmp_path, model, others)
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(evaluation(model, others)))
    assert stored["against"]["majority"]["accuracy_above"]["low"] > 0
    assert stored["figures"]["accuracy"]["value"] == model.figures["accuracy"].value


def test_without_records_there_is_nothing_to_judge() -> None:
    with pytest.raises(DataError, match="no records"):
        judge("classify", [], [])


def test_figures_are_written_for_people(make: Any) -> None:
    found = judge("classify", [make.labelled("a")] * 3, [Classified(("a",))] * 3, "ab")
    assert written("accuracy", found.figures["accuracy"]).startswith("100.00 % (")
    assert found.figures["matthews"].value == 0.0
