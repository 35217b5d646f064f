"""Sizes, cores and compiling follow the stopwatch, and leave no trace in the run."""

from typing import Any

import pytest
import torch
from tiny import TinyLoader

from ownlm.training import probe
from ownlm.training.config import Choices, TrainConfig
from ownlm.training.feed import Feed
from ownlm.training.step import loss_of


class Scripted:
    """A stepper whose passes take scripted times, by sequences at once and cores."""

    device = torch.device("cpu")

    def __init__(self, plain: dict[tuple[int, int], float], compiled: float) -> None:
        self.forward: Any = loss_of
        self.plain, self.compiled = plain, compiled
        self.now, self.published = 0.0, 0
        self.weights, self.threads = self, 2

    def backward(self, micros: Any, step: int) -> tuple[torch.Tensor, None, None]:
        assert step == 0
        if self.forward is not loss_of and self.compiled < 0:
            raise RuntimeError("no such instruction\nand more")
        rows = [len(samples.tokens) for samples in micros]
        assert sum(rows) == 16
        usual = self.forward is loss_of
        self.now += self.plain[rows[0], self.threads] if usual else self.compiled
        return torch.tensor(0.0), None, None

    def publish(self) -> None:
        self.published += 1


FLAT = {(rows, threads): 4.0 for rows in (16, 8, 4, 2, 1) for threads in (1, 2)}


def settle(
    monkeypatch: pytest.MonkeyPatch,
    plain: dict[tuple[int, int], float] = FLAT,
    compiled: float = 9.0,
    steps: int = 1000,
    **train: Any,
) -> tuple[probe.Verdict, Scripted, Feed]:
    stepper = Scripted(plain, compiled)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: stepper.now)
    monkeypatch.setattr(torch, "compile", lambda f, **_: lambda *a: f(*a))
    monkeypatch.setattr(torch, "set_num_threads", lambda n: setattr(stepper, "threads", n))
    config = TrainConfig(steps=steps, batch=16, **train)
    feed = Feed(TinyLoader(16), 16, config.micro_batch)
    choices = Choices(threads=2, micro_batch=config.micro_batch)
    return probe.settle(stepper, feed, config, choices), stepper, feed  # type: ignore[arg-type]


def test_faster_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper, _ = settle(monkeypatch, compiled=3.0)
    assert verdict.choices == Choices(threads=2, compile=True)
    assert stepper.forward is not loss_of
    assert stepper.published > 2  # gradients of the probe are dropped


def test_slower_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper, _ = settle(monkeypatch, compiled=5.0)
    assert verdict.choices == Choices(threads=2)
    assert stepper.forward is loss_of
    assert "5 s an update compiled, 4 s not" in verdict.words[-1]


def test_short_runs_do_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper, _ = settle(monkeypatch, compiled=1.0, steps=100)
    assert verdict.choices == Choices(threads=2)
    assert stepper.published == 1
    assert verdict.words == (
        "batch, cores and compiling as they are: to try others pays in longer runs",
    )


def test_what_is_stated_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper, _ = settle(monkeypatch, micro_batch=4, threads=2, compile="off")
    assert verdict == ((Choices(threads=2, micro_batch=4)), ())
    assert stepper.published == 0


def test_a_broken_compiler_is_said_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper, _ = settle(monkeypatch, compiled=-1.0)
    assert not verdict.choices.compile
    assert stepper.forward is loss_of
    assert "compiler failed (RuntimeError: no such instruction)" in verdict.words[-1]


@pytest.mark.parametrize(
    ("times", "best", "told"),
    [
        ({8: 3.0, 4: 2.5, 2: 2.6}, 4, "4 sequences at once (16: 4 s an update, 8: 3 s, 4: 2.5 s"),
        ({8: 3.95}, 0, "16 sequences at once (16: 4 s an update, 8: 3.95 s)"),  # the clock's error
        ({8: 3.0, 4: 2.0, 2: 1.5, 1: 1.0}, 1, "1 sequences at once"),
    ],
)
def test_sequences_at_once(
    monkeypatch: pytest.MonkeyPatch, times: dict[int, float], best: int, told: str
) -> None:
    plain = FLAT | {(rows, 2): took for rows, took in times.items()}
    plain |= {(rows, 1): 9.0 for rows in (16, 8, 4, 2, 1)}
    verdict, _, feed = settle(monkeypatch, plain)
    assert verdict.choices.micro_batch == best
    assert verdict.words[0].startswith(told)
    assert feed.of == 16 // (best or 16)


def test_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper, _ = settle(monkeypatch, FLAT | {(16, 1): 3.0, (8, 2): 5.0})
    assert verdict.choices.threads == stepper.threads == 1
    assert "1 cores (2: 4 s an update, 1: 3 s)" in verdict.words
    verdict, stepper, _ = settle(monkeypatch)
    assert verdict.choices.threads == stepper.threads == 2


def test_sizes_are_not_tried_where_the_trying_is_a_large_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict, _, _ = settle(monkeypatch, FLAT | {(8, 2): 1.0, (16, 1): 1.0}, steps=300)
    assert verdict.choices == Choices(threads=2)


def test_halves() -> None:
    assert list(probe.halves(16, 16)) == [8, 4, 2, 1]
    assert list(probe.halves(12, 12)) == [6, 3, 1]
    assert list(probe.halves(7, 7)) == [1]
    assert list(probe.halves(4, 1)) == []
