"""Configurations: strict, complete, and faults that name file, key and the nearest key."""

from pathlib import Path
from typing import Literal

import pydantic
import pytest

from ownlm.config import Config, flatten, nearest, read_yaml
from ownlm.errors import ConfigError


class Inner(Config):
    layers: int = pydantic.Field(default=2, ge=1)
    """Blocks."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Two shares."""

    @pydantic.model_validator(mode="after")
    def _not_thirteen(self) -> "Inner":
        if self.layers == 13:
            raise ConfigError("13 layers", where="model.layers", next_command="choose 12")
        return self


class Outer(Config):
    name: str = "x"
    """A name."""
    model: Inner = Inner()


def test_values_lie_over_one_by_one() -> None:
    outer = Outer(name="y").with_values({"model": {"layers": 5}})
    assert (outer.name, outer.model.layers, outer.model.betas) == ("y", 5, (0.9, 0.95))


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"model": {"layer": 3}}, ["unknown key model.layer", "nearest is model.layers"]),
        ({"layers": 3}, ["unknown key layers", "nearest is model.layers"]),
        ({"zzz": 3}, ["unknown key zzz"]),
        ({"modell": {"layers": 3}}, ["unknown key modell", "nearest is model"]),
        ({"model": 3}, ["model: expected a section of keys and values (got 3)"]),
        ({"model": {"layers": 0}}, ["model.layers", "greater than or equal to 1", "got 0"]),
        ({"model": {"layers": "many"}, "name": 3}, ["model.layers", "name", "; "]),
        ({"model": {"betas": [float("nan"), 1.0]}}, ["model.betas.0", "finite"]),
    ],
)
def test_all_faults_are_named_with_their_source(
    values: dict[str, object], parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer().with_values(values, "run.yaml")
    assert caught.value.where == "run.yaml"
    for part in parts:
        assert part in caught.value.what


class Listed(Config):
    parts: tuple[Inner, ...] = ()
    layer: int = 1


def test_a_key_of_a_section_in_a_list_is_found() -> None:
    with pytest.raises(ConfigError) as caught:
        Listed.parse({"parts": [{}, {"layres": 3}]}, "run.yaml")
    assert caught.value.what == "unknown key parts.1.layres, nearest is parts.layers"


def test_a_section_is_nearer_than_what_is_in_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.parse({"modell": {"layers": 3}})
    assert caught.value.what.endswith("nearest is model")


def test_a_value_is_shown_in_few_words_however_long_it_is(tmp_path: Path) -> None:
    """Nine aliases of nine aliases of ... : 700 bytes that stand for 5 million words."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for here, below in zip("bcdefg", "abcdef"):
        lines.append(f"{here}: &{here} [{', '.join([f'*{below}'] * 9)}]")
    (tmp_path / "run.yaml").write_text("\n".join([*lines, "model: *g"]), encoding="utf-8")
    values = {"model": read_yaml(tmp_path / "run.yaml")["model"]}
    with pytest.raises(ConfigError, match=r"model: expected a section") as caught:
        Outer.parse(values)
    assert len(str(caught.value)) < 1000


def test_a_refusal_of_our_own_keeps_its_words() -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.parse({"model": {"layers": 13}}, "run.yaml")
    assert (caught.value.what, caught.value.where) == ("13 layers", "run.yaml: model.layers")
    assert caught.value.next_command == "choose 12"


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError):
        Outer().name = "z"  # type: ignore[misc]


def test_yaml_gives_the_same_configuration(tmp_path: Path) -> None:
    outer = Outer(name="名 \U0001f999", model=Inner(betas=(0.1, 1e-7)))
    path = tmp_path / "run.yaml"
    path.write_text(outer.to_yaml(), encoding="utf-8")
    assert Outer.parse(read_yaml(path)) == outer
    assert "名" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "part", "where"),
    [
        (b"a: [1\nb: 2", "not YAML", ":2"),
        (b"- 1\n- 2", "expected a mapping", ""),
        (b"a: \xff", "not UTF-8", ":3"),
        (b"a: " + b"[" * 5000, "nested too deeply", ""),
    ],
)
def test_yaml_that_cannot_be_read(content: bytes, part: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=part) as caught:
        read_yaml(path)
    assert caught.value.where == f"{path}{where}"
    assert "recipe.yaml" in caught.value.next_command


def test_yaml_on_and_off_are_words_and_switches(tmp_path: Path) -> None:
    class Switches(Config):
        compile: Literal["auto", "on", "off"] = "auto"
        tied: bool = True
        steps: int = 1
        lr: float = 0.1

    path = tmp_path / "run.yaml"
    path.write_text("{compile: off, tied: no, steps: 10, lr: 2e-3}")
    assert Switches.parse(read_yaml(path)) == Switches(compile="off", tied=False, steps=10, lr=2e-3)
    path.write_text("{compile: on, tied: true}")
    assert read_yaml(path) == {"compile": "on", "tied": True}


def test_yaml_that_is_absent_or_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "empty.yaml").write_bytes(b"")
    assert read_yaml(tmp_path / "empty.yaml") == {}


def test_differences_are_by_dotted_key() -> None:
    changed = Outer().with_values({"model": {"layers": 3}})
    assert Outer().differences(changed) == [("model.layers", 2, 3)]
    assert flatten({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


def test_nearest() -> None:
    assert nearest("pretrian", ["pretrain", "prepare"]) == "pretrain"
    assert nearest("xyz", ["pretrain"]) == ""
    assert nearest("gpt2", ["gpt3-2.7b", "gpt2-1.5bx", "gpt2-124m"]) == "gpt2-124m"
