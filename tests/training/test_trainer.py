"""The loop: what a run leaves, what stops it, and that it goes on exactly."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from ownlm import files
from ownlm.errors import CheckpointError, ConfigError, DataError, DiskError, NonFiniteError
from ownlm.log import read_rows
from ownlm.models.load import load_model, save_model
from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import Loss
from ownlm.training import checkpoint, step, trainer
from ownlm.training.digest import run_digest
from ownlm.training.run import open_run

SHORT = {
    "train__steps": 6,
    "train__save_every": 2,
    "train__evaluate_every": 3,
    "model__layers": 1,
}


class Crash(BaseException):
    """The process is gone."""


class Crashing(tiny.TinyLoader):
    """Fails when a micro-batch is asked for; counts what was."""

    def __init__(self, batch: int, step: int = -1, micro: int = 0) -> None:
        super().__init__(batch)
        self.last, self.asked = (step, micro), 0

    def batch(self, step: int, micro: int = 0, of: int = 1) -> tiny.Samples:
        if (step, micro) == self.last:
            raise Crash
        self.asked += 1
        return super().batch(step, micro, of)


def steps_saved(folder: Path) -> list[int]:
    return [checkpoint.step_of(p) for p in checkpoint.checkpoints(folder / "checkpoints")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    tiny.train(folder, **SHORT)
    return folder


def test_a_run_leaves_rows_checkpoints_and_the_best_model(whole: Path) -> None:
    rows = read_rows(whole / "log.jsonl")
    training = [row for row in rows if "loss" in row]
    assert [row["step"] for row in training] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if "validation_loss" in row] == [0, 3, 6]
    first = training[0]
    assert float.fromhex(first["loss_hex"]) == first["loss"]
    assert first["loss"] == pytest.approx(np.log(tiny.VOCAB), rel=0.02)
    assert [row["tokens"] for row in training] == [96 * n for n in range(1, 7)]
    assert first["lr"] == pytest.approx(1e-2 / 4)  # the first of a warmup of 3
    assert all(row["grad_norm"] > 0 and row["tokens_per_second"] > 0 for row in training)
    assert len({row["samples_digest"] for row in training}) == 6
    losses = {row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}
    best = min(losses, key=losses.__getitem__)
    model, _ = load_model(whole / "model")
    assert tiny.evaluate(model)["validation_loss"] == losses[best]
    assert set(steps_saved(whole)) == {4, 6, best}
    assert files.folder_faults(whole / "model") == []


def test_a_checkpoint_is_a_model_folder_and_the_state_of_the_run(whole: Path) -> None:
    folder = whole / "checkpoints" / "step-00000006"
    model, _ = load_model(folder)
    tensors = load_file(folder / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, tensors[f"master.{name}"])
        assert tensors[f"first.{name}"].shape == parameter.shape
        assert (tensors[f"second.{name}"] >= 0).all()
    state = json.loads((folder / "state.json").read_text())
    assert state["step"] == 6 and state["sequences"] == 48 and state["tokens"] == 576
    assert state["identity"] == tiny.IDENTITY
    assert state["run"]["train"]["steps"] == 6


def test_bits_per_byte_follow_from_the_loss(tmp_path: Path) -> None:
    tiny.train(tmp_path, parts={"tokens_per_byte": 0.25}, train__steps=4, model__layers=1)
    row = read_rows(tmp_path / "log.jsonl")[1]
    assert row["bpb"] == pytest.approx(row["loss"] * 0.25 / np.log(2))


def test_the_loss_falls(tmp_path: Path) -> None:
    result = tiny.train(tmp_path, train__steps=60, model__dropout=0.0)
    rows = read_rows(tmp_path / "log.jsonl")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-5:]) < losses[0] - 0.3
    assert result.validation["validation_loss"] < 3.4


def test_micro_batches_change_nothing_but_rounding(tmp_path: Path) -> None:
    for name, micro in (("one", 0), ("four", 2)):
        over = SHORT | {"choices__micro_batch": micro, "model__dropout": 0.0}
        tiny.train(tmp_path / name, **over)
    one, four = (tiny.rows(tmp_path / name) for name in ("one", "four"))
    assert [r["samples_digest"] for r in one if "loss" in r] == [
        r["samples_digest"] for r in four if "loss" in r
    ]
    for a, b in zip(one, four):
        key = "loss" if "loss" in a else "validation_loss"
        assert b[key] == pytest.approx(a[key], rel=1e-6)


# F19: where a run may go on ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "micro"),
    [(0, 0), (0, 1), (1, 0), (3, 1), (4, 0), (5, 0), (9, 1), (10, 0), (11, 1)],
)
def test_a_crash_anywhere_is_as_if_it_had_not_been(tmp_path: Path, step: int, micro: int) -> None:
    """An epoch is 5 updates: its first and last batch, the middle of an update, step 0, the end."""
    over = {"train__steps": 12, "train__save_every": 1, "train__evaluate_every": 5}
    tiny.train(tmp_path / "whole", **over)
    loader = Crashing(8, step, micro)
    with pytest.raises(Crash):
        tiny.train(tmp_path / "cut", parts={"loader": loader}, **over)
    assert steps_saved(tmp_path / "cut")[-1:] == [step]
    assert tiny.train(tmp_path / "cut", **over).finished
    assert run_digest(tmp_path / "cut") == run_digest(tmp_path / "whole")
    assert tiny.rows(tmp_path / "cut") == tiny.rows(tmp_path / "whole")
    assert read_rows(tmp_path / "cut" / "resumes.jsonl") == [{"step": step}]
    assert not (tmp_path / "whole" / "resumes.jsonl").exists()


def test_the_digest_sees_any_difference(tmp_path: Path, whole: Path) -> None:
    """The control: another seed, another rate, one flipped bit of a moment."""
    seen = {run_digest(whole)}
    for name, over in {
        "seed": {"train__seed": 4},
        "rate": {"optimizer__lr": 1.0000001e-2},
        "dropout": {"model__dropout": 0.11},
    }.items():
        tiny.train(tmp_path / name, **(SHORT | over))
        seen.add(run_digest(tmp_path / name))
    path = whole / "checkpoints" / "step-00000006" / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    seen.add(run_digest(whole))
    data[-1] ^= 1
    path.write_bytes(data)
    assert len(seen) == 5


def test_every_evaluation_is_told_as_it_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.train(tmp_path, **SHORT)
    told = [line for line in capsys.readouterr().err.splitlines() if "validation" in line]
    logged = [row for row in tiny.rows(tmp_path) if row.get("validation_loss") and row["step"]]
    assert logged and told == [
        f"step {row['step']}/6  validation loss {row['validation_loss']:.4f}" for row in logged
    ]


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    tiny.train(tmp_path, **SHORT)

    def facts() -> dict[str, tuple[int, int]]:
        found = (p for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock")
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in found}

    before = facts()
    loader = Crashing(8)
    result = tiny.train(tmp_path, resume="yes", parts={"loader": loader}, **SHORT)
    assert result.finished and result.exit_code == 0 and result.step == 6
    assert facts() == before
    assert loader.asked == 0


def test_bf16_goes_on_bit_for_bit(tmp_path: Path) -> None:
    over = SHORT | {"choices__precision": "bf16"}
    tiny.train(tmp_path / "whole", **over)
    with pytest.raises(Crash):
        tiny.train(tmp_path / "cut", parts={"loader": Crashing(8, 5)}, **over)
    tiny.train(tmp_path / "cut", **over)
    assert run_digest(tmp_path / "cut") == run_digest(tmp_path / "whole")
    stored = load_file(tmp_path / "cut" / "checkpoints" / "step-00000006" / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["with space", "it's", "😀", "שלום", "two\nlines", "-rf", b"\xff"])
def test_a_run_may_live_anywhere(tmp_path: Path, whole: Path, name: str | bytes) -> None:
    folder = tmp_path / (os.fsdecode(name) if isinstance(name, bytes) else name)
    tiny.train(folder, **SHORT)
    assert run_digest(folder) == run_digest(whole)


# Evaluation, samples ----------------------------------------------------------------------


def test_an_evaluation_that_fails_has_cost_nothing(tmp_path: Path) -> None:
    def broken(model: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise Crash
        return tiny.evaluate(model)

    calls: list[int] = []
    over = SHORT | {"train__save_every": 0}
    with pytest.raises(Crash):
        tiny.train(tmp_path, parts={"evaluate": broken}, **over)
    assert steps_saved(tmp_path)[-1] == 3
    loader = Crashing(8)
    tiny.train(tmp_path, parts={"loader": loader}, **over)
    assert loader.asked == 2 * 3  # steps 4, 5 and 6, two micro-batches each
    assert [r["step"] for r in tiny.rows(tmp_path) if "validation_loss" in r] == [0, 3, 6]


def test_the_model_rests_while_it_is_looked_at(tmp_path: Path) -> None:
    seen = []

    def look(model: Any, *_: Any) -> dict[str, float]:
        seen.append((model.training, torch.is_grad_enabled()))
        return {"validation_loss": 1.0}

    class Watching(Causal):
        def loss(self, model: Any, batch: Any) -> Loss:
            assert model.training and torch.is_grad_enabled()
            return super().loss(model, batch)

    parts = {"evaluate": look, "sample": look, "objective": Watching()}
    tiny.train(tmp_path, parts=parts, train__sample_every=2, **SHORT)
    assert seen and set(seen) == {(False, False)}


def test_samples_are_written_on_time_and_once(tmp_path: Path) -> None:
    steps: list[int] = []
    parts = {"sample": lambda model, step: steps.append(step)}
    over = SHORT | {"train__steps": 7, "train__sample_every": 3}
    with pytest.raises(Crash):
        tiny.train(tmp_path, parts=parts | {"loader": Crashing(8, 4)}, **over)
    tiny.train(tmp_path, parts=parts, **over)
    tiny.train(tmp_path, parts=parts, **over)
    assert steps == [3, 6, 7]


def test_without_evaluation_the_last_model_is_kept(tmp_path: Path) -> None:
    result = tiny.train(tmp_path, parts={"evaluate": None}, **SHORT)
    assert result.best_step is None and result.validation == {}
    assert steps_saved(tmp_path) == [4, 6]
    model, _ = load_model(tmp_path / "model")
    last, _ = load_model(tmp_path / "checkpoints" / "step-00000006")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), last.parameters()))


def test_the_best_checkpoint_stays_and_becomes_the_model(tmp_path: Path) -> None:
    losses = iter([5.0, 1.0, 2.0, float("nan"), 3.0, 4.0])
    over = SHORT | {"train__steps": 10, "train__evaluate_every": 2, "train__keep": 1}
    result = tiny.train(
        tmp_path, parts={"evaluate": lambda model: {"validation_loss": next(losses)}}, **over
    )
    assert result.best_step == 2
    assert steps_saved(tmp_path) == [2, 10]
    model, best = (load_model(tmp_path / p)[0] for p in ("model", "checkpoints/step-00000002"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), best.parameters()))


def test_another_figure_may_decide_which_checkpoint_is_the_best(tmp_path: Path) -> None:
    """0.7 twice: the lower loss of them; rows with a figure or loss that is no number are none."""
    pairs = [
        (5.0, 0.1),
        (1.0, 0.6),
        (2.0, 0.7),
        (1.5, 0.7),
        (float("nan"), 0.9),
        (1.2, float("nan")),
    ]
    rows = iter(pairs)
    over = SHORT | {"train__steps": 10, "train__evaluate_every": 2, "train__keep": 1}
    parts = {
        "evaluate": lambda model: dict(zip(("validation_loss", "validation_f1"), next(rows))),
        "rank": lambda figures: (figures["validation_f1"], -figures["validation_loss"]),
    }
    result = tiny.train(tmp_path, parts=parts, **over)
    assert result.best_step == 6
    assert tiny.train(tmp_path, parts=parts, **over).best_step == 6  # also read from the log


def test_a_run_that_was_ranked_otherwise_keeps_what_it_still_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 4 has the highest figure, and its checkpoint was retired when losses decided."""
    rows = iter([(5.0, 0.1), (1.0, 0.6), (2.0, 0.9), (3.0, 0.2)])
    names = ("validation_loss", "validation_f1")
    look = {"evaluate": lambda model: dict(zip(names, next(rows)))}
    over = SHORT | {"train__steps": 6, "train__evaluate_every": 2, "train__keep": 1}
    assert tiny.train(tmp_path, parts=look, **over).best_step == 2
    assert steps_saved(tmp_path) == [2, 6]
    parts = look | {"rank": lambda figures: (figures["validation_f1"],)}
    assert tiny.train(tmp_path, parts=parts, **over).best_step == 2
    assert steps_saved(tmp_path) == [2, 6]
    assert "damaged" not in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_best_checkpoint_that_is_damaged_does_not_become_the_model(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = iter([5.0, 1.0, 2.0])
    best = tmp_path / "checkpoints" / "step-00000003"

    def evaluate(model: Any) -> dict[str, float]:
        found = {"validation_loss": next(losses)}
        if found["validation_loss"] == 2.0:
            data = bytearray((best / "model.safetensors").read_bytes())
            data[-1] ^= 1
            (best / "model.safetensors").write_bytes(data)
            if damage == "gone":
                files.remove_folder(best)
        return found

    result = tiny.train(tmp_path, parts={"evaluate": evaluate}, **SHORT)
    assert result.finished and result.best_step is None
    assert "step-00000003" in capsys.readouterr().err
    model, last = (load_model(tmp_path / p)[0] for p in ("model", "checkpoints/step-00000006"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), last.parameters()))
    assert best.exists() == (damage == "flipped")


# F6, F7: numbers that are none, and jumps -----------------------------------------------------


class Spoilt(Causal):
    """The loss of one call is multiplied."""

    def __init__(self, call: int, by: float) -> None:
        self.left, self.by = call, by

    def loss(self, model: Any, batch: Any) -> Loss:
        loss = super().loss(model, batch)
        self.left -= 1
        return loss._replace(total=loss.total * self.by) if self.left < 0 else loss


@pytest.mark.parametrize("by", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_before_the_update(
    tmp_path: Path, by: float
) -> None:
    model = tiny.tiny_model(layers=1)
    parts = {"objective": Spoilt(2 * 4 + 1, by), "model": model}
    with pytest.raises(NonFiniteError) as caught:
        tiny.train(tmp_path, parts=parts, **SHORT)
    assert caught.value.exit_code == 5
    assert "step 5" in str(caught.value) and "step-00000004" in str(caught.value)
    kept, _ = load_model(tmp_path / "checkpoints" / "step-00000004")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), kept.parameters()))
    assert [r["step"] for r in tiny.rows(tmp_path) if "loss" in r] == [1, 2, 3, 4]
    report = json.loads((tmp_path / "nonfinite-step-00000005.json").read_text())
    loader = tiny.TinyLoader(8)
    ids = [list(map(int, loader.batch(4, m, 2).sample_ids)) for m in range(2)]
    assert [part["sample_ids"] for part in report["micro_batches"]] == ids
    assert "model" not in os.listdir(tmp_path)
    # After the fault is mended, the run goes on exactly.
    tiny.train(tmp_path, **SHORT)
    tiny.train(tmp_path / "whole", **SHORT)
    assert run_digest(tmp_path) == run_digest(tmp_path / "whole")


def test_off_the_cpu_only_logged_steps_are_read_and_no_bad_update_is_made_or_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the fault of update 6 comes to light when step 8 is to be saved."""
    reads: list[int] = []
    monkeypatch.setattr(trainer, "read", lambda outcome: reads.append(1) or step.read(outcome))
    over = SHORT | {"train__steps": 12, "train__save_every": 4, "train__log_every": 5}
    with open_run(tmp_path / "spoilt") as run:
        made = tiny.make_trainer(
            run, tiny.settings(**over), objective=Spoilt(2 * 5, float("nan")), evaluate=None
        )
        made.reads_are_free = False
        with pytest.raises(NonFiniteError, match="step 6"):
            made.fit()
    assert len(reads) == 1  # step 5
    assert steps_saved(tmp_path / "spoilt") == [4]
    whole = over | {"train__save_every": 5, "train__keep": 9}
    tiny.train(tmp_path / "whole", parts={"evaluate": None}, **whole)
    five = load_file(tmp_path / "whole" / "checkpoints" / "step-00000005" / "optimizer.safetensors")
    for name, tensor in made.tensors().items():
        assert torch.equal(tensor, five[name]), name


def test_a_jump_of_the_loss_is_told_in_its_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Jump(Causal):
        calls = 0

        def loss(self, model: Any, batch: Any) -> Loss:
            self.calls += 1
            loss = super().loss(model, batch)
            return loss._replace(total=loss.total * (50 if self.calls == 12 else 1))

    over = SHORT | {"train__steps": 20, "train__log_every": 7, "choices__micro_batch": 0}
    tiny.train(tmp_path, parts={"objective": Jump()}, **over)
    told = [line for line in capsys.readouterr().err.splitlines() if "jumped" in line]
    assert len(told) == 1 and "step 12:" in told[0]
    ids = [int(i) for i in tiny.TinyLoader(8).batch(11).sample_ids]
    assert str(ids) in told[0]


# F10: signals ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", ["step", "save", "evaluate"])
@pytest.mark.parametrize("times", [1, 2])
def test_asked_to_stop_it_finishes_the_step_saves_once_and_goes_on(
    tmp_path: Path, whole: Path, which: signal.Signals, where: str, times: int
) -> None:
    saves: list[str] = []
    calls = {"step": 0, "save": 0, "evaluate": 0}

    def ask(place: str, call: int) -> None:
        calls[place] += 1
        if place == where and calls[place] == call:
            for _ in range(times):
                os.kill(os.getpid(), which)

    class Asking(Causal):
        def loss(self, model: Any, batch: Any) -> Loss:
            ask("step", 6)  # within step 3
            return super().loss(model, batch)

    def save(model: Any, folder: Path) -> None:
        saves.append(folder.name)
        ask("save", 2)  # the checkpoint of step 2
        save_model(model, folder)

    def evaluate(model: Any) -> dict[str, float]:
        ask("evaluate", 2)  # at step 3
        return tiny.evaluate(model)

    before = signal.getsignal(which)
    parts = {"objective": Asking(), "save_model": save, "evaluate": evaluate}
    result = tiny.train(tmp_path, parts=parts, **SHORT)
    assert signal.getsignal(which) == before
    assert result.exit_code == 128 + which and not result.finished
    assert result.step == {"step": 3, "save": 2, "evaluate": 3}[where]
    assert steps_saved(tmp_path)[-1] == result.step
    assert len(saves) == len(set(saves))
    assert not (tmp_path / "model").exists()
    assert tiny.train(tmp_path, **SHORT).finished
    assert run_digest(tmp_path) == run_digest(whole)
    assert tiny.rows(tmp_path) == tiny.rows(whole)


@pytest.mark.parametrize("where", ["step", "evaluate", "export"])
def test_asked_to_stop_at_the_end_it_leaves_the_rest_to_a_resume(
    tmp_path: Path, whole: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last update, the last evaluation, the copy of the finished model."""
    calls = {"step": 0, "evaluate": 0, "export": 0}

    def ask(place: str, call: int) -> None:
        calls[place] += 1
        if place == where and calls[place] == call:
            os.kill(os.getpid(), signal.SIGTERM)

    class Asking(Causal):
        def loss(self, model: Any, batch: Any) -> Loss:
            ask("step", 12)  # within step 6
            return super().loss(model, batch)

    def evaluate(model: Any) -> dict[str, float]:
        ask("evaluate", 3)  # at step 6
        return tiny.evaluate(model)

    def export(source: Path, final: Path) -> None:
        ask("export", 1)
        exported(source, final)

    exported = checkpoint.export_model
    monkeypatch.setattr(checkpoint, "export_model", export)
    result = tiny.train(tmp_path, parts={"objective": Asking(), "evaluate": evaluate}, **SHORT)
    assert (result.step, result.finished, result.exit_code) == (6, False, 143)
    assert steps_saved(tmp_path)[-1] == 6
    result = tiny.train(tmp_path, **SHORT)
    assert result.finished and result.exit_code == 0
    assert run_digest(tmp_path) == run_digest(whole)
    assert tiny.rows(tmp_path) == tiny.rows(whole)
    assert files.folder_manifest(tmp_path / "model") == files.folder_manifest(whole / "model")


# F3, F17: no room ------------------------------------------------------------------------------


def test_a_disk_without_room_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda path: 10_000)
    loader = Crashing(8)
    with pytest.raises(DiskError, match=r"needs [\d,]+ bytes .*, 10,000 bytes .* free"):
        tiny.train(tmp_path, parts={"loader": loader}, **SHORT)
    assert loader.asked == 0


def test_a_disk_that_fills_up_keeps_the_checkpoint_before(tmp_path: Path, whole: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    saves = []

    def save(model: Any, folder: Path) -> None:
        saves.append(folder.name)
        save_model(model, folder)
        if len(saves) == 3:  # step 3; what follows, optimizer.safetensors, is larger
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))

    try:
        with pytest.raises(DiskError) as caught:
            tiny.train(tmp_path, parts={"save_model": save}, **SHORT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.exit_code == 6 and "free" in str(caught.value)
    assert steps_saved(tmp_path)[-1] == 2
    tiny.train(tmp_path, resume="yes", **SHORT)
    assert run_digest(tmp_path) == run_digest(whole)
    assert tiny.rows(tmp_path) == tiny.rows(whole)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_cannot_be_written_ends_the_run_as_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(DiskError) as caught:
        tiny.train(tmp_path, **SHORT)
    assert caught.value.exit_code == 6


# What cannot work is said at once ----------------------------------------------------------------


def test_other_data_or_another_tokenizer_is_refused(tmp_path: Path) -> None:
    tiny.train(tmp_path, **SHORT)
    for name in ("data", "tokenizer"):
        with pytest.raises(DataError, match=f"{name} is not what the run was begun with"):
            tiny.train(
                tmp_path, allow=True, parts={"identity": tiny.IDENTITY | {name: "x" * 64}}, **SHORT
            )


def test_a_micro_batch_that_leaves_a_rest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one of 1, 2, 4, 8"):
        tiny.train(tmp_path, choices__micro_batch=3)


def test_a_checkpoint_of_another_model_is_refused_with_every_mismatch(tmp_path: Path) -> None:
    tiny.train(tmp_path, **SHORT)
    with pytest.raises(CheckpointError) as caught:
        tiny.train(tmp_path, parts={"model": tiny.tiny_model(layers=2)}, **SHORT)
    assert caught.value.exit_code == 4
    missing = "first.stack.blocks.1.attn.body.qkv.bias: expected (48,), found nothing"
    assert missing in str(caught.value)
