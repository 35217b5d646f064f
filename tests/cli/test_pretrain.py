"""The options of `ownlm pretrain`: recipe, then recipe.yaml or --config, then the line."""

import json
from pathlib import Path

import pytest
import yaml

from ownlm.cli.main import main
from ownlm.cli.pretrain import Options, read_options
from ownlm.errors import ConfigError
from ownlm.recipes.named import recipe


def written(folder: Path, values: dict[str, object], name: str = "run.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_recipe_alone_is_itself() -> None:
    assert read_options(["char-tiny"]) == Options(recipe("char-tiny"))


def test_yaml_lies_over_the_recipe_and_the_line_over_both(tmp_path: Path) -> None:
    file = written(tmp_path, {"model": {"layers": 3, "heads": 2}, "data": {"path": "from yaml"}})
    words = ["char-tiny", "--config", str(file), "--model.layers", "5", "--train.steps=9"]
    run = read_options(words).run
    assert (run.model.layers, run.model.heads, run.model.dim) == (5, 2, 128)
    assert (run.data.path, run.train.steps) == ("from yaml", 9)


def test_yaml_may_name_the_recipe(tmp_path: Path) -> None:
    file = written(tmp_path, {"recipe": "char-mini", "train": {"steps": 7}})
    run = read_options(["--config", str(file)]).run
    assert (run.recipe, run.model.dim, run.train.steps) == ("char-mini", 384, 7)
    assert read_options(["char-tiny", "--config", str(file)]).run.model.dim == 128


def test_data_and_out_have_short_names() -> None:
    run = read_options(["demo", "--data=-dash and space", "--out", "here"]).run
    assert run.data.path == "-dash and space"
    assert run.folder == Path("here")
    assert recipe("demo").folder == Path("runs/demo")


@pytest.mark.parametrize(
    ("words", "resume"),
    [
        ([], "no"),
        (["--resume"], "yes"),
        (["--resume", "--allow-change"], "yes"),
        (["--resume", "auto"], "auto"),
        (["--resume=no"], "no"),
    ],
)
def test_resume_alone_means_yes(words: list[str], resume: str) -> None:
    options = read_options(["demo", "--out", "nowhere", *words])
    assert options.resume == resume
    assert options.allow_change == ("--allow-change" in words)


def test_a_resumed_run_keeps_its_values(tmp_path: Path) -> None:
    values = recipe("char-tiny").with_values({"train": {"steps": 33}}).model_dump(mode="json")
    written(tmp_path / "run", values, "recipe.yaml")
    words = ["--out", str(tmp_path / "run"), "--resume", "--train.keep", "5"]
    for name in ([], ["char-tiny"]):
        run = read_options([*name, *words]).run
        assert (run.recipe, run.train.steps, run.train.keep) == ("char-tiny", 33, 5)
    assert read_options(["char-tiny", *words[:2]]).run.train.steps == 2000


@pytest.mark.parametrize("resume", ["yes", "auto"])
@pytest.mark.parametrize(("began", "other"), [
    ("gpt-tiny", "bert-tiny"), ("gpt-tiny", "gpt-mini"), ("of my own", "bert-tiny"),
])  # fmt: skip
def test_a_run_does_not_go_on_as_another_recipe(
    began: str, other: str, resume: str, tmp_path: Path
) -> None:
    values = recipe("gpt-tiny").model_dump(mode="json") | {"recipe": began}
    written(tmp_path / "run", values, "recipe.yaml")
    words = ["--out", str(tmp_path / "run"), "--resume", resume]
    with pytest.raises(ConfigError, match=f"a run of {began} .*cannot go on as {other}") as caught:
        read_options([other, *words])
    assert caught.value.where == str(tmp_path / "run")
    assert read_options(["gpt-tiny", *words]).run.model.family == "gpt2"


def test_a_recipe_has_two_names(tmp_path: Path) -> None:
    """`gpt` is `gpt-mini`: a run of one goes on under the other."""
    values = recipe("gpt").model_dump(mode="json")
    written(tmp_path / "run", values, "recipe.yaml")
    words = ["gpt-mini", "--out", str(tmp_path / "run"), "--resume"]
    assert read_options(words).run.recipe == "gpt-mini"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["which recipe", "llama-mini"]),
        (["char-tinny"], ["nearest is char-tiny"]),
        (["demo", "--train.stepz", "3"], ["nearest is --train.steps"]),
        (["demo", "--model.layers", "0"], ["--model.layers", "greater than or equal to 1"]),
        (
            ["demo", "--model.heads", "7"],
            ["model.heads: dim", "not a multiple of heads 7", "choose heads among"],
        ),
        (["demo", "--resume", "maybe"], ["--resume", "auto"]),
        (["demo", "--recipe", "other"], ["unknown option --recipe"]),
        (["demo", "--epochs", "nan"], ["--epochs", "finite"]),
        (["demo", "--epochs", "inf"], ["--epochs", "finite"]),
        (["demo", "--epochs", "-1"], ["--epochs", "greater than or equal to 0"]),
        (["demo", "--epochs", "1e300"], ["--epochs", "less than or equal to 1000000"]),
        (["demo", "--train.batch", "99999999999"], ["--train.batch", "less than or equal"]),
        (["demo", "--train.steps", "9" * 300], ["--train.steps", "less than or equal"]),
        (["demo", "--mixture.temperature", "0.001"], ["--mixture.temperature", "0.1"]),
    ],
)
def test_faults(words: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(words)
    for part in parts:
        assert part in str(caught.value)


def test_faults_in_yaml_name_file_and_key(tmp_path: Path) -> None:
    file = written(tmp_path, {"train": {"stepz": 3}})
    with pytest.raises(ConfigError, match=r"nearest is train\.steps") as caught:
        read_options(["demo", "--config", str(file)])
    assert caught.value.where == str(file)
    file.write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        read_options(["demo", "--config", str(file)])


def test_help_shows_recipes_and_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    for words, steps in ((["--help"], "default: 0"), (["char-tiny", "--help"], "default: 2000")):
        with pytest.raises(SystemExit) as leaving:
            main(["pretrain", *words])
        assert leaving.value.code == 0
        shown = capsys.readouterr().out
        assert "gpt2-124m" in shown
        assert steps in shown


def test_refusals_come_before_torch_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "demo", "--train.stepz", "3", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["exit_code"] == 2
