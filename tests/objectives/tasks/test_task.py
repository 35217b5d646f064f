"""What all tasks have in common: sequences that share rows learn and predict as if alone."""

import copy

import pytest
import torch
from task_cases import RECORDS, RNG, apart, learned, made

from ownlm.data.encoded import examples
from ownlm.objectives.objective import Batch
from ownlm.objectives.tasks.task import Task, encode_all

FAMILIES = (
    "bert", "roberta", "distilbert", "electra", "modernbert", "xlnet", "gpt2", "llama", "t5", "bart"
)  # fmt: skip
ABLE = [
    (family, kind)
    for family in FAMILIES
    for kind in ("classify", "pair", "regress", "tag", "span")
    if (family, kind) != ("bart", "tag")
]


def alone(task: Task) -> Task:
    found = copy.copy(task)
    found.packs = False
    return found


@pytest.mark.parametrize(("family", "kind"), ABLE)
def test_packed_sequences_learn_as_one_a_row_and_as_each_alone(family: str, kind: str) -> None:
    """Losses, counts and gradients, in float64."""
    task, model = made(family, kind)
    encoded = encode_all(task, RECORDS[kind])
    packed, separate = (t.collate(examples(encoded), RNG) for t in (task, alone(task)))
    assert len(packed["inputs"]) < len(separate["inputs"]) == len(encoded)
    loss, gradients = learned(task, model, encoded)
    padded, same = learned(alone(task), model, encoded)
    assert float(loss.total) == pytest.approx(float(padded.total), rel=1e-6)
    assert float(loss.count) == float(padded.count)
    assert apart(gradients, same) < 1e-5
    each = [learned(task, model, [one])[0] for one in encoded]
    assert sum(float(one.total) for one in each) == pytest.approx(float(loss.total), rel=1e-6)


@pytest.mark.parametrize(
    ("family", "kind"), [("bert", "classify"), ("gpt2", "tag"), ("t5", "span")]
)
def test_control_rows_without_numbers_leak(
    family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were all sequences of a row given one number, the loss would be another."""
    task, model = made(family, kind)
    encoded = encode_all(task, RECORDS[kind])
    right, _ = learned(task, model, encoded)
    collate = task.collate

    def leaking(*given: object) -> Batch:
        batch = collate(*given)  # type: ignore[arg-type]
        return batch | {"mask": batch["mask"].clamp(max=1)}

    monkeypatch.setattr(task, "collate", leaking)
    wrong, _ = learned(task, model, encoded)
    assert abs(float(wrong.total) / float(right.total) - 1) > 1e-3


@pytest.mark.parametrize("family", ["bert", "gpt2", "bart"])
@pytest.mark.parametrize("kind", ["classify", "regress", "tag", "span"])
def test_predictions_do_not_depend_on_the_batch(
    family: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (family, kind) == ("bart", "tag"):
        pytest.skip("bart has no such head")
    task, model = made(family, kind)
    records = RECORDS[kind] * 3
    encoded = encode_all(task, records)
    together = task.predict(model, encoded, records)
    monkeypatch.setattr("ownlm.objectives.tasks.task.BUDGET", 1)
    single = task.predict(model, encoded, records)
    assert len(together) == len(records)
    for one, other in zip(together, single, strict=True):
        assert same(one.as_dict(), other.as_dict())
    assert all(same(a.as_dict(), b.as_dict()) for a, b in zip(together[:6], together[6:12]))
    assert len({repr(one) for one in together[:6]}) > 1


def same(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == pytest.approx(other, rel=1e-5) if isinstance(one, float) else one == other


def test_predicting_leaves_the_model_in_training_and_is_without_dropout() -> None:
    task, model = made("bert", "classify")
    encoded = encode_all(task, RECORDS["classify"])
    model.train()
    one, other = (task.predict(model, encoded, RECORDS["classify"]) for _ in range(2))
    assert one == other and model.training
    model.eval()
    assert torch.is_grad_enabled()
