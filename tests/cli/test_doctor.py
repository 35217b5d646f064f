"""`ownlm doctor`: the options of pretrain, a table or JSON, and 1 when a check fails."""

import json
import shlex
from pathlib import Path

import pytest

from ownlm.cli.doctor import pretrain_words, read_options
from ownlm.cli.main import main
from ownlm.errors import ConfigError
from ownlm.evaluation import doctor
from ownlm.evaluation.finding import Finding


@pytest.fixture
def text(tmp_path: Path) -> Path:
    rows = [{"text": f"Document {n} says that {n} times {n} is {n * n}."} for n in range(60)]
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def words(text: Path, *more: str) -> list[str]:
    small = ["--model.layers", "1", "--model.dim", "32", "--model.context", "32"]
    return ["llama-mini", "--data", str(text), "--tokenizer.kind", "byte", *small, *more]


def test_a_sound_run_passes_every_check(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words(text, "--json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] and len(found["checks"]) == len(doctor.CHECKS)
    for check in found["checks"]:
        assert check["passed"] is True and check["measured"] <= check["allowed"], check


@pytest.mark.parametrize(
    ("passed", "code", "said"),
    [(False, 1, "1 of 2 checks failed"), (True, 0, "All checks passed"), (None, 0, "All checks")],
)
def test_the_exit_code_and_the_table_follow_the_findings(
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    passed: bool | None,
    code: int,
    said: str,
) -> None:
    checks = (
        doctor.Check("sound", lambda s, f: Finding("sound", 1e-7, 1e-4, "difference", True)),
        doctor.Check("other", lambda s, f: Finding("other", 0.5, 0.1, "x", passed, "[b]why[/b]")),
    )
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert main(["doctor", *words(text)]) == code
    out = capsys.readouterr().out
    assert said in out and "1e-07" in out and "[b]why[/b]" in out
    assert ("FAIL" in out) is (passed is False)


def test_it_says_what_it_examined_and_how_the_run_begins(
    text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = doctor.Check("c", lambda s, f: Finding("c", 0, 0, "difference", True, "very " * 40))
    monkeypatch.setattr(doctor, "CHECKS", (check,))
    assert main(["doctor", *words(text, "--reduce")]) == 0
    shown = capsys.readouterr()
    assert f"examining llama-mini on {text}, narrowed to two layers" in shown.err
    assert shown.out.endswith(f"next:\n  ownlm pretrain {shlex.join(words(text))}\n")
    assert all(line.startswith("  ") for line in shown.out.splitlines() if "very" in line)


def test_the_next_command_can_be_typed() -> None:
    run = read_options([]).run
    data = ["--data", "FILE_OR_FOLDER"]
    assert pretrain_words(run, ["--reduce", "--json"]) == ["llama-mini", *data]
    assert pretrain_words(run, ["llama-mini", "--model.dim", "96"])[:2] == [
        "llama-mini",
        "--model.dim",
    ]


def test_options_are_those_of_pretrain(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("recipe: char-mini\nmodel: {layers: 3}\n")
    options = read_options(["--config", str(config), "--model.dim", "96", "--reduce"])
    assert options.run.recipe == "char-mini" and options.reduce
    assert (options.run.model.layers, options.run.model.dim) == (3, 96)
    assert read_options([]).run.recipe == "llama-mini"


def test_what_cannot_be_is_refused(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="nearest is char-tiny"):
        read_options(["char-tin"])
    assert main(["doctor", *words(text, "--model.heads", "5")]) == 2
    assert main(["doctor", "demo", "--data", "nowhere"]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_help_lists_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    out = capsys.readouterr().out
    assert "char-tiny" in out and "--reduce" in out
