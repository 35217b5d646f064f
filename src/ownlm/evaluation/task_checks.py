"""The checks of `ownlm doctor` on a task: sequences of the user, a model under the task's head.

Each compares two ways to the same losses and gradients, in float32, as the checks on text do.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import nn

from ownlm.data.encoded import Encoded, EncodedExamples, examples
from ownlm.evaluation.finding import Finding, at_most, broke, not_applicable
from ownlm.evaluation.learning import check_overfitting
from ownlm.evaluation.parity import (
    TOLERANCE,
    check_accumulation,
    collated,
    difference,
    learned,
    sharpened,
)
from ownlm.objectives.tasks.task import Task
from ownlm.training.config import OptimizerConfig

SEQUENCES = 8
"""On which a check works; as different in length as there are."""
SHARING = "packed sequences = separate sequences"
"""The check that makes sense even where sequences are compared with one another."""


def task_checks(
    make_model: Callable[[], nn.Module],
    task: Task,
    encoded: Sequence[Encoded],
    optimizer: OptimizerConfig | None = None,
) -> Iterator[Finding]:
    """All checks; one that breaks is a finding like the others.

    `make_model` gives the same model in float32 at each call, whose weights may be changed.
    With an `optimizer` it is seen, too, whether a batch can be learned by heart.
    """
    rows = chosen(encoded)
    checks = {
        "accumulated gradients = full batch": check_accumulation,
        SHARING: check_sharing,
        "padded rows = unpadded rows": check_filling,
    }
    for name, check in checks.items():
        if not (task.additive or name == SHARING):
            yield not_applicable(name, "sequences of a batch are compared with one another")
            continue
        try:
            yield check(sharpened(make_model()), task, rows)
        except Exception as error:  # noqa: BLE001, the other checks are still to be made
            yield broke(name, error)
    if optimizer is not None:
        yield check_overfitting(make_model(), task, rows, optimizer)


def chosen(encoded: Sequence[Encoded]) -> EncodedExamples:
    """Sequences of lengths from the shortest to the longest, evenly spread over the ranks."""
    ranked = sorted(encoded, key=lambda item: len(item.ids))
    places = np.linspace(0, len(ranked) - 1, min(SEQUENCES, len(ranked))).astype(int)
    return examples([ranked[place] for place in places])


def check_sharing(model: nn.Module, task: Task, rows: EncodedExamples) -> Finding:
    """Sequences that share rows against a row for each: losses and gradients."""
    together, apart = collated(task, rows), collated(unpacked(task), rows)
    return at_most(
        SHARING,
        difference(learned(model, task, [together]), learned(model, task, [apart])),
        TOLERANCE,
        "relative difference",
        f"{len(rows)} sequences in {len(together['inputs'])} rows",
    )


def check_filling(model: nn.Module, task: Task, rows: EncodedExamples) -> Finding:
    """Rows of one sequence each, padded to the longest, against each sequence by itself."""
    plain = unpacked(task)
    alone = [collated(plain, rows[n : n + 1]) for n in range(len(rows))]
    padded, bare = (learned(model, task, b) for b in ([collated(plain, rows)], alone))
    lengths = [len(item.ids) for item in rows]
    return at_most(
        "padded rows = unpadded rows",
        difference(padded, bare),
        TOLERANCE,
        "relative difference",
        f"{len(rows)} sequences of {min(lengths)} to {max(lengths)} tokens",
    )


def unpacked(task: Task) -> Task:
    """The task with a row for each sequence."""
    found = copy.copy(task)
    found.packs = False
    return found
