"""Runs side by side: repetitions are told from experiments, and chance from difference."""

import json
from pathlib import Path

import pytest

from ownlm.cli.main import main
from ownlm.errors import DataError
from ownlm.evaluation.compare import compare, said, write_comparison


def made(
    folder: Path, name: str, losses: list[float], lr: float, seed: int, bpb: bool = True
) -> Path:
    run = folder / name
    run.mkdir()
    recipe = f"recipe: r\nout: {run}\noptimizer:\n  lr: {lr}\ntrain:\n  seed: {seed}\n"
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
