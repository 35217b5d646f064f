"""Checkpoints on disk: retention, mismatches, the model folder inside (F21)."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm import files
from ownlm.errors import CheckpointError, DiskError
from ownlm.training import checkpoint
from ownlm.training.checkpoint import State
from ownlm.training.config import Choices


def state(step: int) -> State:
    return State(
        step=step,
        sequences=step * 8,
        tokens=step * 96,
        samples_digest="",
        seed=0,
        choices=Choices(),
        identity={},
        run={},
    )


def write(parent: Path, step: int, text: str = "model") -> Path:
    folder = parent / checkpoint.name_of(step)
    tensors = {"master.a": torch.full((2, 3), float(step)), "first.a": torch.zeros(2, 3)}
    checkpoint.write(folder, state(step), tensors, lambda f: files.write_text(f / "m", text))
    return folder


def steps(parent: Path) -> list[int]:
    return [checkpoint.step_of(folder) for folder in checkpoint.checkpoints(parent)]


@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(1, 3), st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_the_newest_the_best_and_the_pinned_always_stay(
    data: st.DataObject, keep: int, gaps: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        parent, done, losses = Path(name), list[int](), dict[int, float]()
        pinned: set[int] = set()
        for gap in gaps:
            step = gap + (done[-1] if done else 0)
            write(parent, step)
            done.append(step)
            losses[step] = data.draw(st.floats(0, 9), label=f"loss at {step}")
            if data.draw(st.booleans(), label=f"pin {step}"):
                (parent / checkpoint.name_of(step) / "keep").touch()
                pinned.add(step)
            best = min(losses, key=lambda s: (losses[s], s))
            before = set(steps(parent))
            checkpoint.retire(parent, keep, best)
            left = set(steps(parent))
            must = set(done[-keep:]) | {best} | pinned
            assert left == must & before
            assert {best, step} | pinned <= left  # no loss of what was promised earlier
            assert all(not files.folder_faults(f) for f in checkpoint.checkpoints(parent))


def test_nothing_is_deleted_before_the_newer_one_was_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk returns other bytes than were written: the save fails, the older one stays."""
    write(tmp_path, 1)
    honest = files.publish_folder

    def lying(final: Path, fill) -> None:
        honest(final, fill)
        data = bytearray((final / "optimizer.safetensors").read_bytes())
        data[-1] ^= 1
        (final / "optimizer.safetensors").write_bytes(data)

    monkeypatch.setattr(files, "publish_folder", lying)
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: sha256"):
        write(tmp_path, 2)
    assert 1 in steps(tmp_path)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    folder = write(tmp_path, 7)
    tensors = {"master.a": torch.zeros(2, 3), "first.a": torch.ones(2, 3)}
    checkpoint.restore(folder, tensors)
    assert tensors["master.a"].eq(7).all() and tensors["first.a"].eq(0).all()
    assert checkpoint.read_state(folder) == state(7)


def test_all_mismatches_are_listed_and_nothing_is_filled(tmp_path: Path) -> None:
    folder = write(tmp_path, 7)
    tensors = {"master.a": torch.zeros(3, 3), "second.a": torch.zeros(2, 3)}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.restore(folder, tensors)
    for line in (
        "first.a: expected nothing, found (2, 3)",
        "master.a: expected (3, 3), found (2, 3)",
        "second.a: expected (2, 3), found nothing",
    ):
        assert line in str(caught.value)
    assert not tensors["master.a"].any()


def test_names_sort_by_step_and_other_folders_are_not_checkpoints(tmp_path: Path) -> None:
    for step in (5, 123456789, 40):
        write(tmp_path, step)
    for other in ("step-x", "damaged-step-00000005", ".step-00000006.partial", "step-"):
        (tmp_path / other).mkdir()
    (tmp_path / "step-00000009").touch()
    assert steps(tmp_path) == [5, 40, 123456789]


def test_the_model_folder_inside_becomes_one_of_its_own(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1, "one"), write(tmp_path, 2, "two")
    final = tmp_path / "model"
    checkpoint.export_model(first, final)
    assert sorted(p.name for p in final.iterdir()) == ["m", "manifest.json"]
    assert files.folder_faults(final) == []
    before = final.stat().st_ino
    checkpoint.export_model(first, final)
    assert final.stat().st_ino == before  # the same model is not written again
    checkpoint.export_model(second, final)
    assert (final / "m").read_text() == "two" and files.folder_faults(final) == []


def test_a_full_disk_while_saving_keeps_the_one_before(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    write(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(DiskError):
            write(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert steps(tmp_path) == [1]
    write(tmp_path, 2)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step-00000001", "step-00000002"]
