"""F1 and F10: processes that really die, or are asked to stop, and are resumed bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # 30 s of work a test, but a busy machine has many hands full
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]


def cases(folder: Path, mode: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The run that nothing interrupts, and the others."""
    driver = Path(__file__).with_name("kill_driver.py")
    done = subprocess.run(
        [sys.executable, str(driver), str(folder), mode],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole, *others = [json.loads(line) for line in done.stdout.splitlines()]
    return whole, others


def test_killed_at_any_step_a_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, others = cases(tmp_path, "kill")
    assert [row["step"] for row in whole["rows"] if "loss" in row] == list(range(1, 61))
    assert [row["step"] for row in whole["rows"] if "validation_loss" in row] == [0, 20, 40, 60]
    assert len(others) == 24 and {case["place"] for case in others} == {
        "first", "second", "save", "evaluate", "outside",
    }  # fmt: skip
    for case in others:
        assert case["code"] == -9, case
        assert case["resumed"] == 0
        assert case["digest"] == whole["digest"]
        assert case["rows"] == whole["rows"]  # none missing, none twice
        redone = case["step"] - max(case["saved"], default=0)
        assert redone <= 10, case  # the save interval


def test_asked_to_stop_a_run_saves_once_and_goes_on(tmp_path: Path) -> None:
    whole, others = cases(tmp_path, "signal")
    assert len(others) == 8
    stopped = [case for case in others if case["code"] != 0]
    assert len(stopped) >= 6  # on a busy machine a signal may come when the run is over
    for case in stopped:
        assert case["code"] == 128 + case["signal"]
        assert case["saved"][-1] == case["step"]  # the step was finished and is saved
    for case in others:
        assert case["resumed"] == 0
        assert case["digest"] == whole["digest"]
        assert case["rows"] == whole["rows"]
