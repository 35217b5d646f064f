"""Small models of several families under any head, and records to try them on."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from examples import bpe, wordpiece
from torch import Tensor, nn

from ownlm.data.encoded import Encoded, examples
from ownlm.data.tasks.records import Answer, Labelled, Origin, Parallel, Question, Scored, Tagged
from ownlm.evaluation.parity import sharpened
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.objective import Loss
from ownlm.objectives.tasks.config import TaskOptions
from ownlm.objectives.tasks.make import make_task
from ownlm.objectives.tasks.task import Task
from ownlm.tokenization.tokenizer import Tokenizer

RNG = np.random.default_rng(0)
WORDS = "the captain of old harbour slept sang worked nobody at night fisherman boatswain".split()
HERE = Origin("made", "1")
LABELS = ("ham", "spam", "other")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def sentence(size: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng((size, seed)).choice(WORDS, size))


def labelled(sizes: Sequence[int], *, pairs: bool = False) -> list[Labelled]:
    return [
        Labelled(
            origin=HERE,
            text=sentence(size),
            pair=sentence(size // 2 + 1, 1) if pairs else None,
            labels=(LABELS[number % 3],),
        )
        for number, size in enumerate(sizes)
    ]


def scored(sizes: Sequence[int]) -> list[Scored]:
    return [
        Scored(origin=HERE, text=sentence(size), pair=sentence(size, 1), score=size / 4 - 1)
        for size in sizes
    ]


def tagged(sizes: Sequence[int], *, predicate: int | None = None) -> list[Tagged]:
    return [
        Tagged(
            origin=HERE,
            words=tuple(sentence(size).split()),
            tags=tuple(TAGS[place % 5] for place in range(size)),
            predicate=predicate,
        )
        for size in sizes
    ]


def questions(sizes: Sequence[int]) -> list[Question]:
    """The answer is the third word of the context to the fourth; the last has none."""
    found = []
    for number, size in enumerate(sizes):
        context = sentence(size)
        third = " ".join(context.split()[2:4])
        start = len(" ".join(context.split()[:2])) + 1
        answers = (Answer(third, start),) if number < len(sizes) - 1 else ()
        found.append(
            Question(origin=HERE, context=context, question="who sang at night", answers=answers)
        )
    return found


def parallel(sizes: Sequence[int]) -> list[Parallel]:
    return [
        Parallel(origin=HERE, source=sentence(size), target=sentence(size // 2 + 1, 1))
        for size in sizes
    ]


RECORDS: dict[str, Any] = {
    "classify": labelled([3, 11, 5, 7, 2, 9]),
    "pair": labelled([3, 11, 5, 7, 2, 9], pairs=True),
    "regress": scored([3, 11, 5, 7, 2, 9]),
    "tag": tagged([3, 11, 5, 7, 2, 9], predicate=1),
    "span": questions([5, 14, 8, 20, 6, 9]),
    "seq2seq": parallel([3, 11, 5, 7, 2, 9]),
    "embed": parallel([3, 11, 5, 7, 2, 9]),
}
NAMED = {"tag": TAGS, "regress": (), "span": ()}


def tokenizer_of(family: str) -> Tokenizer:
    return wordpiece() if family in ("bert", "distilbert", "electra", "modernbert") else bpe()


def config_of(family: str, head: str, labels: int) -> ModelConfig:
    values = {"family": family, "layers": 2, "dim": 32, "heads": 4, "context": 128}
    vocab = tokenizer_of(family).vocab_size
    return ModelConfig.parse(values | {"vocab": vocab, "head": head, "labels": labels})


def labels_of(kind: str) -> tuple[str, ...]:
    return NAMED.get(kind, LABELS)


@functools.cache
def made(family: str, kind: str, **options: Any) -> tuple[Task, nn.Module]:
    """The task, and a model for it with weights so large that a leak shows."""
    from ownlm.models.families import family_named
    from ownlm.objectives.tasks.make import head_of

    head = head_of(kind, family_named(family))
    labels = labels_of(kind)
    count = 1 if kind == "regress" else 2 if kind == "span" else len(labels)
    model = sharpened(build_any(config_of(family, head, count), seed=1)).double()
    task = make_task(kind, TaskOptions(**options), tokenizer_of(family), model.config, labels)
    return task, model


def learned(task: Task, model: nn.Module, encoded: Sequence[Encoded]) -> tuple[Loss, list[Tensor]]:
    """The loss, and its gradient for every parameter that has one."""
    model.zero_grad(set_to_none=True)
    loss = task.loss(model, task.collate(examples(encoded), RNG))
    loss.total.backward()
    loss = loss._replace(total=loss.total.detach())
    return loss, [p.grad for p in model.parameters() if p.grad is not None]


def apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The largest difference of any number, relative to the largest of its tensor."""
    pairs = list(zip(one, other, strict=True))
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) for a, b in pairs)


def ids(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)
