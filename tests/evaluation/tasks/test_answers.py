"""SQuAD's exact match and F1: the official script's normalisation, answers and none."""

import re
import string
from collections import Counter
from typing import Any

import pytest

from ownlm.data.tasks.predictions import Extract
from ownlm.evaluation.tasks.answers import exact_match, normalised, overlap
from ownlm.evaluation.tasks.judge import judge


def official_words(text: str) -> list[str]:
    """normalize_answer of evaluate-v2.0.py, split as its get_tokens does."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    text = re.compile(r"\b(a|an|the)\b", re.UNICODE).sub(" ", text)
    return " ".join(text.split()).split()


def official_f1(gold: str, said: str) -> float:
    """compute_f1 of evaluate-v2.0.py."""
    due, given = official_words(gold), official_words(said)
    same = sum((Counter(due) & Counter(given)).values())
    if not due or not given:
        return float(due == given)
    if same == 0:
        return 0.0
    precision, recall = same / len(given), same / len(due)
    return 2 * precision * recall / (precision + recall)


TEXTS = [
    "The Panthers' defense", "panthers defense", "a  cat, an owl — the U.S.A.", "308", "the", "",
    "A", "Denver Broncos, the", "theatre and antic", "$4.50 (US)", "28.5°E", "the-end",
    "Déjà the vu",
]  # fmt: skip


@pytest.mark.parametrize("gold", TEXTS)
@pytest.mark.parametrize("said", TEXTS)
def test_measures_are_those_of_the_official_script(gold: str, said: str) -> None:
    assert normalised(gold) == official_words(gold)
    assert exact_match(said, gold) == float(official_words(said) == official_words(gold))
    assert overlap(said, gold) == pytest.approx(official_f1(gold, said))


def test_where_no_spaces_are_written_characters_count() -> None:
    assert normalised("《北京》，2008年。") == ["北", "京", "2008", "年"]
    assert exact_match("北京。", "北京") == 1.0
    assert overlap("北京市", "北京") == pytest.approx(2 * 2 / 5)


def test_the_best_of_several_answers_counts(make: Any) -> None:
    records = [make.question("308", "308 points"), make.question("blue")]
    found = judge("span", records, [Extract("308 points"), Extract("dark blue")])
    assert found.figures["exact_match"].value == 0.5
    assert found.figures["f1"].value == pytest.approx((1 + 2 / 3) / 2)
    assert found.wrong == 1 and found.mistakes[0].measure == "F1 0.67"


def test_questions_without_answers_are_reported_apart(make: Any) -> None:
    records = [make.question("x"), make.question("y"), make.question(), make.question()]
    said = [Extract("x"), Extract(""), Extract(""), Extract("z", 0, 3.0, -1.0)]
    found = judge("span", records, said)
    values = {name: one.value for name, one in found.figures.items()}
    assert values["exact_match"] == values["f1"] == 0.5
    assert values["answered_exact_match"] == values["answered_f1"] == 0.5
    assert values["unanswered_accuracy"] == 0.5
    shown = {(one.expected, one.predicted) for one in found.mistakes}
    assert shown == {("y", "(no answer)"), ("(no answer)", "z")}


def test_without_such_questions_there_is_no_such_figure(make: Any) -> None:
    found = judge("span", [make.question("x")], [Extract("x")])
    assert set(found.figures) == {"exact_match", "f1"}
