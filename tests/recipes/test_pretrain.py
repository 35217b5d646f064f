"""The whole job: from a text file to a finished run folder, stopped, resumed, refused."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ownlm
from ownlm.config import read_yaml
from ownlm.data.config import DataConfig
from ownlm.data.prepare import prepare
from ownlm.errors import ConfigError, DataError, DiskError
from ownlm.evaluation import curves
from ownlm.files import folder_faults
from ownlm.log import read_rows
from ownlm.models.load import load_any
from ownlm.recipes.config import RunConfig
from ownlm.recipes.pretrain import pretrain
from ownlm.recipes.samples import Sampler
from ownlm.recipes.task import with_objective
from ownlm.tokenization.config import TokenizerConfig
from ownlm.training.digest import run_digest

Make = Callable[..., RunConfig]

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="it can run here")


@pytest.fixture(autouse=True)
def without_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take most of the time of a tiny run; one test has them drawn."""
    if "complete_folder" not in request.node.name:
        monkeypatch.setattr(curves, "svg", lambda panel: b"<svg></svg>")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_leaves_a_complete_folder(tiny: Make) -> None:
    result = pretrain(tiny())
    run = result.folder
    assert (result.step, result.finished, result.exit_code) == (6, True, 0)
    for name in ("recipe.yaml", "log.jsonl", "samples.md", "report.html", "evaluation.json"):
        assert (run / name).is_file(), name
    for folder in ("data", "model", "checkpoints/step-00000006"):
        assert folder_faults(run / folder) == []
    assert f"ownlm chat {run}" in str(result)
    assert f"validation loss {result.figures['loss']:.4f}" in str(result)
    assert json.loads(json.dumps(result.as_dict()))["evaluation"] == result.figures


def test_recipe_yaml_holds_what_was_derived_and_makes_the_same_run(tiny: Make) -> None:
    first = pretrain(tiny("first", optimizer={"lr": 0}))
    values = read_yaml(first.folder / "recipe.yaml")
    assert values["optimizer"]["lr"] == 3e-3
    assert values["model"]["vocab"] == ownlm.load(first.folder).model.vocab
    again = RunConfig.parse(values).with_values({"out": str(first.folder.with_name("again"))})
    assert run_digest(pretrain(again).folder) == run_digest(first.folder)
    other = again.with_values({"out": again.out + "-seed", "train": {"seed": 1}})
    assert run_digest(pretrain(other).folder) != run_digest(first.folder)


def test_the_finished_model_is_the_one_that_was_measured(tiny: Make) -> None:
    """The log's lowest validation loss is of the windows, here all of them, that the final
    evaluation reads."""
    result = pretrain(tiny())
    losses = {
        row["step"]: row["validation_loss"]
        for row in read_rows(result.folder / "log.jsonl")
        if "validation_loss" in row
    }
    assert sorted(losses) == [0, 2, 4, 6]
    assert result.figures["step"] == min(losses, key=losses.__getitem__)
    assert result.figures["loss"] == pytest.approx(min(losses.values()), abs=1e-6)
    assert ownlm.load(result.folder).generate("the", max_tokens=4) != ""


def test_a_model_that_never_got_better_is_the_one_of_step_0(tiny: Make) -> None:
    result = pretrain(tiny(optimizer={"lr": 1e-30}))
    best = ownlm.load(result.folder / "checkpoints" / "step-00000000").model
    for kept, first in zip(ownlm.load(result.folder).model.parameters(), best.parameters()):
        assert kept.equal(first)
    assert result.step == 6 and result.figures["step"] == 0


def test_a_stopped_run_goes_on_bit_for_bit(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pretrain(tiny("whole"))
    write = Sampler.write

    def stop(self: Sampler, model: nn.Module) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return write(self, model)

    monkeypatch.setattr(Sampler, "write", stop)
    stopped = pretrain(tiny("cut"))
    assert (stopped.finished, stopped.exit_code) == (False, 143)
    assert stopped.step == 3
    assert not (stopped.folder / "model").exists()
    monkeypatch.setattr(Sampler, "write", write)
    resumed = pretrain(tiny("cut"), resume="yes")
    assert resumed.finished
    assert run_digest(resumed.folder) == run_digest(whole.folder)
    assert resumed.figures["loss"] == whole.figures["loss"]
    samples = [(r.folder / "samples.md").read_text(encoding="utf-8") for r in (resumed, whole)]
    assert samples[0] == samples[1]
    assert "## step 3\n" in samples[0]
    assert "## step 6\n" in samples[0]


def test_a_finished_run_is_left_as_it_is(tiny: Make, text: Path) -> None:
    first = pretrain(tiny())
    before = bytes_of(first.folder)
    text.unlink()
    second = pretrain(tiny(), resume="yes")
    after = bytes_of(first.folder)
    assert (second.step, second.finished, second.exit_code) == (6, True, 0)
    assert second.figures == first.figures
    changed = {name for name in before.keys() | after if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith("tensorboard")} <= {"report.html"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"train": {"batch": 4, "micro_batch": 3}}, "does not divide"),
        ({"train": {"threads": 9999}}, "9999 threads"),
        ({"device": "abacus"}, "abacus cannot be used"),
        pytest.param({"device": "cuda"}, "cuda cannot be used", marks=without_cuda),
    ],
)
def test_what_cannot_run_is_refused_before_any_text_is_read(
    tiny: Make, values: dict[str, Any], said: str
) -> None:
    config = tiny().with_values(values)
    with pytest.raises(ConfigError, match=said):
        pretrain(config)
    assert not config.folder.exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(tiny: Make) -> None:
    before = bytes_of(pretrain(tiny()).folder)
    with pytest.raises(ConfigError, match="holds a run already") as caught:
        pretrain(tiny())
    assert "--resume" in caught.value.next_command
    assert bytes_of(Path(tiny().out)) == before


def test_other_text_is_refused_and_the_data_of_the_run_stays(tiny: Make, tmp_path: Path) -> None:
    run = pretrain(tiny()).folder
    before = bytes_of(run / "data")
    other = tmp_path / "other.txt"
    other.write_text("something else entirely, " * 99, encoding="utf-8")
    with pytest.raises(DataError, match="data is not what the run was begun with"):
        pretrain(tiny(data={"path": str(other)}), resume="yes")
    assert bytes_of(run / "data") == before
    assert {p.name for p in run.iterdir() if p.name.startswith(".data")} == set()


def test_the_same_text_elsewhere_is_accepted(tiny: Make, text: Path, tmp_path: Path) -> None:
    pretrain(tiny())
    moved = text.rename(tmp_path / "moved.txt")
    more = tiny(data={"path": str(moved)}, train={"steps": 7})
    result = pretrain(more, resume="yes", allow_change=True)
    assert result.step == 7


def test_what_may_not_change_is_refused(tiny: Make) -> None:
    pretrain(tiny())
    with pytest.raises(ConfigError, match=r"model\.layers"):
        pretrain(tiny(model={"layers": 2}), resume="yes", allow_change=True)
    with pytest.raises(ConfigError, match=r"optimizer\.lr.*--allow-change"):
        pretrain(tiny(optimizer={"lr": 0.5}), resume="yes")


def test_prepared_data_is_used_as_it_is(tiny: Make, text: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    made = prepare(DataConfig(path=str(text)), shards, TokenizerConfig(kind="char"))
    before = bytes_of(shards)
    result = pretrain(tiny(data={"path": str(shards)}))
    assert bytes_of(shards) == before
    assert not (result.folder / "data").exists()
    assert ownlm.load(result.folder).tokenizer.digest == made.tokenizer_digest


def test_shards_of_another_tokenizer_are_refused(tiny: Make, text: Path, tmp_path: Path) -> None:
    for name in ("byte", "char"):
        prepare(DataConfig(path=str(text)), tmp_path / name, TokenizerConfig(kind=name))
    asked = {"path": str(tmp_path / "char" / "tokenizer")}
    config = tiny(data={"path": str(tmp_path / "byte")}, tokenizer=asked)
    with pytest.raises(DataError, match="not the tokenizer that made the shards"):
        pretrain(config)


def test_without_validation_text_the_last_model_is_kept(tiny: Make) -> None:
    result = pretrain(tiny(data={"validation": 0.0}))
    assert result.finished
    assert result.figures == {}
    assert not (result.folder / "evaluation.json").exists()
    assert ownlm.load(result.folder).generate("the", max_tokens=2, temperature=1.0) is not None


def test_no_text_is_refused(tiny: Make) -> None:
    with pytest.raises(ConfigError, match="no text to learn from"):
        pretrain(tiny(data={"path": ""}))


def test_a_sample_that_fails_does_not_end_the_run(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Sampler, model: nn.Module) -> str:
        raise RuntimeError("no words")

    monkeypatch.setattr(Sampler, "write", fail)
    assert pretrain(tiny()).finished
    assert "no sample at step 3: RuntimeError: no words" in capsys.readouterr().err


def test_the_plan_is_shown_first(tiny: Make, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain(tiny(optimizer={"lr": 0}, epochs=1, train={"steps": 0, "sample_every": 0}))
    shown = capsys.readouterr().err
    plan = shown[shown.index("model    ") : shown.index("step ")]
    for part in ("llama, 1 layers x 16", "1.0 passes", "0.003, warmup", "cpu, fp32"):
        assert part in plan
    assert "derived  learning rate from the width" in plan
    assert "updates from the passes over the text" in plan


def test_passes_are_counted_in_text(tiny: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """A source of 48 tokens stands for more of text: hidden spans are one token each in it."""
    t5 = {"family": "t5", "layers": 1, "context": 48}
    pretrain(tiny(model=t5, epochs=2, train={"steps": 0, "sample_every": 0}))
    work = re.search(r"updates of \d+ x (\d+) tokens = .*, (.*) passes", capsys.readouterr().err)
    assert work and int(work[1]) == 52 and work[2] == "2.0"


NAMES = [
    "with space",
    "quo'te\"s",
    "llama 🦙",
    "שלום",
    "new\nline",
    "-dash",
    os.fsdecode(b"caf\xe9"),
]


def test_names_of_files_and_folders_do_not_matter(tiny: Make, text: Path, tmp_path: Path) -> None:
    short = {"train": {"steps": 2, "sample_every": 0}}
    plain = run_digest(pretrain(tiny("plain", **short)).folder)
    for name in NAMES:
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.txt").write_bytes(text.read_bytes())
        readable = name.isprintable() or "\n" in name
        out = str(folder / "run") if readable else str(tmp_path / "apart")
        values = {**short, "data": {"path": str(folder / f"{name}.txt")}, "out": out}
        run = pretrain(tiny(**values)).folder
        assert run_digest(run) == plain, ascii(name)
        config = RunConfig.parse(read_yaml(run / "recipe.yaml"))
        assert config.data.path == values["data"]["path"]
        assert pretrain(config, resume="yes").finished


def test_a_run_folder_that_is_no_utf8_is_refused(tiny: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not UTF-8"):
        pretrain(tiny(out=str(tmp_path / NAMES[-1])))


def test_a_link_to_the_text_is_the_text(tiny: Make, text: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(text)
    short = {"train": {"steps": 2, "sample_every": 0}}
    runs = [
        pretrain(tiny(name, **short, data={"path": str(path)})).folder
        for name, path in (("by name", text), ("by link", link))
    ]
    assert run_digest(runs[0]) == run_digest(runs[1])


def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tiny: Make, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(DiskError) as caught:
        pretrain(tiny(out=str(tmp_path / "file" / "run")))
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ({"family": "bert", "bias": True, "head": "ForTokenClassification"}, "says no words"),
        ({"family": "t5", "bias": True}, "t5 has no choice of bias"),
        ({"family": "lama"}, "nearest is llama"),
        ({"family": "mistral", "bias": True}, "mistral has no choice of bias"),
    ],
)
def test_models_that_cannot_learn_this_are_refused_before_any_work(
    model: dict[str, object], part: str, tiny: Make
) -> None:
    config = tiny(model=model)
    with pytest.raises(ConfigError, match=part):
        pretrain(config)
    assert not config.folder.exists()


@pytest.mark.parametrize(("model", "objective", "least"), [
    ({"family": "bart"}, {}, 4),
    ({"family": "electra"}, {}, 3),
    ({"family": "bert"}, {}, 11),
    ({"family": "bert"}, {"pairs": "none"}, 3),
    ({"family": "roberta"}, {}, 3),
    ({"family": "t5"}, {}, 3),
    ({"family": "marian"}, {"kind": "seq2seq"}, 3),
    ({"family": "gpt2"}, {"kind": "middle"}, 3),
    ({"family": "ctrl"}, {}, 2),
])  # fmt: skip
def test_a_context_without_room_is_refused_before_any_work(
    model: dict[str, Any], objective: dict[str, Any], least: int, tiny: Make
) -> None:
    short = tiny(model=model | {"context": least - 1}, objective=objective)
    with pytest.raises(ConfigError, match=f"too short for .* needs {least}") as caught:
        pretrain(short)
    assert (caught.value.where, caught.value.exit_code) == ("model.context", 2)
    assert not short.folder.exists()
    with_objective(short.with_values({"model": {"context": least}}))


def test_a_resume_of_nothing_is_refused_and_leaves_nothing(tiny: Make) -> None:
    with pytest.raises(ConfigError, match="no run to go on with") as caught:
        pretrain(tiny(), resume="yes")
    assert "--resume auto" in caught.value.next_command
    assert not tiny().folder.exists()


@pytest.mark.parametrize("family", ["gpt2", "mistral", "qwen3"])
def test_any_decoder_can_be_trained(family: str, tiny: Make) -> None:
    result = pretrain(tiny(model={"family": family}))
    assert ownlm.load(result.folder).model.family.name == family


@pytest.mark.parametrize(("family", "tokenizer", "bias"), [
    ("bert", "wordpiece", True), ("roberta", "bpe", True), ("modernbert", "bpe", False),
    ("t5", "bpe", False), ("bart", "bpe", True), ("marian", "bpe", True),
    ("electra", "wordpiece", True), ("xlnet", "bpe", False),
])  # fmt: skip
def test_encoders_and_pairs_can_be_trained(
    family: str, tokenizer: str, bias: bool, tiny: Make
) -> None:
    """One command for each: learns, evaluates, and leaves a folder that loads."""
    config = tiny(
        model={"family": family, "bias": bias},
        tokenizer={"kind": tokenizer, "vocab_size": 400},
    )
    result = pretrain(config)
    assert result.finished and result.figures.get("bits_per_byte") is None
    model, values = load_any(result.folder / "model")
    assert model.family.name == family and values["pad_token_id"] is not None
    assert "ownlm finetune" in str(result) and "ownlm chat" not in str(result)  # it does not write
    figures = json.loads((result.folder / "evaluation.json").read_text(encoding="utf-8"))
    told = {"electra": "by always saying original", "bert": "pairs right"}.get(family, "loss")
    assert told in str(result) and figures["loss"] > 0
    mixed = family in ("bert", "electra")  # a sum of unlike losses has no perplexity
    assert (figures.get("perplexity") is None) == mixed
    assert not mixed or "perplexity" not in report(result.folder)
    rows = [row for row in read_rows(result.folder / "log.jsonl") if "loss" in row]
    assert rows[0]["bpb"] is None and rows[-1]["loss"] < rows[0]["loss"]


def report(folder: Path) -> str:
    """The cards of a run's page."""
    return (folder / "report.html").read_text(encoding="utf-8").partition("Training")[0]
