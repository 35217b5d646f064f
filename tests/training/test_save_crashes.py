"""F2: power fails at every operation of a save; the run goes on from the old or the new state."""

from pathlib import Path

import pytest
import tiny

from ownlm import files, models, training
from ownlm.training.digest import run_digest
from ownlm.training.run import open_run
from power_loss import FragileDisk, PowerLoss

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")

RUN = {
    "train__steps": 5,
    "train__save_every": 2,
    "train__evaluate_every": 4,
    "train__keep": 1,
    "choices__micro_batch": 0,
    "model__layers": 1,
    "model__dropout": 0.0,
}


MIDDLE, END = 4, 5
"""Steps whose save may fail: one that deletes an older one, and the last, with `model/`."""


class Armed(tiny.TinyLoader):
    """Switches the failing disk on for what follows the update that leads to `step`.

    That is its row, the save, the deletion of the save before, the evaluation, the model.
    """

    def __init__(self, disk: FragileDisk, step: int) -> None:
        super().__init__(8)
        self.disk, self.step = disk, step

    def batch(self, step: int, micro: int = 0, of: int = 1) -> tiny.Samples:
        self.disk.armed = step == self.step - 1
        return super().batch(step, micro, of)


def interrupted(folder: Path, step: int, crash_at: int | None, forget: bool) -> FragileDisk:
    """Train until the disk fails at operation `crash_at` of what follows `step`."""
    disk = FragileDisk(folder, crash_at, forget=forget, armed=False)
    with disk:
        disk.wrap_writer(training.checkpoint, "save_file")
        disk.wrap_writer(models.write, "save_file")
        try:
            tiny.train(folder, parts={"loader": Armed(disk, step)}, **RUN)
        except PowerLoss:
            assert disk.dead
    return disk


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list]:
    """Digest and rows of the run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.train(folder, **RUN)
    return run_digest(folder), tiny.rows(folder)


def test_the_shim_sees_every_part_of_a_save(tmp_path: Path) -> None:
    operations = "\n".join(interrupted(tmp_path, MIDDLE, None, False).operations)
    for part in (
        "write {0}/log.jsonl",
        "fsync {0}/log.jsonl",
        "save_file {0}/checkpoints/.step-00000004.partial/optimizer.safetensors, written",
        "fsync {0}/checkpoints/.step-00000004.partial/model.safetensors",
        "open {0}/checkpoints/.step-00000004.partial/.manifest.json.partial",
        "rename {0}/checkpoints/.step-00000004.partial {0}/checkpoints/step-00000004",
        "fsync {0}/checkpoints",
        "unlink {0}/checkpoints/.step-00000002.removed/model.safetensors",
    ):
        assert part.format(tmp_path) in operations


@pytest.mark.slow
@pytest.mark.parametrize(("step", "forget"), [(MIDDLE, False), (MIDDLE, True), (END, True)])
def test_every_crash_of_a_save_continues_bit_for_bit(
    tmp_path: Path, whole: tuple[str, list], step: int, forget: bool
) -> None:
    digest, rows = whole
    begun = []
    for crash_at in range(1000):
        folder = tmp_path / str(crash_at)
        disk = interrupted(folder, step, crash_at, forget)
        if not disk.dead:
            break
        with open_run(folder, resume="yes") as run:  # no damaged checkpoint, nothing to fall back
            assert run.start is not None
            begun.append(run.start.step)
        result = tiny.train(folder, **RUN)
        assert result.finished and result.step == 5
        assert run_digest(folder) == digest, disk.operations[-1]
        assert tiny.rows(folder) == rows, disk.operations[-1]
        assert files.folder_faults(folder / "model") == [], disk.operations[-1]
    assert len(begun) > 50
    old = MIDDLE - 2 if step == MIDDLE else MIDDLE
    assert begun == [old] * begun.count(old) + [step] * begun.count(step)
    assert old in begun and step in begun
