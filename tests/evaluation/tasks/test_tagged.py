"""Tags: chunks counted as seqeval counts them; words with roles; parts of speech."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ownlm.data.tasks.predictions import Tagging
from ownlm.evaluation.tasks.judge import judge
from ownlm.evaluation.tasks.tagged import Chunk, chunks

Draw = Callable[[Sequence[str], int], list[str]]
TAGS = ["O", "O", "B-LOC", "I-LOC", "B-PER", "I-PER", "I-LOC"]


def sentences(drawn: Draw, count: int) -> list[list[str]]:
    tags = drawn(TAGS, count * 9)
    return [tags[at : at + 9] for at in range(0, len(tags), 9)]


def test_chunks_are_those_of_seqeval_for_any_tags(drawn: Draw) -> None:
    """I- after another type, after O and at the beginning is in these."""
    oracle = pytest.importorskip("seqeval.metrics.sequence_labeling")
    for tags in sentences(drawn, 200):
        assert chunks(tags) == [Chunk(*one) for one in oracle.get_entities(tags)]


def test_f1_is_that_of_seqeval(make: Any, drawn: Draw) -> None:
    oracle = pytest.importorskip("seqeval.metrics")
    due, noise = sentences(drawn, 150), sentences(drawn, 151)[:150]
    said = [[a if n % 4 else b for n, (a, b) in enumerate(zip(*two, strict=True))]
            for two in zip(due, noise, strict=True)]  # fmt: skip
    found = judge("tag", [make.tagged(x) for x in due], [Tagging(tuple(x)) for x in said])
    values = {name: one.value for name, one in found.figures.items()}
    assert values["span_f1"] == pytest.approx(oracle.f1_score(due, said))
    assert values["span_precision"] == pytest.approx(oracle.precision_score(due, said))
    assert values["span_recall"] == pytest.approx(oracle.recall_score(due, said))
    assert values["macro_f1"] == pytest.approx(oracle.f1_score(due, said, average="macro"))
    assert values["accuracy"] == pytest.approx(oracle.accuracy_score(due, said))
    assert set(found.classes) == {"LOC", "PER"}
    assert 0 < found.figures["span_f1"].low < values["span_f1"] < found.figures["span_f1"].high


def test_a_chunk_counts_only_whole(make: Any) -> None:
    """The control: one word too few is one chunk missed and one wrongly found."""
    found = judge("tag", [make.tagged(["B-X", "I-X", "O"])], [Tagging(("B-X", "O", "O"))])
    assert found.figures["span_f1"].value == 0.0
    assert found.figures["accuracy"].value == pytest.approx(2 / 3)


def test_roles_of_single_words_are_counted_without_those_that_bear_none(make: Any) -> None:
    """2 of 3 given roles right, 4 due: F1 4/7. The predicate's own mark is not counted."""
    due = ["ARG0", "V", "ARG1", "R-ARG0", "O", "ARGM-TMP", "O"]
    said = ["ARG0", "V", "ARG1", "O", "ARG0", "O", "O"]
    found = judge("tag", [make.tagged(due, predicate=1)], [Tagging(tuple(said))])
    assert found.headline == "micro_f1"
    assert found.figures["micro_f1"].value == pytest.approx(4 / 7)
    assert found.figures["precision"].value == pytest.approx(2 / 3)
    assert found.figures["recall"].value == pytest.approx(2 / 4)
    assert "V" not in found.classes and "R-ARG0" in found.classes


def test_parts_of_speech_are_judged_as_labels_of_words(make: Any, drawn: Draw) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    due, said = drawn(["NOUN", "VERB", "DET"], 90), drawn(["NOUN", "VERB"], 90)
    records = [make.tagged(due[at : at + 9]) for at in range(0, 90, 9)]
    given = [Tagging(tuple(said[at : at + 9])) for at in range(0, 90, 9)]
    found = judge("tag", records, given)
    assert found.headline == "accuracy"
    assert found.figures["accuracy"].value == pytest.approx(metrics.accuracy_score(due, said))
    expected = metrics.f1_score(due, said, average="macro")
    assert found.figures["macro_f1"].value == pytest.approx(expected)


def test_the_worst_sentence_comes_first_and_says_its_chunks(make: Any) -> None:
    fine = make.tagged(["O", "O"])
    poor = make.tagged(["B-LOC", "I-LOC", "O", "B-PER"], ["New", "York", "met", "Ann"])
    some = make.tagged(["B-LOC", "O"])
    given = [("O", "O"), ("O", "O", "B-LOC", "O"), ("O", "O")]
    found = judge("tag", [fine, poor, some], [Tagging(one, (0.5,) * len(one)) for one in given])
    first, second = found.mistakes
    assert first.record is poor and second.record is some
    assert first.expected == "New York [LOC]; Ann [PER]" and first.predicted == "met [LOC]"
    assert second.predicted == "(nothing)"
    assert found.calibration is not None
    assert found.figures["whole"].value == pytest.approx(1 / 3)
    assert np.isclose(sum(b.decisions for b in found.calibration.bins), 8)
