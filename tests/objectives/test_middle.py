"""Fill in the middle: the document is rearranged, nothing of it is lost, marks are not learned."""

import examples
import numpy as np
import pytest
from examples import Draws, told

from ownlm.objectives.middle import FillInTheMiddle
from ownlm.objectives.objective import IGNORE


def middle(**options) -> FillInTheMiddle:
    return FillInTheMiddle(examples.facts(examples.bpe()), **options)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("spm", [0.0, 1.0])
def test_the_parts_are_the_document(seed: int, spm: float) -> None:
    objective = middle(spm=spm)
    text = np.arange(10, 60)
    made = objective.rearranged(np.append(text, objective.end), np.random.default_rng(seed))
    ids = made.tolist()
    a, b, c = (ids.index(x) for x in (objective.prefix, objective.suffix, objective.middle))
    assert a == 0 and a < b < c and ids[-1] == objective.end
    suffix, rest = ids[b + 1 : c], ids[c + 1 : -1]
    before = ids[1:b] + rest if spm == 0.0 else rest
    assert before + suffix == text.tolist()
    assert (spm == 1.0) is (b == 1 and a == 0) or not ids[1:b]


def test_rows_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 (11 12) 13 <end>, cut at 3 and 1, prefix first; 20 21 22 <end> as it is, 0.5 being no less
    than the rate; of 30 to 35 what is left of 14 places. In the other row 50 to 64, cut at 2 and
    12: the suffix 62 63 64 first, then the prefix 50 51 and the middle from 52 on."""
    told(monkeypatch, Draws(0.4, [3, 1], 0.5, 0.5, 0.9), Draws(0.1, [2, 12], 0.4))
    objective = middle()
    p, s, m, end = objective.prefix, objective.suffix, objective.middle, objective.end
    one = [10, 11, 12, 13, end, 20, 21, 22, end, 30, 31, 32, 33, 34, 35]
    numbers = np.array([[1] * 5 + [2] * 4 + [3] * 6, [1] * 15], np.int32)
    given = examples.Rows(np.array([one, range(50, 65)]), numbers, np.arange(2), None)
    batch, no = objective.collate(given, Draws(5)), IGNORE
    assert batch["inputs"].tolist() == [
        [p, 10, s, 13, m, 11, 12, 20, 21, 22, 30, 31, 32, 33],
        [p, s, 62, 63, 64, m, 50, 51, 52, 53, 54, 55, 56, 57],
    ]
    assert batch["targets"].tolist() == [
        [10, no, 13, no, 11, 12, end, 21, 22, end, 31, 32, 33, 34],
        [no, 62, 63, 64, no, 50, 51, 52, 53, 54, 55, 56, 57, 58],
    ]
    assert batch["mask"].tolist() == [[1] * 7 + [2] * 3 + [3] * 4, [1] * 14]


def test_marks_are_given_and_all_else_is_learned() -> None:
    objective = middle(rate=1.0)
    given = examples.rows(examples.bpe(), count=2, length=40, borders=(20,))
    batch = objective.collate(given, np.random.default_rng(0))
    marks = {objective.prefix, objective.suffix, objective.middle}
    for inputs, targets, numbers in zip(
        batch["inputs"].tolist(), batch["targets"].tolist(), batch["mask"].tolist(), strict=True
    ):
        assert set(numbers) == {1, 2} and marks <= set(inputs)
        for here in (1, 2):
            places = [i for i, n in enumerate(numbers) if n == here]
            for i in places[:-1]:
                wanted = IGNORE if inputs[i + 1] in marks else inputs[i + 1]
                assert targets[i] == wanted


def test_without_any_rearranged_it_is_next_token_prediction() -> None:
    objective = middle(rate=0.0)
    given = examples.rows(examples.bpe(), count=1, length=40)
    batch = objective.collate(given, np.random.default_rng(0))
    assert batch["inputs"][0].tolist() == given.tokens[0, :-1].tolist()
    assert batch["targets"][0].tolist() == given.tokens[0, 1:].tolist()
