"""CTRL the whole way: codes from the data, in training, evaluation and generation."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import ownlm
from ownlm.cli.main import main
from ownlm.errors import ConfigError, DataError
from ownlm.evaluation import curves
from ownlm.evaluation.doctor import examine
from ownlm.recipes.config import RunConfig
from ownlm.recipes.doctor import subject
from ownlm.recipes.look import example
from ownlm.recipes.pretrain import pretrain
from ownlm.recipes.samples import Sampler
from ownlm.training.digest import run_digest

Make = Callable[..., RunConfig]
CTRL: dict[str, Any] = {"family": "ctrl", "bias": True, "dropout": 0.1}


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "svg", lambda panel: b"<svg></svg>")


@pytest.fixture
def shelves(text: Path, tmp_path: Path) -> Path:
    """Two folders of text: letters in one, digits in the other."""
    for name, content in (("letters", text.read_text()), ("digits", "1 22 333 4444 " * 200)):
        (tmp_path / "shelves" / name).mkdir(parents=True)
        (tmp_path / "shelves" / name / "a.txt").write_text(content)
    return tmp_path / "shelves"


def test_a_stopped_run_goes_on_bit_for_bit(
    tiny: Make, shelves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"model": CTRL, "data": {"path": str(shelves)}}
    whole, write = pretrain(tiny("whole", **values)), Sampler.write

    def stop(self: Sampler, model: nn.Module) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return write(self, model)

    monkeypatch.setattr(Sampler, "write", stop)
    assert pretrain(tiny("cut", **values)).step == 3
    monkeypatch.setattr(Sampler, "write", write)
    resumed = pretrain(tiny("cut", **values), resume="yes")
    assert run_digest(resumed.folder) == run_digest(whole.folder)
    assert "[digits]" in (resumed.folder / "samples.md").read_text(encoding="utf-8")


def test_the_code_decides_what_is_written(
    tiny: Make, shelves: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After some updates a model that reads <digits> writes digits, one that reads <letters>
    letters; the prompt is the same."""
    train = {"steps": 120, "batch": 8, "evaluate_every": 0, "sample_every": 0, "save_every": 0}
    config = tiny(
        model={"family": "ctrl", "bias": True, "dim": 32}, train=train, optimizer={"lr": 2e-2},
        data={"path": str(shelves)},
    )  # fmt: skip
    lm = ownlm.load(pretrain(config).folder)
    digits, letters = (lm.generate(" ", 40, code=code) for code in ("digits", "letters"))
    assert sum(c.isdigit() for c in digits) > 20 and not any(c.isalpha() for c in digits)
    assert sum(c.isalpha() for c in letters) > 20 and not any(c.isdigit() for c in letters)
    capsys.readouterr()
    command = ["generate", config.out, " ", "--max-tokens", "40", "--temperature", "0"]
    assert main([*command, "--code", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == digits
    assert main([*command, "--code", "poems"]) == 2
    assert "its codes: 'digits', 'letters'" in capsys.readouterr().err
    evaluate = ["evaluate", config.out, "--data", str(shelves), "--json"]
    assert main([*evaluate, "--codes", "folder"]) == 0
    coded = json.loads(capsys.readouterr().out)
    assert main(evaluate) == 0
    assert coded["loss"] < json.loads(capsys.readouterr().out)["loss"]


def test_the_doctor_finds_nothing(tiny: Make, shelves: Path, tmp_path: Path) -> None:
    config = tiny(
        model={"family": "ctrl", "bias": True, "context": 48}, data={"path": str(shelves)},
        optimizer={"lr": 2e-2},
    )  # fmt: skip
    found = list(examine(subject(config, tmp_path / "scratch")))
    assert [f"{f.name}: {f.measured} {f.detail}" for f in found if f.passed is False] == []
    done = {f.name for f in found if f.passed}
    assert {"accumulated gradients = full batch", "padded rows = unpadded rows"} <= done
    assert {"packed documents = separate documents", "resume is exact, bit for bit"} <= done


def test_an_example_begins_with_its_code(tiny: Make, shelves: Path, tmp_path: Path) -> None:
    config = tiny(model=CTRL, data={"path": str(shelves)})
    firsts = set()
    for number in range(4):
        tokens = example(config, tmp_path / str(number), number)["reads"]
        assert tokens[0].control and tokens[0].learns is not None
        assert not any((token.learns or "").startswith("<|code") for token in tokens)
        firsts.add(tokens[0].text)
    assert firsts <= {"<|code:digits|>", "<|code:letters|>"}


def test_codes_and_objectives_must_fit(tiny: Make, shelves: Path, text: Path) -> None:
    with pytest.raises(ConfigError, match="'causal' uses no control codes"):
        pretrain(tiny(data={"codes": "folder"}))
    run = pretrain(tiny("plain", train={"steps": 1, "evaluate_every": 0})).folder
    with pytest.raises(DataError, match="holds text, and the objective 'codes' learns from codes"):
        pretrain(tiny("coded", model=CTRL, data={"path": str(run / "data")}))
    with pytest.raises(ConfigError, match="lstm reads segments with a memory"):
        pretrain(tiny(model={"family": "lstm", "bias": True}, objective={"kind": "codes"}))
