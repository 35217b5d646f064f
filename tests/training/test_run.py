"""The folder of a run: what may take it, and where it goes on (F5, F16, F17)."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

from ownlm.errors import CheckpointError, ConfigError, DiskError, LockedError
from ownlm.training import checkpoint
from ownlm.training.digest import run_digest
from ownlm.training.run import open_run

RUN = {
    "train__steps": 6,
    "train__save_every": 2,
    "train__evaluate_every": 0,
    "train__keep": 3,
    "model__layers": 1,
}
FILES = (
    "config.json",
    "generation_config.json",
    "manifest.json",
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    tiny.train(folder, **RUN)
    shutil.rmtree(folder / "model")
    return folder


@pytest.fixture
def run(tmp_path: Path, finished: Path) -> Path:
    """A copy of a run with checkpoints at steps 2, 4 and 6."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def damage(newest: Path, name: str, kind: str) -> None:
    path, older = newest / name, newest.with_name("step-00000004") / name
    data = path.read_bytes()
    if kind == "deleted":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(data[:-1])
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "swapped":
        path.write_bytes(older.read_bytes())
    else:
        place = int(len(data) * float(kind))
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])


@pytest.mark.parametrize(
    "kind", ["0.0", "0.5", "0.999", "deleted", "truncated", "emptied", "swapped"]
)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_refused_by_name_and_auto_takes_the_one_before(
    run: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = run / "checkpoints" / "step-00000006"
    same_in_both = (newest.with_name("step-00000004") / name).read_bytes()
    if kind == "swapped" and (newest / name).read_bytes() == same_in_both:
        pytest.skip("the same in every checkpoint")
    digest = run_digest(run)
    damage(newest, name, kind)
    with pytest.raises(CheckpointError) as caught, open_run(run, resume="yes"):
        pass
    assert caught.value.exit_code == 4
    assert str(newest) in str(caught.value)
    if name != "manifest.json":
        assert name in caught.value.what
        if kind in {"0.0", "0.5", "0.999"}:
            assert caught.value.what.count("…") == 2  # the hash found and the one expected
    else:
        assert str(newest) in caught.value.what
    assert newest.is_dir()  # a refusal changes nothing
    capsys.readouterr()
    with open_run(run, resume="auto") as opened:
        assert opened.start is not None and opened.start.step == 4
    told = capsys.readouterr().err
    assert "going on from step-00000004" in told and "step-00000006" in told
    assert (run / "checkpoints" / "damaged-step-00000006").is_dir()
    assert tiny.train(run, resume="yes", **RUN).finished
    assert run_digest(run) == digest


def test_when_no_checkpoint_is_whole_nothing_is_guessed(run: Path) -> None:
    for folder in checkpoint.checkpoints(run / "checkpoints"):
        (folder / "state.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint is whole") as caught:
        tiny.train(run, **RUN)
    assert caught.value.what.count("state.json: missing") == 3
    assert len(checkpoint.checkpoints(run / "checkpoints")) == 3


def test_a_checkpoint_under_another_name_is_refused(run: Path) -> None:
    (run / "checkpoints" / "step-00000004").rename(run / "checkpoints" / "step-00000008")
    with pytest.raises(CheckpointError, match="is of step 4, the folder's name says 8"):
        tiny.train(run, resume="yes", **RUN)


@pytest.mark.parametrize("text", ["{}", "[]", "null", "{", '{"step": "six"}', "\x00"])
def test_a_state_that_is_none_is_a_checkpoint_error(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "step-00000006"
    folder.mkdir()
    (folder / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        checkpoint.read_state(folder)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 8, b"\xff" * 64, b"\x08" + b"\0" * 7 + b"not json"]
)
def test_tensors_that_are_none_are_a_checkpoint_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "optimizer.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors"):
        checkpoint.restore(tmp_path, {})


def test_a_new_run_does_not_begin_over_an_old_one(run: Path) -> None:
    before = (run / "log.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="holds a run already, at step 6") as caught:
        tiny.train(run, resume="no", **RUN)
    assert "--resume" in caught.value.next_command
    assert (run / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize("exists", [False, True])
def test_a_resume_where_no_run_began_is_refused(exists: bool, tmp_path: Path) -> None:
    """It would begin another one where somebody mistyped the name of a folder."""
    if exists:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes.txt").write_text("mine")
    with (
        pytest.raises(ConfigError, match="no run to go on with") as caught,
        open_run(tmp_path / "run", resume="yes"),
    ):
        pass
    assert "--resume auto" in caught.value.next_command
    assert (tmp_path / "run").exists() == exists


@pytest.mark.parametrize("resume", ["yes", "auto"])
def test_a_run_that_died_before_its_first_checkpoint_begins_again(
    resume: Any, tmp_path: Path, finished: Path
) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 0, "validation_loss": 9}\n{"step": 1}\n{"st')
    assert tiny.train(tmp_path, resume=resume, **RUN).finished
    assert run_digest(tmp_path) == run_digest(finished)
    assert tiny.rows(tmp_path) == tiny.rows(finished)


def test_choices_of_the_first_start_are_there_for_the_next(run: Path) -> None:
    with open_run(run, resume="yes") as opened:
        assert opened.choices is not None and opened.choices.micro_batch == 4
    with open_run(run.with_name("new")) as opened:
        assert opened.choices is None


def test_what_a_crash_left_hidden_is_swept(run: Path) -> None:
    folder = run / "checkpoints"
    (folder / ".step-00000008.partial").mkdir()
    (folder / "step-00000002").rename(folder / ".step-00000002.removed")
    (folder / "step-00000004").rename(folder / ".step-00000004.replaced")
    with open_run(run, resume="yes"):
        names = sorted(path.name for path in folder.iterdir())
    assert names == ["step-00000004", "step-00000006"]


def test_a_second_process_is_refused_while_the_first_goes_on(run: Path) -> None:
    with open_run(run, resume="yes"):
        with pytest.raises(LockedError), open_run(run, resume="auto"):
            pass
        with pytest.raises(LockedError), open_run(run):
            pass
    with open_run(run, resume="yes"):
        pass


@pytest.mark.parametrize("below", ["", "run"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError) as caught:
        tiny.train(tmp_path / "file" / below, parts={"loader": None}, **RUN)
    assert caught.value.exit_code == 6
