"""Checkpoints beside the training: the same bytes, one at a time, and no error lost."""

from pathlib import Path
from threading import Event

import pytest
import tiny
import torch

from ownlm import runtime
from ownlm.errors import DiskError
from ownlm.files import folder_manifest
from ownlm.models.load import load_model
from ownlm.training import checkpoint, saver
from ownlm.training.config import Choices
from ownlm.training.saver import Saver, Snapshot

MANY = {"train__steps": 12, "train__save_every": 2, "train__evaluate_every": 6, "train__keep": 9}


def state(step: int) -> checkpoint.State:
    return checkpoint.State(
        step=step, sequences=0, tokens=0, samples_digest="", seed=1, choices=Choices(),
        identity={}, run={},
    )  # fmt: skip


def live() -> Snapshot:
    model = tiny.tiny_model()
    return Snapshot(model, {"a": torch.arange(4.0), "b": torch.ones(2, 2)})


def slow() -> Saver:
    made = Saver(tiny.save_model)
    made.seconds = 60.0  # as if the last one had taken long
    return made


def test_a_run_saved_beside_the_training_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.train(tmp_path / "plain", **MANY)
    threads = []
    start = saver.Thread.start
    monkeypatch.setattr(saver.Thread, "start", lambda self: (threads.append(self), start(self)))
    monkeypatch.setattr(saver, "SLOW", 0.0)
    tiny.train(tmp_path / "beside", **MANY)
    assert len(threads) == 7  # steps 0, 2, ... 12
    for folder in sorted((tmp_path / "plain" / "checkpoints").iterdir()):
        other = tmp_path / "beside" / "checkpoints" / folder.name
        assert folder_manifest(other) == folder_manifest(folder)
    assert tiny.rows(tmp_path / "beside") == tiny.rows(tmp_path / "plain")


def test_what_is_written_is_the_moment_of_the_save(tmp_path: Path) -> None:
    made, now, done = slow(), live(), []
    for step in (1, 2):  # the second takes the copy's memory again
        expected = {name: tensor.clone() for name, tensor in now.tensors.items()}
        weights = [p.detach().clone() for p in now.model.parameters()]
        folder = tmp_path / checkpoint.name_of(step)
        begun, go_on = Event(), Event()

        def write(model, to, begun=begun, go_on=go_on):
            begun.set()
            assert go_on.wait(20)
            tiny.save_model(model, to)

        made.save_model = write
        made.seconds = 60.0
        made.save(now, folder, state(step), then=lambda step=step: done.append(step))
        assert begun.wait(20)
        assert not folder.exists()  # under way
        with torch.no_grad():
            for tensor in (*now.tensors.values(), *now.model.parameters()):
                tensor.add_(1)
        go_on.set()
        made.finish()
        assert done[-1] == step
        held = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
        checkpoint.restore(folder, held)
        assert all(torch.equal(held[name], tensor) for name, tensor in expected.items())
        again = load_model(folder)[0]
        assert all(map(torch.equal, again.parameters(), weights))
        assert not any(map(torch.equal, again.parameters(), now.model.parameters()))


def test_what_stopped_it_is_raised_by_the_next(tmp_path: Path) -> None:
    def full(model, folder):
        raise DiskError("no space left", where=str(folder))

    made, now = slow(), live()
    made.save_model = full
    made.save(now, tmp_path / "step-00000001", state(1), then=lambda: None)
    with pytest.raises(DiskError, match="no space left"):
        made.save(now, tmp_path / "step-00000002", state(2), then=lambda: None)
    assert not list(tmp_path.glob("step-*"))
    made.finish()  # told once
    made.seconds = 60.0
    with pytest.raises(DiskError), made:
        made.save(now, tmp_path / "step-00000003", state(3), then=lambda: None)


def test_another_error_is_not_hidden_and_the_save_is_ended(tmp_path: Path) -> None:
    def fail() -> None:
        with slow() as made:
            made.save(live(), tmp_path / "step-00000001", state(1), then=lambda: None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "step-00000001").is_dir()


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saver, "SLOW", 0.0)
    write = checkpoint.write

    def fail(folder: Path, *rest) -> None:
        if checkpoint.step_of(folder) == 6:
            raise DiskError("no space left", where=str(folder))
        write(folder, *rest)

    monkeypatch.setattr(checkpoint, "write", fail)
    with pytest.raises(DiskError):
        tiny.train(tmp_path / "run", **MANY)
    monkeypatch.setattr(checkpoint, "write", write)
    tiny.train(tmp_path / "whole", **MANY)
    assert tiny.train(tmp_path / "run", **MANY).finished
    assert tiny.rows(tmp_path / "run") == tiny.rows(tmp_path / "whole")


@pytest.mark.parametrize(("seconds", "free", "beside"), [
    (0.5, 1 << 40, False), (2.0, 1 << 40, True), (2.0, 1000, False),
])  # fmt: skip
def test_beside_only_where_it_is_slow_and_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, free: int, beside: bool
) -> None:
    monkeypatch.setattr(runtime, "free_memory", lambda: free)
    made, started = Saver(tiny.save_model), []
    made.seconds = seconds
    start = saver.Thread.start
    monkeypatch.setattr(saver.Thread, "start", lambda self: (started.append(1), start(self)))
    with made:
        made.save(live(), tmp_path / "step-00000001", state(1), then=lambda: None)
    assert bool(started) is beside
    assert (tmp_path / "step-00000001").is_dir()


def test_without_memory_for_the_copy_the_training_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Saver, live: Snapshot) -> Snapshot:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(Saver, "_take", full)
    made = slow()
    made.save(live(), tmp_path / "step-00000001", state(1), then=lambda: None)
    assert (tmp_path / "step-00000001").is_dir()
