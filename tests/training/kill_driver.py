"""Run as a program: tiny trainings in forked children that really die, then are resumed.

    python kill_driver.py FOLDER kill|signal

One process imports torch (on one thread, so that it may fork); each child trains in FOLDER/n.
Prints one JSON object a case.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

for folder in Path(__file__).parents[:2]:
    sys.path.insert(0, str(folder))
sys.modules["torch.utils.tensorboard"] = None

import tiny  # noqa: E402
import torch  # noqa: E402

from ownlm.models.load import save_model  # noqa: E402
from ownlm.training import checkpoint  # noqa: E402
from ownlm.training.digest import run_digest  # noqa: E402
from ownlm.training.signals import REQUESTS  # noqa: E402


def child(folder: Path, parts: dict[str, Any] | None = None) -> int:
    """Start a training of `folder` in a process of its own."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        for which in REQUESTS:  # those that come when the run is over must not hide how it ended
            signal.signal(which, signal.SIG_IGN)
        code = tiny.train(folder, parts=parts, model__layers=1).exit_code
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """The exit code; minus the signal's number when one killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def report(folder: Path, **facts: Any) -> None:
    """Resume the run of `folder` to its end and print what came of it."""
    saved = [checkpoint.step_of(p) for p in checkpoint.checkpoints(folder / "checkpoints")]
    facts |= {"saved": saved, "resumed": ended(child(folder))}
    print(json.dumps(facts | {"digest": run_digest(folder), "rows": tiny.rows(folder)}), flush=True)


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal(tiny.TinyLoader):
    """Dies when a micro-batch of a step is asked for."""

    def __init__(self, step: int, micro: int) -> None:
        super().__init__(8)
        self.last = (step, micro)

    def batch(self, step: int, micro: int = 0, of: int = 1) -> tiny.Samples:
        if (step, micro) == self.last:
            die()
        return super().batch(step, micro, of)


class Waits(tiny.TinyLoader):
    """Holds the run in its 56th of 60 steps, so that what comes from outside comes in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(8)
        self.seconds = seconds

    def batch(self, step: int, micro: int = 0, of: int = 1) -> tiny.Samples:
        if (step, micro) == (55, 0):
            time.sleep(self.seconds)
        return super().batch(step, micro, of)


def dies_in_save(step: int) -> Any:
    def save(model: Any, folder: Path) -> None:
        save_model(model, folder)
        if str(step) in folder.name:
            die()

    return save


def kill(root: Path) -> None:
    """20 random steps, at random places in them, and 4 random moments from outside."""
    chance = random.Random(4)
    report(root / "whole", step=-1)
    for number in range(20):
        step, place = chance.randrange(60), chance.choice(["first", "second", "save", "evaluate"])
        step = step if number else 0
        if place in {"save", "evaluate"}:
            step = max(20, step // 20 * 20)
        parts: dict[str, Any] = {
            "first": {"loader": Mortal(step, 0)},
            "second": {"loader": Mortal(step, 1)},
            "save": {"save_model": dies_in_save(step)},
            "evaluate": {"evaluate": Looks(step)},
        }[place]
        folder = root / str(number)
        code = ended(child(folder, parts))
        report(folder, step=step, place=place, code=code)
    for number in range(20, 24):
        folder = root / str(number)
        pid = child(folder, {"loader": Waits(600)})
        wait_for_rows(folder)
        time.sleep(chance.uniform(0, 0.3))
        os.kill(pid, signal.SIGKILL)
        code = ended(pid)
        step = max((row["step"] for row in tiny.rows(folder)), default=0)
        report(folder, step=step, place="outside", code=code)


class Looks:
    """An evaluation that dies the n-th time."""

    def __init__(self, step: int) -> None:
        self.left = step // 20

    def __call__(self, model: Any) -> dict[str, float]:
        if self.left == 0:
            die()
        self.left -= 1
        return tiny.evaluate(model)


def send(root: Path) -> None:
    """SIGTERM and Ctrl-C at random moments from outside, every other time twice."""
    chance = random.Random(5)
    report(root / "whole", step=-1)
    for number in range(8):
        folder, which = root / str(number), (signal.SIGTERM, signal.SIGINT)[number % 2]
        pid = child(folder, {"loader": Waits(1)})
        wait_for_rows(folder)
        time.sleep(chance.uniform(0, 0.3))
        os.kill(pid, which)
        if number % 4 > 1:
            time.sleep(chance.uniform(0, 0.02))
            os.kill(pid, which)
        code = ended(pid)
        step = max(row["step"] for row in tiny.rows(folder))
        report(folder, step=step, signal=int(which), code=code)


def wait_for_rows(folder: Path) -> None:
    while not tiny.rows(folder):
        time.sleep(0.005)


if __name__ == "__main__":
    os.fsync = lambda file: None  # a killed process loses nothing that it wrote
    torch.set_num_threads(1)
    {"kill": kill, "signal": send}[sys.argv[2]](Path(sys.argv[1]))
