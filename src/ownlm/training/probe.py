"""What only speed depends on, decided by a stopwatch on the run's own model and first batch:
how many sequences at once, on how many cores, compiled or not.

Every answer is told, and kept with the checkpoints: a run that goes on does not ask again. Short
runs are not probed: the attempt would cost more than it could give back.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import torch

from ownlm.training.config import Choices, TrainConfig
from ownlm.training.feed import Feed
from ownlm.training.step import Stepper, loss_of

LONG = 600.0
"""Seconds of plain training below which nothing is tried: compiling alone takes tens."""
TURNS = 3
"""Forward and backward passes timed each way, after one that is not; the fastest counts."""
SHARE = 0.02
"""Of the run's updates: what trying sizes and cores may cost."""
GAIN = 0.97
"""What takes longer than this part of the time so far is no gain, but the clock's own error."""


class Verdict(NamedTuple):
    """What was chosen, and what to tell the user about it."""

    choices: Choices
    words: tuple[str, ...]


def settle(stepper: Stepper, feed: Feed, config: TrainConfig, choices: Choices) -> Verdict:
    """Leave `stepper` and `feed` at their fastest, as far as `config` leaves it open.

    Parameters and moments stay as they are.
    """
    open_ = config.compile == "auto", not config.micro_batch, not config.threads
    if config.compile == "on" or not any(open_):
        return Verdict(choices, ())
    probe = Probe(stepper, feed)
    if probe.once() * config.steps < LONG:
        return Verdict(
            choices, ("batch, cores and compiling as they are: to try others pays in longer runs",)
        )
    plain, words = probe.seconds(), list[str]()
    tries = SHARE * config.steps >= 4 * (TURNS + 1)
    if tries and open_[1]:
        choices, plain, told = probe.sizes(config.batch, choices, plain)
        words += told
    if tries and open_[2] and stepper.device.type == "cpu":
        choices, plain, told = probe.cores(choices, plain)
        words += told
    if open_[0]:
        choices, told = probe.compiling(choices, plain)
        words += told
    return Verdict(choices, tuple(words))


class Probe:
    """Times the first update of a run, over and over."""

    def __init__(self, stepper: Stepper, feed: Feed) -> None:
        self.stepper, self.feed = stepper, feed

    def seconds(self) -> float:
        """An update's forward and backward passes as things are now."""
        self.once()
        return min(self.once() for _ in range(TURNS))

    def once(self) -> float:
        """The same by a single try."""
        begun = time.perf_counter()
        total, _, _ = self.stepper.backward(self.feed.look(0), 0)
        total.item()  # waits for the device
        took = time.perf_counter() - begun
        self.stepper.weights.publish()  # drops the gradients
        return took

    def sizes(self, batch: int, choices: Choices, usual: float) -> tuple[Choices, float, list[str]]:
        """Halve the sequences at once for as long as that is faster: small parts stay in caches."""
        best, least, seen = choices.micro_batch or batch, usual, []
        for size in halves(batch, best):
            self.feed.split(batch, size)
            took = self.seconds()
            seen.append(f"{size}: {took:.3g} s")
            if took > GAIN * least:
                break
            best, least = size, took
        self.feed.split(batch, best)
        if not seen:
            return choices, least, []
        first = choices.micro_batch or batch
        words = f"{best} sequences at once ({first}: {usual:.3g} s an update, {', '.join(seen)})"
        return choices.model_copy(update={"micro_batch": best % batch}), least, [words]

    def cores(self, choices: Choices, usual: float) -> tuple[Choices, float, list[str]]:
        """Half the cores, where two threads of one core may be in each other's way."""
        threads = choices.threads
        if threads < 2:
            return choices, usual, []
        torch.set_num_threads(threads // 2)
        took = self.seconds()
        words = f"({threads}: {usual:.3g} s an update, {threads // 2}: {took:.3g} s)"
        if took <= GAIN * usual:
            fewer = choices.model_copy(update={"threads": threads // 2})
            return fewer, took, [f"{threads // 2} cores {words}"]
        torch.set_num_threads(threads)
        return choices, usual, [f"{threads} cores {words}"]

    def compiling(self, choices: Choices, plain: float) -> tuple[Choices, list[str]]:
        """The faster of the plain and the compiled forward pass."""
        begun, usual = time.perf_counter(), self.stepper.forward
        self.stepper.forward = torch.compile(loss_of, dynamic=False)
        try:
            compiled = self.seconds()
        except Exception as error:  # noqa: BLE001 (whatever the compiler dies of, plain works)
            self.stepper.forward = usual
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return choices, [f"not compiled: the compiler failed ({reason})"]
        took = time.perf_counter() - begun
        words = (
            f"{compiled:.3g} s an update compiled, {plain:.3g} s not; compiling took {took:.0f} s"
        )
        if compiled < plain:
            return choices.model_copy(update={"compile": True}), [f"compiled: {words}"]
        self.stepper.forward = usual
        return choices, [f"not compiled: {words}"]


def halves(batch: int, size: int) -> Iterator[int]:
    """Parts of a batch below `size`, each at most half of the one before."""
    while fits := [n for n in range(1, size // 2 + 1) if batch % n == 0]:
        size = fits[-1]
        yield size
