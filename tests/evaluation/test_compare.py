"""Runs side by side: repetitions are told from experiments, and chance from difference."""

import json
from pathlib import Path

import pytest

from ownlm.cli.main import main
from ownlm.errors import DataError
from ownlm.evaluation.compare import compare, said, write_comparison


def measured(run: Path, text_bytes: int) -> None:
    """What a finished run knows of all its validation text."""
    (run / "evaluation.json").write_text(json.dumps({"text_bytes": text_bytes}))


def made(
    folder: Path, name: str, losses: list[float], lr: float, seed: int, bpb: bool = True
) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    recipe = f"recipe: r\nout: {run}\noptimizer:\n  lr: {lr}\ntrain:\n  seed: {seed}\n"
    recipe += f"  steps: {10 * len(losses)}\n"
    (run / "recipe.yaml").write_text(recipe)
    rows = [{"step": 0, "validation_loss": 5.0} | ({"validation_bpb": 7.0} if bpb else {})]
    for step, loss in enumerate(losses, 1):
        tokens = {"tokens": step * 1000, "tokens_per_second": 500.0}
        rows.append({"step": step * 10, "loss": loss, **tokens})
        figures = {"validation_loss": loss} | ({"validation_bpb": loss * 2} if bpb else {})
        rows.append({"step": step * 10, **figures})
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


@pytest.fixture
def four(tmp_path: Path) -> list[Path]:
    """Two experiments of two seeds: means 1.0 and 1.5, spreads of about 0.014."""
    return [
        made(tmp_path, "high-1", [2.0, 1.51], 1e-2, 1),
        made(tmp_path, "low-1", [2.0, 1.01], 1e-3, 1),
        made(tmp_path, "high-2", [2.0, 1.49], 1e-2, 2),
        made(tmp_path, "low-2", [2.0, 0.99], 1e-3, 2),
    ]


def test_seeds_are_repetitions_and_the_difference_is_more_than_theirs(four: list[Path]) -> None:
    found = compare(four)
    assert found.key == "validation_bpb"
    groups = {name: [run.name for run in group] for name, group in found.experiments.items()}
    assert groups == {"low-1": ["low-1", "low-2"], "high-1": ["high-1", "high-2"]}
    assert found.differences == {
        "optimizer.lr": [1e-2, 1e-3, 1e-2, 1e-3],
        "train.seed": [1, 1, 2, 2],
    }
    (verdict,) = found.verdicts
    spread = 0.02 * 2**0.5  # of 2.02 and 1.98
    assert found.spread(found.experiments["low-1"]) == pytest.approx(spread)
    assert verdict.error == pytest.approx(spread)  # two means of two each
    assert verdict.difference == pytest.approx(1.0) and verdict.sure
    assert "more than seeds make" in str(verdict)


def test_a_difference_within_the_spread_is_called_so(tmp_path: Path) -> None:
    found = compare([
        made(tmp_path, "a", [1.00], 1e-2, 1), made(tmp_path, "b", [1.10], 1e-2, 2),
        made(tmp_path, "c", [1.04], 1e-3, 1), made(tmp_path, "d", [1.12], 1e-3, 2),
    ])  # fmt: skip
    assert found.verdicts[0].sure is False and "no more than seeds make" in str(found.verdicts[0])


def test_without_repetitions_nothing_is_claimed(tmp_path: Path) -> None:
    runs = [made(tmp_path, "a", [1.0], 1e-2, 1), made(tmp_path, "b", [2.0], 1e-3, 1, bpb=False)]
    found = compare(runs)
    assert found.key == "validation_loss"
    assert found.verdicts[0].sure is None and "other seeds" in str(found.verdicts[0])


@pytest.mark.parametrize(("bpb", "said_of"), [(False, "do not compare"), (True, "below")])
def test_runs_that_learned_different_things_are_not_ranked(
    bpb: bool, said_of: str, tmp_path: Path
) -> None:
    """Unless both are measured in bits per byte, which are of the text."""
    runs = [made(tmp_path, name, [loss], 1e-2, 1, bpb) for name, loss in (("a", 1.0), ("b", 2.0))]
    for run, kind in zip(runs, ("causal", "masked"), strict=True):
        with (run / "recipe.yaml").open("a") as recipe:
            recipe.write(f"objective:\n  kind: {kind}\n")
    found = compare(runs)
    assert bool(found.unlike) != bpb != (not found.verdicts)
    assert said_of in "".join(said(found))
    assert said_of in write_comparison(found, tmp_path / "page.html").read_text(encoding="utf-8")


def test_student_asks_more_of_few_seeds(tmp_path: Path) -> None:
    """2 + 1 seeds: one degree of freedom, so a difference of 12.71 standard errors; 3 + 3: 2.78."""
    few = [made(tmp_path, f"few-{n}", [1 + n / 100], 1e-2, n) for n in (1, 2)]
    alone = made(tmp_path, "alone", [1.1], 1e-3, 1)
    (verdict,) = compare([*few, alone]).verdicts
    error = 0.02 / 2**0.5 * (1 / 2 + 1) ** 0.5  # bits per byte are twice the losses here
    assert verdict.freedom == 1 and verdict.error == pytest.approx(error)
    assert verdict.reach == pytest.approx(12.71 * error) and verdict.difference > 2 * error
    assert verdict.sure is False
    more = [made(tmp_path, f"more-{n}", [1.1 + n / 100], 1e-3, n) for n in (1, 2, 3)]
    (verdict,) = compare([*few, made(tmp_path, "few-3", [1.03], 1e-2, 3), *more]).verdicts
    assert verdict.freedom == 4 and verdict.reach == pytest.approx(2.78 * (verdict.error or 0))
    assert verdict.sure


def test_copies_are_no_repetitions(tmp_path: Path) -> None:
    """Nor are runs with the same seed; and a folder that is named twice is one run."""
    one, copy = made(tmp_path, "a", [1.0], 1e-2, 1), made(tmp_path, "b", [1.0], 1e-2, 1)
    other = made(tmp_path, "c", [2.0], 1e-3, 1)
    found = compare([one, copy, one, other])
    assert len(found.runs) == 3
    assert found.verdicts[0].sure is None


def test_runs_whose_folders_are_named_alike_are_told_apart(tmp_path: Path) -> None:
    runs = [made(tmp_path / place, "run", [loss], lr, 1)
            for place, loss, lr in (("x", 1.0, 1e-2), ("y", 2.0, 1e-3))]  # fmt: skip
    found = compare(runs)
    assert [run.name for run in found.runs] == ["x/run", "y/run"]
    assert len(found.experiments) == 2
    assert "x/run is 2.0000 below y/run" in said(found)[0]
    assert "y/run" in write_comparison(found, tmp_path / "c.html").read_text(encoding="utf-8")


def test_runs_on_unlike_texts_are_not_ranked(tmp_path: Path) -> None:
    """The size of the validation text tells; the same text in two places is one text."""
    runs = [made(tmp_path, name, [loss], 1e-2, 1) for name, loss in (("a", 1.0), ("b", 2.0))]
    for run in runs:
        with (run / "recipe.yaml").open("a") as recipe:
            recipe.write(f"data:\n  path: {run.name}.txt\n")
    assert compare(runs).unlike == ["data.path"]
    for run in runs:
        measured(run, 1000)
    assert compare(runs).unlike == [] and len(compare(runs).verdicts) == 1
    measured(runs[1], 1001)
    assert compare(runs).unlike == ["the validation text"] and not compare(runs).verdicts


def test_a_run_that_was_stopped_is_not_ranked(
    four: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe = four[0] / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("steps: 20", "steps: 400"))
    found = compare(four[:2])
    assert not found.verdicts
    assert said(found) == ["high-1 ended at 20 of 400: not ranked"]
    assert main(["compare", *map(str, four[:2]), "--out", str(tmp_path / "x.html")]) == 0
    assert "20 of 400" in capsys.readouterr().out


def test_evaluations_between_logged_steps_are_drawn(tmp_path: Path) -> None:
    """Logged at 10 and 20, evaluated at 5 and 20: 5 updates had cost half of ten."""
    run = made(tmp_path, "a", [2.0, 1.5], 1e-2, 1)
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 5, "validation_bpb": 6.0, "validation_loss": 3.0}) + "\n")
    curve = compare([run]).runs[0].curve("validation_bpb", "tokens")
    assert sorted(curve.steps) == [0, 500, 1000, 2000]


def test_nowhere_to_write_is_said_first(
    four: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *map(str, four), "--out", str(tmp_path)]) == 2
    assert "a folder, not a file" in capsys.readouterr().err
    assert main(["compare"]) == 2
    assert "no run is named" in capsys.readouterr().err


def test_costs_add_up(four: list[Path]) -> None:
    run = compare(four).runs[0]
    assert run.costs[20]["tokens"] == 2000 and run.costs[20]["seconds"] == pytest.approx(4.0)
    assert run.curve("validation_bpb", "tokens").steps == [0.0, 1000, 2000]


def test_a_folder_without_an_evaluation_is_named(four: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no evaluation"):
        compare([*four, tmp_path])


def test_the_page_and_the_command(
    four: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_comparison(compare(four), tmp_path / "c.html")
    text = path.read_text()
    assert text.count("<img") == 4 and "optimizer.lr" in text and "<script" not in text
    assert main(["compare", *map(str, four), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdicts"][0]["sure"] is True and len(found["runs"]) == 4
    out = tmp_path / "d.html"
    assert main(["compare", *map(str, four), "--out", str(out)]) == 0
    assert "more than seeds make" in capsys.readouterr().out and out.exists()
