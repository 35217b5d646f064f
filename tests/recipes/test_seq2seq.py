"""Pairs the whole way: trained, resumed, measured, examined, shown, and refused elsewhere."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ownlm.cli.main import main
from ownlm.data.config import DataConfig
from ownlm.data.prepare import prepare
from ownlm.errors import ConfigError, DataError
from ownlm.evaluation import curves
from ownlm.evaluation.doctor import examine
from ownlm.recipes.config import RunConfig
from ownlm.recipes.derive import derived
from ownlm.recipes.doctor import subject
from ownlm.recipes.look import example
from ownlm.recipes.pretrain import pretrain
from ownlm.tokenization.config import TokenizerConfig
from ownlm.training import trainer
from ownlm.training.digest import run_digest

Make = Callable[..., RunConfig]
MARIAN: dict[str, Any] = {"family": "marian", "bias": True, "dropout": 0.1, "context": 32}
SEQ2SEQ = {"kind": "seq2seq"}


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "svg", lambda panel: b"<svg></svg>")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Words and the same words backwards."""
    draw, path = random.Random(1), tmp_path / "pairs.tsv"
    words = ["".join(draw.choices("abcdef", k=draw.randint(2, 9))) for _ in range(300)]
    path.write_text("".join(f"{word}\t{word[::-1]}\n" for word in words), encoding="utf-8")
    return path


def test_a_stopped_run_goes_on_bit_for_bit(
    tiny: Make, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"model": MARIAN, "objective": SEQ2SEQ, "data": {"path": str(pairs)}}
    whole, record = pretrain(tiny("whole", **values)), trainer.Trainer.record

    def stop(self: trainer.Trainer, step: int, outcome: trainer.Outcome) -> None:
        record(self, step, outcome)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer.Trainer, "record", stop)
    assert pretrain(tiny("cut", **values)).step == 3
    monkeypatch.setattr(trainer.Trainer, "record", record)
    resumed = pretrain(tiny("cut", **values), resume="yes")
    assert run_digest(resumed.folder) == run_digest(whole.folder)
    assert resumed.figures["loss"] == whole.figures["loss"]


def test_every_target_of_validation_is_measured_once(tiny: Make, pairs: Path) -> None:
    result = pretrain(tiny(model=MARIAN, objective=SEQ2SEQ, data={"path": str(pairs)}))
    text = result.figures["text_bytes"]  # letters of both sides and a separator a pair
    documents = json.loads((result.folder / "data" / "dataset.json").read_text())["validation"]
    assert result.figures["predicted"] == (text + documents["documents"]) // 2


@pytest.mark.parametrize("family", ["marian", "t5", "bart"])
def test_the_doctor_finds_nothing(family: str, tiny: Make, pairs: Path, tmp_path: Path) -> None:
    bias = family != "t5"
    config = tiny(
        model={"family": family, "bias": bias, "context": 48}, objective=SEQ2SEQ,
        data={"path": str(pairs)}, optimizer={"lr": 2e-2},
    )  # fmt: skip
    found = list(examine(subject(config, tmp_path / "scratch")))
    assert [f"{f.name}: {f.measured} {f.detail}" for f in found if f.passed is False] == []
    done = {f.name for f in found if f.passed}
    assert {"accumulated gradients = full batch", "padded rows = unpadded rows"} <= done
    assert {"packed documents = separate documents", "resume is exact, bit for bit"} <= done


def test_an_example_shows_both_sides(tiny: Make, pairs: Path, tmp_path: Path) -> None:
    config = tiny(model=MARIAN, objective=SEQ2SEQ, data={"path": str(pairs)})
    found = example(config, tmp_path, 1)
    words = "".join(t.text for t in found["source"] if t.sequence == 1 and not t.control)
    learned = [t.learns for t in found["target"] if t.sequence == 1]
    assert "".join(filter(None, learned[:-1])) == words[::-1]
    assert learned[-1] == "<|endoftext|>"


def test_the_command_line_takes_pairs_too(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model.layers", "1", "--model.dim", "16", "--model.context", "32"]
    options += ["--train.steps", "2", "--train.batch", "4", "--tokenizer.vocab-size", "300"]
    command = ["pretrain", "transformer", "--objective.kind", "seq2seq", *options]
    assert main([*command, "--data", str(pairs), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "the target of each source; 10% of its probability smoothed" in said
    pairs.write_text("ab\tba\nabc\n")
    assert main([*command, "--data", str(pairs), "--out", str(tmp_path / "other")]) == 3
    assert "pairs.tsv:2: 1 column" in capsys.readouterr().err


def test_pairs_and_objectives_must_fit(tiny: Make, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a decoder, which cannot learn 'seq2seq'; these can: t5"):
        pretrain(tiny(objective=SEQ2SEQ))
    with pytest.raises(ConfigError, match="'causal' learns from text, not from pairs"):
        pretrain(tiny(data={"pairs": True}))
    shards = tmp_path / "shards"
    config = DataConfig(path=str(pairs), pairs=True)
    prepare(config, shards, TokenizerConfig(kind="byte"))
    with pytest.raises(DataError, match="holds pairs, and the objective 'causal' learns from text"):
        pretrain(tiny(data={"path": str(shards)}))


def test_the_rate_of_2017(tiny: Make) -> None:
    """d^-0.5 w^-0.5 at its highest: 7e-4 for a width of 512 and 4,000 updates of warmup."""
    config = tiny(
        model={**MARIAN, "dim": 512, "heads": 8}, optimizer={"lr": 0}, train={"steps": 100_000},
        schedule={"kind": "inverse_sqrt", "warmup": 4000},
    )  # fmt: skip
    assert derived(config, 300, 10_000, 64).optimizer.lr == pytest.approx(6.987712e-4, rel=1e-6)
