"""Requests that wait for a model are read together, and are told what they would be told alone."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ownlm.data.tasks.predictions import Classified, Prediction, Vector
from ownlm.data.tasks.records import Record
from ownlm.inference.language_model import load
from ownlm.recipes.subject import subject
from ownlm.recipes.tuned import saver
from ownlm.recipes.tuning import tuning
from ownlm.serving import together
from ownlm.serving.served import Served, task_of
from ownlm.serving.together import Together


class Slow:
    """Doubles numbers, no odd ones below zero; the first call waits until all have asked."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append([*numbers])
        self.go.wait(10)
        if any(n < 0 for n in numbers):
            raise ValueError("below zero")
        return [2 * n for n in numbers]


def asked(slow: Slow, *things: list[int]) -> list[list[int] | BaseException]:
    """All at once, while the first is being done."""
    both = Together(slow, threading.Lock())

    async def run() -> list[list[int] | BaseException]:
        tasks = [asyncio.create_task(both(one)) for one in things]
        while not slow.calls or len(both._waiting) < len(things) - 1:
            await asyncio.sleep(0.001)
        slow.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


def test_who_waits_is_read_with_all_others_that_wait() -> None:
    slow = Slow()
    many = [[n, n + 100] for n in range(40)]  # more than there are threads
    assert asked(slow, [7], *many) == [[14], *([2 * n, 2 * n + 200] for n in range(40))]
    assert slow.calls == [[7], [n for one in many for n in one]]


def test_what_goes_wrong_is_told_to_one_only() -> None:
    slow = Slow()
    first, good, wrong, last = asked(slow, [1], [2, 3], [4, -1], [])
    assert (first, good, last) == ([2], [4, 6], [])
    assert isinstance(wrong, ValueError)
    assert slow.calls == [[1], [2, 3, 4, -1], [2, 3], [4, -1], []]


def test_a_batch_is_bounded_but_a_request_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST", 3)
    slow = Slow()
    asked(slow, [1], [2, 3], [4], [5, 6, 7, 8], [9])
    assert slow.calls == [[1], [2, 3, 4], [5, 6, 7, 8], [9]]


def test_who_left_is_not_worked_for() -> None:
    slow = Slow()
    both = Together(slow, threading.Lock())

    async def run() -> list[int]:
        first, second, third = (asyncio.create_task(both([n])) for n in range(3))
        while len(both._waiting) < 2:
            await asyncio.sleep(0.001)
        second.cancel()
        await asyncio.sleep(0.001)
        slow.go.set()
        await first
        return await third

    assert asyncio.run(run()) == [4]
    assert slow.calls == [[0], [2]]


def test_who_waits_keeps_no_thread_from_others() -> None:
    slow = Slow()
    both = Together(slow, threading.Lock())

    async def run() -> str:
        tasks = [asyncio.create_task(both([n])) for n in range(40)]  # more than asyncio's threads
        while len(both._waiting) < 39:
            await asyncio.sleep(0.001)
        try:
            return await asyncio.wait_for(asyncio.to_thread(lambda: "at once"), 5)
        finally:
            slow.go.set()
            await asyncio.gather(*tasks)

    assert asyncio.run(run()) == "at once"


WORDS = "harbour boat rope sail wind gull tide mast crane wharf"
SHAPE = {"shape": {"layers": 2, "dim": 32, "context": 64}, "tokenizer": {"vocab_size": 300}}
TEXTS = [" ".join((WORDS.split() * 2)[n : 2 * n + 1]) for n in range(10)]


def taught(task: Any, labels: list[str], folder: Path) -> Served:
    """A new model with the head of a task, and weights that tell texts apart."""
    config = tuning(task, "bert-tiny").with_values(SHAPE | {"out": str(folder)})
    fresh = subject(config, labels, [WORDS] * 20)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in fresh.model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.3)
    saver(config, fresh)(fresh.model, folder / "model")
    lm = load(folder)
    return Served("taught", lm, tuned=task_of(lm))


def told(said: Prediction) -> list[float]:
    if isinstance(said, Vector):
        return [*said.values]
    assert isinstance(said, Classified)
    return [*said.probabilities.values()]


@pytest.mark.parametrize(("task", "labels"), [("classify", ["ham", "spam"]), ("embed", [])])
def test_neighbours_of_other_requests_change_nothing(
    task: Any, labels: list[str], tmp_path: Path
) -> None:
    served = taught(task, labels, tmp_path)
    records = [[served.record(text)] for text in TEXTS]

    async def together() -> list[list[Prediction]]:
        return await asyncio.gather(*(served.predict(one) for one in records))

    work, sizes = served.predict.work, list[int]()

    def counted(things: Sequence[Record]) -> list[Prediction]:
        sizes.append(len(things))
        return work(things)

    served.predict.work = counted
    served._one.acquire()
    threading.Timer(0.5, served._one.release).start()
    found = asyncio.run(together())
    assert sizes == [len(TEXTS)]
    alone = [work(one) for one in records]
    rows = [[told(said) for (said,) in each] for each in (found, alone)]
    for one, other in zip(*rows):
        assert one == pytest.approx(other, abs=1e-5)
    assert rows[0][0] != pytest.approx(rows[0][5], abs=1e-3)  # the control
