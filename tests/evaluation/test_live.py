"""Runs that grow: each row is read once, whatever happens to the log meanwhile."""

import json
from pathlib import Path

import pytest

from ownlm.evaluation.live import LiveRun, differing, find_runs, read_samples
from ownlm.log import MetricsLog, Tail
from ownlm.recipes.samples import add_section


def row(step: int, loss: float = 2.0) -> dict[str, float]:
    return {"step": step, "loss": loss, "tokens": 100 * step, "tokens_per_second": 50.0}


def made(folder: Path, steps: int, seed: int = 1) -> LiveRun:
    with MetricsLog(folder / "log.jsonl") as log:
        log.write({"step": 0, "validation_loss": 9.0})
        for step in range(1, steps + 1):
            log.write(row(step, 9 - step / steps))
        log.write({"step": steps, "validation_loss": 8.0, "sampled": True})
    (folder / "recipe.yaml").write_text(f"train: {{steps: 40, seed: {seed}, lr: 0.{seed}}}\n")
    run = LiveRun(folder)
    run.poll()
    return run


def test_a_row_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    tail = Tail(path)
    assert not tail.poll()
    path.write_bytes(b'{"step": 1}\n{"st')
    assert tail.poll() and tail.rows == [{"step": 1}]
    assert not tail.poll()
    read: list[bytes] = []
    loads = json.loads
    monkeypatch.setattr("ownlm.log.json.loads", lambda line: read.append(line) or loads(line))
    with open(path, "ab") as file:
        file.write(b'ep": 2}\nno json\n[3]\n{"step": 4}\n')
    assert tail.poll() and [r["step"] for r in tail.rows] == [1, 2, 4]
    assert b'{"step": 1}' not in read and b'{"step": 2}' in read


def test_a_log_that_was_rewritten_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    tail = Tail(path)
    with MetricsLog(path) as log:
        for step in range(5):
            log.write({"step": step})
        tail.poll()
        log.rewind(2)
        log.write({"step": 3, "again": 1})
    assert tail.poll()
    assert tail.rows == [{"step": 0}, {"step": 1}, {"step": 2}, {"step": 3, "again": 1}]


def test_curves_over_steps_tokens_and_time(tmp_path: Path) -> None:
    run = made(tmp_path, 40)
    assert (run.step, run.steps) == (40, 40)
    assert run.figures[:3] == ["loss", "validation_loss", "tokens_per_second"]
    assert run.last("loss") == 8.0
    by_axis = {axis: run.curve("loss", axis) for axis in ("step", "tokens", "time")}
    assert [curve.raw.steps[-1] for curve in by_axis.values()] == [40, 4000, 80.0]
    raw, smooth = by_axis["step"]
    assert len(smooth.values) == len(raw.values) == 40
    assert smooth.values[0] == raw.values[0] and smooth.values[-1] > raw.values[-1]
    assert run.curve("validation_loss", "tokens") == (([0.0, 4000], [9.0, 8.0]), ([], []))
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write(json.dumps(row(41, 1.0)) + "\n")
    assert run.poll() and not run.poll()
    assert run.curve("loss", "step").raw.steps[-1] == 41


def test_a_resume_is_marked_where_it_was(tmp_path: Path) -> None:
    run = made(tmp_path, 40)
    assert run.resumed("step") == []
    with MetricsLog(tmp_path / "resumes.jsonl") as log:
        log.write({"step": 0})
        log.write({"step": 20})
    assert run.poll()
    assert run.resumed("step") == [0, 20]
    assert run.resumed("time") == [0, 40.0]


def test_runs_are_found_and_their_differences(tmp_path: Path) -> None:
    runs = [made(tmp_path / "a" / name, 3, seed) for name, seed in (("x", 1), ("y", 2))]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / ".hidden").mkdir()
    assert {*find_runs(tmp_path)} == {"a/x", "a/y"}
    assert {*find_runs(tmp_path / "a" / "x")} == {"x"}
    assert differing(runs) == {"train.seed": [1, 2], "train.lr": [0.1, 0.2]}
    assert LiveRun(tmp_path).config == {}


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    texts = {10: "one\n## step 5\n\n  two", 20: "<b>three</b>\n"}
    for step, text in texts.items():
        add_section(tmp_path / "samples.md", step, text)
    assert read_samples(tmp_path / "samples.md") == texts
    assert LiveRun(tmp_path).samples == texts
