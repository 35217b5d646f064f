"""What watches a run: false alarms, dashboards that fail, clocks that jump (F7, F11, F22)."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

from ownlm.log import console
from ownlm.training import progress
from ownlm.training.monitor import Board, SpikeWatch
from ownlm.training.pace import Pace
from ownlm.training.progress import Progress, duration


def noisy(seed: int, steps: int = 2000) -> np.ndarray:
    """A training curve: falls from 9 to 0.02, noise of 5 % and more where it is small."""
    rng = np.random.default_rng(seed)
    level = 9 * np.exp(-np.arange(steps) / 300) + 0.02
    return level * (1 + 0.05 * rng.standard_normal(steps)) + 0.003 * rng.standard_normal(steps) ** 2


def test_ten_clean_runs_raise_no_alarm() -> None:
    for seed in range(10):
        watch = SpikeWatch()
        assert not [step for step, loss in enumerate(noisy(seed)) if watch.jumped(float(loss))]


@pytest.mark.parametrize(
    ("step", "factor"), [(8, 50), (100, 50), (1500, 50), (1999, 50), (8, 3), (100, 3), (600, 3)]
)
def test_a_spike_is_seen_in_its_step(step: int, factor: float) -> None:
    losses = noisy(0)
    losses[step] *= factor
    watch = SpikeWatch()
    assert [s for s, loss in enumerate(losses) if watch.jumped(float(loss))] == [step]


def test_a_dashboard_that_fails_is_dropped_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __init__(self, *_: object, **__: object) -> None:
            self.calls = 0

        def add_scalar(self, *_: object) -> None:
            self.calls += 1
            raise RuntimeError("disk on fire")

        def close(self) -> None:
            raise RuntimeError("still burning")

    module = type("Module", (), {"SummaryWriter": Broken})
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", module)
    board = Board(tmp_path, 0)
    for step in range(3):
        board.write({"step": step, "loss": 1.0})
    board.close()
    assert capsys.readouterr().err.count("TensorBoard files are no longer written") == 1


def test_without_the_package_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board(tmp_path / "tensorboard", 0)  # conftest.py hides the package
    board.write({"step": 1, "loss": 1.0})
    board.close()
    assert capsys.readouterr().err == "" and not (tmp_path / "tensorboard").exists()


def test_scalars_are_written_and_those_of_a_lost_future_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.delitem(__import__("sys").modules, "torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer

    # Files are read in the order of their names: the second a file was begun in comes first.
    ticks = itertools.count(1_700_000_000)
    monkeypatch.setattr(event_file_writer.time, "time", lambda: float(next(ticks)))
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):  # killed after 3, gone on from 2
        board = Board(tmp_path, start)
        for step in steps:
            board.write(
                {"step": step, "loss": step + start / 10, "loss_hex": "0x1p+0", "bpb": None}
            )
            board.write({"step": step, "sampled": True})
        board.close()
    found = EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()["scalars"] == ["loss"]
    values = {event.step: event.value for event in found.Scalars("loss")}
    assert values == pytest.approx({1: 1.0, 2: 2.0, 3: 3.2, 4: 4.2})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_plain_lines_come_now_and_then_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Progress(0, 100) as shown:
        for step in range(1, 101):
            clock.now += 1.0
            shown.advance(step, 5.0 - step / 100, step * 50)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{n}/100" for n in (1, 21, 41, 61, 81, 100)]
    assert lines[0] == "step 1/100  loss 4.9900"  # one update says nothing about the rest
    assert lines[2] == "step 41/100  loss 4.5900  50 tokens/s  0:59 left"
    assert lines[-1].endswith("0:00 left")


def test_steps_that_are_not_read_keep_the_last_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with Progress(10, 40) as shown:
        shown.advance(11, 2.0, 100)
        clock.now += 30
        shown.advance(12)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("step 11/40  loss 2.0000")
    assert second == "step 12/40  loss 2.0000  14:00 left"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.console import Console

    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "console", lambda: terminal)
    with Progress(0, 4) as shown:
        for step in range(1, 5):
            shown.advance(step, 3.25, step * 10)
    text = out.getvalue()
    assert "4/4" in text and "loss 3.2500" in text and "tokens/s" in text
    assert console() is not terminal


def test_a_wall_clock_that_jumps_changes_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Progress(0, 10)
    shown.advance(1)
    monkeypatch.setattr(time, "time", lambda: -1e9)
    left = shown.seconds_left(5)
    assert left is not None and 0 <= left < 60


def test_durations_for_people() -> None:
    assert [duration(s) for s in (0, 59.6, 61, 3725, 90000)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:02:05",
        "25:00:00",
    ]


def test_pace_counts_only_the_time_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    from ownlm.training import pace

    clock = iter([0.0, 2.0, 100.0, 102.0, 200.0, 201.0])
    monkeypatch.setattr(pace, "time", type("T", (), {"perf_counter": lambda: next(clock)}))
    watch = Pace()
    watch.begin(1000)
    with watch:
        pass
    with watch:
        pass
    assert watch.lap(1040) == 10.0
    with watch:
        pass
    assert watch.lap(1045) == 5.0
