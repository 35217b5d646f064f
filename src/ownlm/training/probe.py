"""Whether compiling pays, decided by a stopwatch on the run's own model and first batch."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from ownlm.objectives.objective import Examples
from ownlm.training.step import Stepper, loss_of

LONG = 600.0
"""Seconds of plain training below which the attempt, itself tens of seconds, is not made."""

TURNS = 3
"""Forward and backward passes timed each way, after one that is not; the fastest counts."""


class Verdict(NamedTuple):
    """What to do, and what to tell the user about it."""

    compiled: bool
    words: str


def settle_compile(
    stepper: Stepper, micros: Callable[[], Iterable[Examples]], updates: int
) -> Verdict:
    """Leave `stepper` with the faster of its plain and its compiled forward pass.

    `micros` gives the micro-batches of the first update each time it is called; `updates` is
    the length of the run. Parameters and moments stay as they are.
    """
    plain = _seconds(stepper, micros, TURNS)
    if plain * updates < LONG:
        return Verdict(False, f"not compiled: the run is short ({plain:.3g} s an update)")
    begun, usual = time.perf_counter(), stepper.forward
    stepper.forward = torch.compile(loss_of, dynamic=False)
    try:
        compiled = _seconds(stepper, micros, TURNS)
    except Exception as error:  # noqa: BLE001 (whatever the compiler dies of, plain works)
        stepper.forward = usual
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Verdict(False, f"not compiled: the compiler failed ({reason})")
    took = time.perf_counter() - begun
    words = f"{compiled:.3g} s an update compiled, {plain:.3g} s not; compiling took {took:.0f} s"
    if compiled < plain:
        return Verdict(True, f"compiled: {words}")
    stepper.forward = usual
    return Verdict(False, f"not compiled: {words}")


def _seconds(stepper: Stepper, micros: Callable[[], Iterable[Examples]], turns: int) -> float:
    stepper.backward(micros(), 0)
    times = []
    for _ in range(turns):
        begun = time.perf_counter()
        total, _, _ = stepper.backward(micros(), 0)
        total.item()  # waits for the device
        times.append(time.perf_counter() - begun)
    stepper.weights.publish()  # drops the gradients
    return min(times)
