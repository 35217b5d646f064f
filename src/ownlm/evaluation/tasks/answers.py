"""Answers found in a context: exact match and F1 as SQuAD counts them (Rajpurkar 2016, 2018).

English is compared without case, punctuation, articles and double spaces. Where no spaces are
written, articles do not occur, all punctuation is left out, and a character counts as a word.
"""

import string
import unicodedata
from collections import Counter

import numpy as np

from ownlm.data.tasks.predictions import Extract
from ownlm.data.tasks.records import Question
from ownlm.evaluation.tasks.case import Case
from ownlm.evaluation.tasks.figures import Floats, Reduce, estimate, ratio
from ownlm.evaluation.tasks.judgement import MISTAKES, Judgement, Mistake, Outcomes
from ownlm.evaluation.tasks.labelled import lengths
from ownlm.evaluation.tasks.words import spaceless, words

ARTICLES = {"a", "an", "the"}
NOTHING = "(no answer)"


def judge_answers(case: Case) -> Judgement:
    """Questions, some of which may have no answer in their context."""
    table = np.zeros((len(case.records), 4))  # match, F1, answerable, 1
    for row, record, said in zip(table, case.records, case.predictions, strict=True):
        assert isinstance(record, Question) and isinstance(said, Extract)
        golds = [one.text for one in record.answers if normalised(one.text)] or [""]
        row[:] = (
            max(exact_match(said.text, gold) for gold in golds),
            max(overlap(said.text, gold) for gold in golds),
            bool(record.answers),
            1,
        )
    answered = table[:, 2]
    parted = np.concatenate([table, table[:, :2] * answered[:, None]], axis=1)
    mixed = 0 < answered.sum() < len(answered)
    return Judgement(
        kind=case.kind,
        records=len(table),
        drawn=case.draws.unit,
        figures=estimate(parted, _figures(mixed), case.draws),
        mistakes=_mistakes(case, table),
        wrong=int((table[:, 0] == 0).sum()),
        outcomes=Outcomes(lengths(case), table[:, 1], "F1 of words"),
        notes={"exact match and F1": "normalised as SQuAD 2.0; best of the answers given"},
    )


def normalised(text: str) -> list[str]:
    """The words that are compared.

    >>> normalised("The  Panthers' defense!")
    ['panthers', 'defense']
    """
    if spaceless([text]):
        kept = "".join(c for c in text if unicodedata.category(c)[0] != "P")
        return words(kept)
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return [one for one in bare.split() if one not in ARTICLES]


def exact_match(said: str, gold: str) -> float:
    """1 where both are the same but for what does not count, else 0."""
    return float(normalised(said) == normalised(gold))


def overlap(said: str, gold: str) -> float:
    """F1 of the words of both as bags; with one of them empty, whether both are."""
    given, due = normalised(said), normalised(gold)
    if not given or not due:
        return float(given == due)
    shared = (Counter(given) & Counter(due)).total()
    return 2 * shared / (len(given) + len(due))


def _figures(mixed: bool) -> Reduce:
    """Measures from sums of match, F1, answerable, 1, and of both where there is an answer."""

    def reduce(sums: Floats) -> dict[str, Floats]:
        match, f1, answerable, count, answered_match, answered_f1 = np.moveaxis(sums, -1, 0)
        found = {"exact_match": ratio(match, count), "f1": ratio(f1, count)}
        if mixed:
            found["answered_exact_match"] = ratio(answered_match, answerable)
            found["answered_f1"] = ratio(answered_f1, answerable)
            found["unanswered_accuracy"] = ratio(match - answered_match, count - answerable)
        return found

    return reduce


def _mistakes(case: Case, table: Floats) -> tuple[Mistake, ...]:
    """The lowest F1 first, and of equal ones that of which the model was surest."""
    found: list[tuple[tuple[float, float], Mistake]] = []
    for (match, f1, *_), record, said in zip(table, case.records, case.predictions, strict=True):
        if not match:
            assert isinstance(record, Question) and isinstance(said, Extract)
            due = " | ".join(dict.fromkeys(one.text for one in record.answers)) or NOTHING
            mistake = Mistake(record, due, said.text or NOTHING, None, f"F1 {f1:.2f}")
            found.append(((f1, -abs(said.score - said.none)), mistake))
    found.sort(key=lambda one: one[0])
    return tuple(mistake for _, mistake in found[:MISTAKES])
