"""Vectors: partners found by cosine, and correlation where pairs have scores."""

from typing import Any

import numpy as np
import pytest

from ownlm.data.tasks.predictions import Vector
from ownlm.errors import DataError
from ownlm.evaluation.tasks import embedded
from ownlm.evaluation.tasks.baselines import baselines
from ownlm.evaluation.tasks.judge import judge


def test_partners_by_hand(make: Any) -> None:
    """The first finds its own; the second's comes after that of the third; the third finds both."""
    records = [make.parallel(f"s{n}", f"t{n}") for n in range(3)]
    first = [(1.0, 0.0), (0.0, 1.0), (0.0, 2.0)]
    second = [(3.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    said = [Vector(a, b) for a, b in zip(first, second, strict=True)]
    found = judge("embed", records, said)
    assert found.figures["recall_1"].value == pytest.approx(2 / 3)
    assert found.figures["recall_5"].value == 1.0
    assert found.figures["reciprocal_rank"].value == pytest.approx((1 + 1 / 2 + 1) / 3)
    (mistake,) = found.mistakes
    assert (mistake.expected, mistake.predicted) == ("t1", "t2")
    assert mistake.measure == "partner comes 2., cosine 0.71"


def test_either_of_two_equal_partners_is_right(make: Any) -> None:
    records = [make.parallel("s0", "same"), make.parallel("s1", "same")]
    said = [Vector((1.0, 0.0), (0.0, 1.0)), Vector((0.0, 1.0), (1.0, 0.0))]
    assert judge("embed", records, said).figures["recall_1"].value == 1.0


def test_parts_are_ranked_like_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 30, 4))
    names = [f"t{n % 25}" for n in range(30)]
    whole = embedded.ranks(first, second, names)
    monkeypatch.setattr(embedded, "_AT_ONCE", 7)
    parts = embedded.ranks(first, second, names)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_scores_are_correlated_with_cosines(make: Any) -> None:
    angles = np.linspace(0, 1.5, 20)
    records = [make.scored(float(-a), text=f"a{a}", pair=f"b{a}") for a in angles]
    said = [Vector((1.0, 0.0), (float(np.cos(a)), float(np.sin(a)))) for a in angles]
    found = judge("embed", records, said)
    assert found.figures["spearman"].value == pytest.approx(1.0)


def test_a_vector_without_a_partner_cannot_be_judged(make: Any) -> None:
    with pytest.raises(DataError, match="pairs"):
        judge("embed", [make.parallel("a", "b")], [Vector((1.0,))])


def test_the_baseline_finds_texts_by_their_words(make: Any) -> None:
    pytest.importorskip("sklearn")
    names = ["ann", "bob", "cid", "dora", "eve", "fred", "gus", "hal"]
    train = [make.parallel(f"{a} met {b}", f"{b} was met by {a}") for a in names for b in names]
    test = [make.parallel(f"{a} sang", f"the singer was {a}") for a in names]
    (said,) = baselines("embed", train, test).values()
    found = judge("embed", test, said)
    assert found.figures["recall_1"].value > 0.8
