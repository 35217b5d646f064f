"""The doctor on tasks: what holds is found to hold, and each broken part is found out."""

import copy
from typing import Any

import pytest
import torch
from task_cases import RECORDS, made
from torch import nn

from ownlm.evaluation.finding import Finding
from ownlm.evaluation.parity import collated, difference, learned
from ownlm.evaluation.task_checks import chosen, task_checks
from ownlm.objectives.objective import Batch, Loss
from ownlm.objectives.tasks.classify import Classify
from ownlm.objectives.tasks.task import Task, encode_all
from ownlm.training.config import OptimizerConfig

NAMES = [
    "accumulated gradients = full batch",
    "packed sequences = separate sequences",
    "padded rows = unpadded rows",
]


def findings(task: Task, model: nn.Module, kind: str) -> dict[str, Finding]:
    encoded = encode_all(task, RECORDS[kind])
    found = task_checks(lambda: copy.deepcopy(model).float(), task, encoded)
    return {finding.name: finding for finding in found}


@pytest.mark.parametrize("kind", ["classify", "regress", "tag", "span"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_tasks_hold(family: str, kind: str) -> None:
    found = findings(*made(family, kind), kind)
    assert [*found] == NAMES
    assert all(finding.passed for finding in found.values()), found


@pytest.mark.parametrize("family", ["gpt2", "t5", "bart"])
def test_writing_holds_and_a_leak_is_found(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = made(family, "seq2seq")
    found = findings(task, model, "seq2seq")
    assert all(finding.passed for finding in found.values()), found
    collate = task.collate

    def leaking(*given: Any) -> Batch:
        batch = collate(*given)
        return {n: t.clamp(max=1) if n.endswith("mask") else t for n, t in batch.items()}

    broken = copy.copy(task)
    monkeypatch.setattr(broken, "collate", leaking)
    encoded = chosen(encode_all(task, RECORDS["seq2seq"]))
    whole = learned(model, task, [collated(task, encoded)])
    assert difference(learned(model, task, [collated(broken, encoded)]), whole) > 1e-3


def test_embedding_shares_rows_without_a_leak() -> None:
    found = findings(*made("bert", "embed"), "embed")
    assert [finding.passed for finding in found.values()] == [None, True, None]


class Averaged(Classify):
    """Gives a mean where a sum is asked for."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        loss = super().loss(model, batch)
        return Loss(loss.total / loss.count, torch.ones(()), {})


class Leaking(Classify):
    """Forgets to number the sequences of a row."""

    def rows(self, items: Any) -> Batch:
        batch = super().rows(items)
        return batch | {"mask": batch["mask"].clamp(max=1)}


class Unmasked(Classify):
    """Lets padding be read."""

    def rows(self, items: Any) -> Batch:
        batch = super().rows(items)
        return batch | {"mask": batch["mask"].clamp(min=1)}


class Careless(Classify):
    """Breaks."""

    def rows(self, items: Any) -> Batch:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("broken", "name"), [(Averaged, NAMES[0]), (Leaking, NAMES[1]), (Unmasked, NAMES[2])]
)
def test_what_is_broken_is_found(broken: type[Classify], name: str) -> None:
    task, model = made("bert", "classify")
    assert isinstance(task, Classify)
    wrong = broken(task.tokenizer, task.marks, task.labels)
    finding = findings(wrong, model, "classify")[name]
    assert finding.passed is False and finding.measured is not None and finding.measured > 1e-3


class Compared(Classify):
    """Says that its sequences are compared with one another."""

    additive = False


def test_only_packing_is_checked_where_sequences_are_compared() -> None:
    task, model = made("bert", "classify")
    assert isinstance(task, Classify)
    found = findings(Compared(task.tokenizer, task.marks, task.labels), model, "classify")
    assert [finding.passed for finding in found.values()] == [None, True, None]


def test_a_check_that_breaks_has_failed() -> None:
    task, model = made("bert", "classify")
    assert isinstance(task, Classify)
    found = findings(Careless(task.tokenizer, task.marks, task.labels), model, "classify")
    assert [finding.passed for finding in found.values()] == [False] * 3
    assert "ZeroDivisionError" in found[NAMES[0]].detail


def test_a_batch_is_learned_by_heart() -> None:
    task, model = made("bert", "tag")
    encoded = encode_all(task, RECORDS["tag"])
    options = OptimizerConfig(lr=1e-3)
    *_, last = task_checks(lambda: copy.deepcopy(model).float(), task, encoded, options)
    assert last.name == "a batch can be learned by heart" and last.passed, last


def test_sequences_of_all_lengths_are_chosen() -> None:
    task, _ = made("bert", "classify")
    encoded = encode_all(task, RECORDS["classify"] * 5)
    lengths = [len(item.ids) for item in chosen(encoded)]
    assert len(lengths) == 8
    every = [len(item.ids) for item in encoded]
    assert (lengths[0], lengths[-1]) == (min(every), max(every)) and len({*lengths}) > 3
