"""Fill in the middle: the document is rearranged, nothing of it is lost, marks are not learned."""

import examples
import numpy as np
import pytest

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


def test_a_row_by_hand() -> None:
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
