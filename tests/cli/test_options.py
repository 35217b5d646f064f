"""Command lines to configurations: what is typed wins, and faults are named by their option."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pydantic
import pytest
import tyro

from ownlm.cli import options
from ownlm.cli.options import parse, value_of
from ownlm.config import Config
from ownlm.errors import ConfigError


class Part(Config):
    steps: int = pydantic.Field(default=10, ge=1)
    """Updates of the weights."""
    kind: Literal["sun", "moon"] = "sun"
    """Which light."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Two shares."""
    share: float = 0.5
    """Of one."""
    path: Annotated[str, tyro.conf.arg(aliases=["--data"])] = ""
    """Where."""

    @pydantic.model_validator(mode="after")
    def _moon_is_short(self) -> "Part":
        if self.kind == "moon" and self.steps > 100:
            raise ConfigError("the moon allows 100 steps")
        return self


class Whole(Config):
    part: Part = Part()
    name: str = "x"
    """A name."""


class Outermost(Config):
    epochs: float = pydantic.Field(default=1.0, ge=0.0)
    """Passes."""


@dataclass(frozen=True)
class Options:
    run: Annotated[Whole, tyro.conf.arg(name="")]
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on."""


DEFAULT = Options(run=Whole(part=Part(steps=5), name="default"))


def read(*words: str) -> Options:
    return parse(Options, words, prog="ownlm probe", default=DEFAULT)


def test_what_is_not_typed_stays() -> None:
    assert read() == DEFAULT


def test_what_is_typed_wins() -> None:
    found = read("--part.steps", "7", "--part.betas", "0.5", "0.6", "--data", "a b", "--resume")
    assert found.run.part == Part(steps=7, betas=(0.5, 0.6), path="a b")
    assert found.run.name == "default"
    assert found.resume


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--part.stepz", "3"], ["unknown option --part.stepz", "nearest is --part.steps"]),
        (["--dta=3"], ["unknown option --dta", "nearest is --data"]),
        (["--part.steps", "many"], ["--part.steps: 'many' is no whole number"]),
        (["--part.betas", "0.5", "x"], ["--part.betas: cannot be read: '0.5', 'x'"]),
        (["--part.share", "half"], ["--part.share: 'half' is no number"]),
        (["--part.steps", "0"], ["--part.steps", "greater than or equal to 1", "got 0"]),
        (["--part.kind", "mars"], ["--part.kind", "sun", "moon"]),
        (["--part.kind", "moon", "--part.steps", "101"], ["the moon allows 100 steps"]),
        (["--part.steps"], ["--part.steps"]),
        (["extra"], ["one argument too many", "extra"]),
    ],
)
def test_faults_name_the_option(words: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*words)
    assert caught.value.exit_code == 2
    assert caught.value.next_command == "ownlm probe --help"
    for part in parts:
        assert part in caught.value.what
    assert "╭" not in str(caught.value)


@pytest.mark.parametrize(("value", "part"), [("nan", "finite"), ("-1", "equal to 0")])
def test_faults_of_the_outermost_configuration_are_said_too(value: str, part: str) -> None:
    @dataclass(frozen=True)
    class Bare:
        run: Annotated[Outermost, tyro.conf.arg(name="")]

    with pytest.raises(ConfigError) as caught:
        parse(Bare, ["--epochs", value], prog="ownlm probe", default=Bare(Outermost()))
    assert part in caught.value.what and "--epochs" in caught.value.what


ASCII = """\
 Invalid choice
 ------------------------------------------------------------------------------
  invalid choice 'mars' for argument '--part.kind'.
      Expected one of ('sun', 'moon').
 ------------------------------------------------------------------------------
  For full helptext, run: probe --help
"""


def test_a_terminal_without_line_characters_gets_the_same_words() -> None:
    """What tyro writes where the encoding is ASCII."""
    expected = "invalid choice 'mars' for argument '--part.kind'. Expected one of ('sun', 'moon')."
    assert options._unboxed(ASCII) == expected


def test_missing_arguments_are_named() -> None:
    @dataclass
    class Needs:
        model: tyro.conf.Positional[str]

    with pytest.raises(ConfigError, match=r"(?i)model"):
        parse(Needs, [], prog="ownlm probe")


def test_missing_arguments_are_said_with_what_they_are_for() -> None:
    @dataclass
    class Needs:
        model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
        """Model folder or run folder."""
        data: str
        """A text (required)."""

    with pytest.raises(ConfigError) as caught:
        parse(Needs, [], prog="ownlm probe")
    first, second = caught.value.what.split("; ")
    assert first == "MODEL is missing: Model folder or run folder."
    assert second.startswith("--data is missing: A text")


def test_help_shows_documentation_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        read("--help")
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    assert "Updates of the weights." in shown
    assert "default: 5" in shown


def test_value_of_reads_both_forms() -> None:
    assert value_of(["--config", "a.yaml", "--x"], "--config") == "a.yaml"
    assert value_of(["--config=b=c.yaml"], "--config") == "b=c.yaml"
    assert value_of(["--config"], "--config") is None
    assert value_of(["--configure", "a"], "--config") is None
