"""F15: what of a configuration may change on resume, for every key there is."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from ownlm.config import flatten
from ownlm.errors import ConfigError, DataError
from ownlm.training.changes import RULES, check_changes, check_identity, compare, rule_of

BASE = {
    "recipe": "demo",
    "out": "runs/demo",
    "data": {"path": "text"},
    "model": {"layers": 2, "dropout": 0.0},
    "optimizer": {"kind": "adamw", "lr": 1e-3},
    "train": {"steps": 10, "keep": 2, "seed": 1},
}


def changed(key: str, value: Any) -> dict[str, Any]:
    section, _, name = key.partition(".")
    return BASE | ({section: BASE[section] | {name: value}} if name else {section: value})


@pytest.mark.parametrize(
    ("key", "value", "verdict"),
    [
        ("recipe", "char-tiny", "free"),
        ("out", "elsewhere", "free"),
        ("data.path", "moved", "free"),
        ("train.keep", 5, "free"),
        ("train.steps", 20, "asks"),
        ("train.seed", 2, "asks"),
        ("optimizer.lr", 1e-4, "asks"),
        ("model.dropout", 0.1, "asks"),
        ("model.layers", 3, "never"),
        ("optimizer.kind", "muon", "never"),
        ("brand.new", 1, "asks"),
    ],
)
def test_each_key_is_free_asks_or_never(
    key: str, value: Any, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    section, _, name = key.partition(".")
    now = BASE | {section: {name: value}} if section == "brand" else changed(key, value)
    for allow in (False, True):
        refused = verdict == "never" or (verdict == "asks" and not allow)
        if refused:
            with pytest.raises(ConfigError) as caught:
                check_changes(BASE, now, allow=allow)
            assert caught.value.exit_code == 2 and key in caught.value.what
            asks = "--allow-change" in caught.value.next_command
            assert asks == (verdict == "asks")
        else:
            assert [change.key for change in check_changes(BASE, now, allow=allow)] == [key]
        told = capsys.readouterr().err
        assert f"  {key}: " in told and f"-> {value}" in told


def test_nothing_changed_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_changes(BASE, BASE, allow=False) == []
    assert capsys.readouterr().err == ""


def test_all_changes_are_shown_even_when_one_is_impossible(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = changed("model.layers", 3) | {"train": BASE["train"] | {"steps": 20, "keep": 1}}
    with pytest.raises(ConfigError) as caught:
        check_changes(BASE, now, allow=True)
    assert "train.steps" not in caught.value.what  # that one was allowed
    told = capsys.readouterr().err
    assert all(key in told for key in ("model.layers: 2 -> 3", "train.steps: 10 -> 20", "keep"))


def test_keys_that_went_or_came_count_as_changes() -> None:
    now = {k: v for k, v in BASE.items() if k != "data"} | {"sample": {"tokens": 5}}
    assert [(c.key, c.before, c.now) for c in compare(BASE, now)] == [
        ("data.path", "text", None),
        ("sample.tokens", None, 5),
    ]


def test_every_rule_is_reached_and_every_key_of_a_run_has_one() -> None:
    from ownlm.recipes.named import RECIPES

    keys = {key for make in RECIPES.values() for key in flatten(make().model_dump(mode="json"))}
    reached = {rule_of(key) for key in keys}
    assert reached == set(RULES)
    free = {key for key in keys if rule_of(key).verdict == "free"}
    assert not {key for key in free if key.startswith(("model.", "optimizer.", "schedule."))}


@pytest.mark.parametrize("name", ["data", "tokenizer"])
def test_other_data_is_refused_whatever_is_allowed(name: str) -> None:
    before = {"data": "a" * 64, "tokenizer": "b" * 64}
    check_identity(before, dict(before))
    for other in (before | {name: "c" * 64}, {k: v for k, v in before.items() if k != name}):
        with pytest.raises(DataError, match=f"{name} is not what the run was begun with"):
            check_identity(before, other)


def test_a_resumed_run_asks_before_it_learns_differently(tmp_path: Path) -> None:
    over = {"train__steps": 6, "train__save_every": 3, "model__layers": 1}
    tiny.train(tmp_path, **over)
    longer = over | {"train__steps": 8}
    with pytest.raises(ConfigError, match=r"train\.steps: 6 -> 8"):
        tiny.train(tmp_path, **longer)
    result = tiny.train(tmp_path, allow=True, **longer)
    assert result.step == 8 and result.finished
    tiny.train(tmp_path, **longer)  # the new values are the run's now
    with pytest.raises(ConfigError, match=r"model\.layers: 1 -> 2 \(impossible"):
        tiny.train(tmp_path, allow=True, **(longer | {"model__layers": 2}))
