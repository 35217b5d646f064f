"""The choice to compile follows the stopwatch, and leaves no trace in the run."""

from typing import Any

import pytest
import torch

from ownlm.training import probe
from ownlm.training.step import loss_of


class Scripted:
    """A stepper whose passes take scripted times: plain 4 s, compiled what the test says."""

    def __init__(self, compiled: float) -> None:
        self.forward: Any = loss_of
        self.compiled, self.now, self.published = compiled, 0.0, 0
        self.weights = self

    def backward(self, micros: Any, step: int) -> tuple[torch.Tensor, None, None]:
        assert step == 0
        if self.forward is not loss_of and self.compiled < 0:
            raise RuntimeError("no such instruction\nand more")
        self.now += 4.0 if self.forward is loss_of else self.compiled
        return torch.tensor(0.0), None, None

    def publish(self) -> None:
        self.published += 1


def settle(monkeypatch: pytest.MonkeyPatch, compiled: float, updates: int) -> Any:
    stepper = Scripted(compiled)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: stepper.now)
    monkeypatch.setattr(torch, "compile", lambda f, **_: lambda *a: f(*a))
    verdict = probe.settle_compile(stepper, list, updates)  # type: ignore[arg-type]
    return verdict, stepper


def test_faster_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper = settle(monkeypatch, compiled=3.0, updates=1000)
    assert verdict.compiled
    assert stepper.forward is not loss_of
    assert stepper.published == 2  # gradients of the probe are dropped


def test_slower_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper = settle(monkeypatch, compiled=5.0, updates=1000)
    assert not verdict.compiled
    assert stepper.forward is loss_of
    assert "5 s an update compiled, 4 s not" in verdict.words


def test_short_runs_do_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper = settle(monkeypatch, compiled=1.0, updates=100)
    assert not verdict.compiled
    assert stepper.forward is loss_of


def test_a_broken_compiler_is_said_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, stepper = settle(monkeypatch, compiled=-1.0, updates=1000)
    assert not verdict.compiled
    assert stepper.forward is loss_of
    assert "compiler failed (RuntimeError: no such instruction)" in verdict.words
