"""A mixture the whole way: one tokenizer, shares, prefixes, exact resume, refusals."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ownlm.cli.main import main
from ownlm.config import read_yaml
from ownlm.errors import ConfigError
from ownlm.evaluation import curves
from ownlm.evaluation.doctor import examine
from ownlm.log import read_rows
from ownlm.objectives.mixture import Mixture, Task
from ownlm.recipes.config import MixtureConfig, RunConfig
from ownlm.recipes.doctor import subject
from ownlm.recipes.look import example
from ownlm.recipes.pretrain import pretrain
from ownlm.training import trainer
from ownlm.training.digest import run_digest

Make = Callable[..., RunConfig]
T5: dict[str, Any] = {"family": "t5", "dropout": 0.1, "context": 48}
SAYS = "say backwards: "


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "svg", lambda panel: b"<svg></svg>")


@pytest.fixture
def tasks(text: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """Hidden spans of text, and pairs with words before their sources."""
    pairs = tmp_path / "pairs.tsv"
    words = [f"word{n}" for n in range(200)]
    pairs.write_text("".join(f"{w}\t{w[::-1]}\n" for w in words), encoding="utf-8")
    return [
        {"data": {"path": str(text)}, "weight": 1},
        {"data": {"path": str(pairs)}, "objective": {"kind": "seq2seq"}, "prefix": SAYS,
         "weight": 1, "name": "backwards"},
    ]  # fmt: skip


def values(tasks: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    found = {"model": T5, "data": {"path": ""}, "mixture": {"tasks": tasks}}
    return found | {"tokenizer": {"kind": "bpe", "vocab_size": 400}} | more


def test_a_stopped_run_goes_on_bit_for_bit(
    tiny: Make, tasks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = values(tasks, train={"micro_batch": 2})
    whole, record = pretrain(tiny("whole", **given)), trainer.Trainer.record

    def stop(self: trainer.Trainer, step: int, outcome: trainer.Outcome) -> None:
        record(self, step, outcome)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer.Trainer, "record", stop)
    assert pretrain(tiny("cut", **given)).step == 3
    monkeypatch.setattr(trainer.Trainer, "record", record)
    resumed = pretrain(tiny("cut", **given), resume="yes")
    assert run_digest(resumed.folder) == run_digest(whole.folder)
    rows = [row for row in read_rows(whole.folder / "log.jsonl") if "loss_hex" in row]
    assert all("loss_0-spans" in row and "loss_backwards" in row for row in rows)
    assert whole.figures["loss_backwards"] > 0 and whole.figures["loss_0-spans"] > 0


def test_recipe_yaml_makes_the_same_run(tiny: Make, tasks: list[dict[str, Any]]) -> None:
    first = pretrain(tiny("first", **values(tasks)))
    written = read_yaml(first.folder / "recipe.yaml")
    assert written["objective"]["kind"] == "mixture"
    assert [task["objective"]["kind"] for task in written["mixture"]["tasks"]] == [
        "spans", "seq2seq",
    ]  # fmt: skip
    again = RunConfig.parse(written).with_values({"out": str(first.folder) + "-again"})
    assert run_digest(pretrain(again).folder) == run_digest(first.folder)


def test_examples_are_of_both_tasks(
    tiny: Make, tasks: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = tiny(**values(tasks, train={"batch": 12}))
    seen = set()
    for number in range(12):
        sides = example(config, tmp_path / str(number), number)
        source = "".join(token.text for token in sides["source"] if token.sequence == 1)
        told = sides["target"][0].note
        assert source.startswith(SAYS) == (told == "task 1")
        seen.add(told)
        if len(seen) == 2:
            return
    raise AssertionError(seen)


def test_the_doctor_finds_nothing(tiny: Make, tasks: list[dict[str, Any]], tmp_path: Path) -> None:
    config = tiny(**values(tasks, optimizer={"lr": 3e-2}))
    found = list(examine(subject(config, tmp_path / "scratch")))
    assert [f"{f.name}: {f.measured} {f.detail}" for f in found if f.passed is False] == []
    done = {f.name for f in found if f.passed}
    assert {"accumulated gradients = full batch", "padded rows = unpadded rows"} <= done
    assert {"packed documents = separate documents", "resume is exact, bit for bit"} <= done


def test_a_yaml_file_names_the_tasks(
    tasks: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(yaml.safe_dump({"recipe": "t5", "mixture": {"tasks": tasks}}))
    options = ["--config", str(path), "--out", str(tmp_path / "run"), "--train.steps", "2"]
    options += ["--model.layers", "1", "--model.dim", "16", "--model.heads", "2"]
    options += ["--model.context", "48", "--train.batch", "4", "--tokenizer.vocab-size", "400"]
    assert main(["pretrain", *options]) == 0
    said = capsys.readouterr().err
    assert "0-spans (50%): 15% of the tokens, hidden" in said
    assert "backwards (50%): the target of each source" in said


def test_shares_by_size_are_finite_at_the_lowest_temperature() -> None:
    """The field's bound: a billion windows to the tenth power are still a number."""
    mixture = MixtureConfig(temperature=0.1)
    few, many = Mixture([Task("a", None), Task("b", None)], temperature=mixture.temperature).shares(
        [1, 10**9]
    )
    assert (few, many) == (pytest.approx(1e-90), 1.0)
    with pytest.raises(ConfigError, match=r"temperature.*greater than or equal to 0\.1"):
        MixtureConfig.parse({"temperature": 0.001})


def test_passes_count_what_each_task_reads(
    tiny: Make, tasks: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the rows are made from 52 tokens (sources of 48), half from 96 (both sides)."""
    pretrain(tiny(**values(tasks, epochs=2, train={"steps": 0, "sample_every": 0})))
    assert re.search(r"x 74 tokens = .* 2\.0 passes", capsys.readouterr().err)


@pytest.mark.parametrize(("change", "words"), [
    ({"objective": {"kind": "causal"}}, r"mixture.tasks\[1\].*t5 is an encoder-decoder"),
    ({"objective": {"kind": "spans"}, "data": {"path": "x", "pairs": True}},
     r"mixture.tasks\[1\].*'spans' learns from text"),
    ({"data": {"path": ""}}, "no text to learn from"),
    ({"weight": 0}, "some tasks have a weight and some have none"),
    ({"name": "0-spans"}, "two tasks are called '0-spans'"),
    ({"prefix": "a long sentence of many words " * 9}, "a prefix of .* tokens for a context of 48"),
    ({"weight": 1e308}, r"mixture.tasks.1.weight: .*less than or equal"),
    ({"wieght": 1}, r"unknown key mixture.tasks.1.wieght, nearest is mixture.tasks.weight"),
])  # fmt: skip
def test_what_cannot_be_mixed_is_refused(
    tiny: Make, tasks: list[dict[str, Any]], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        pretrain(tiny(**values([tasks[0], tasks[1] | change])))
    assert caught.value.next_command


@pytest.mark.parametrize(("more", "words"), [
    ({"data": {"path": "x"}}, "name their own data"),
    ({"model": T5 | {"context": 2}}, r"mixture.tasks\[0\].*too short for 'spans'"),
    ({"model": T5 | {"context": 3}}, "a prefix of .* for a context of 3"),
    ({"objective": {"kind": "spans"}}, "both a mixture of tasks and the objective 'spans'"),
    ({"model": {"family": "transformer-xl"}}, "cannot learn a mixture"),
    ({"model": {"family": "gpt2"}}, "words before the source are for encoder-decoders"),
    ({"mixture": {}, "objective": {"kind": "mixture"}}, "a mixture of which tasks"),
])  # fmt: skip
def test_what_a_mixture_is_not_for(
    tiny: Make, tasks: list[dict[str, Any]], more: dict[str, Any], words: str
) -> None:
    only = [tasks[0], tasks[0] | {"prefix": "x"}]
    with pytest.raises(ConfigError, match=words) as caught:
        pretrain(tiny(**(values(only) | more)))
    assert caught.value.next_command
