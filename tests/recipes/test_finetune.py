"""The whole job on made data: learned, measured, kept, resumed, used, refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from ownlm.data.tasks.predictions import Classified, Estimate, Extract, Tagging
from ownlm.errors import CheckpointError, ConfigError, DataError
from ownlm.evaluation import curves
from ownlm.files import folder_faults
from ownlm.inference.language_model import LM
from ownlm.models.load import save_model
from ownlm.objectives.tasks.make import make_task
from ownlm.objectives.tasks.write import Translate
from ownlm.recipes import judged
from ownlm.recipes.finetune import Finetuned, finetune, gathered
from ownlm.recipes.judged import rank
from ownlm.recipes.predict import asked, inputs, predict
from ownlm.recipes.subject import subject
from ownlm.recipes.tuned import load_tuned, saver
from ownlm.recipes.tuning import FinetuneConfig, rate, tuning
from ownlm.training.digest import run_digest
from ownlm.training.trainer import Result

CPU = torch.device("cpu")
WORDS = "harbour boat rope sail wind gull tide mast crane wharf".split()


def sentence(number: int) -> str:
    return " ".join(WORDS[(number * 7 + place * 3) % 10] for place in range(4 + number % 3))


def talk(said: str, answered: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]
    return {"messages": turns}


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take most of the time of a tiny run; tests of the page draw them."""
    monkeypatch.setattr(curves, "svg", lambda panel: b"<svg></svg>")


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Path]:
    """A file a task, whose answers can be told from single words."""
    rows = [(f"{sentence(n)} {n}", f"{sentence(n + 5)} {n}") for n in range(80)]
    texts = "".join(f"{a},{'yes' if 'boat' in a else 'no'}\n" for a, _ in rows)
    pairs = [
        {"text1": a, "text2": b, "label": "same" if a[0] == b[0] else "other"} for a, b in rows
    ]
    scores = [{"sentence1": a, "sentence2": b, "score": a.count("a") / 2} for a, b in rows]
    tagged = "\n\n".join(
        "\n".join(f"{w}\t{'B-ship' if w in ('boat', 'sail') else 'O'}" for w in a.split())
        for a, _ in rows
    )
    asked = [
        {"context": a, "question": "the last?", "answers": [
            {"text": a.split()[-1], "answer_start": a.rindex(" ") + 1}]} for a, _ in rows
    ]  # fmt: skip
    files = {
        "classify": ("texts.csv", "text,label\n" + texts),
        "pair": ("pairs.jsonl", "\n".join(map(json.dumps, pairs))),
        "regress": ("scores.jsonl", "\n".join(map(json.dumps, scores))),
        "tag": ("tags.conll", tagged + "\n"),
        "span": ("asked.jsonl", "\n".join(map(json.dumps, asked))),
        "seq2seq": ("pairs.tsv", "".join(f"{a}\t{b}\n" for a, b in rows)),
        "chat": ("talks.jsonl", "\n".join(json.dumps(talk(a, b)) for a, b in rows)),
    }
    for name, content in files.values():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return {task: tmp_path / name for task, (name, _) in files.items()}


def config(
    task: Any, where: Path, out: Path, model: str = "bert-tiny", **more: Any
) -> FinetuneConfig:
    """A run of seconds: 1 x 32, 6 updates."""
    values = {
        "out": str(out),
        "data": {"path": str(where), "validation": 0.2, "test": 0.2},
        "train": {"steps": 6, "batch": 8, "micro_batch": 8, "threads": 1, "save_every": 2},
        "evaluations": 0,
    }
    small = {"shape": {"layers": 1, "dim": 32, "context": 64}, "tokenizer": {"vocab_size": 300}}
    chosen = tuning(task, model).with_values(values)
    if chosen.begins_new:
        chosen = chosen.with_values(small)
    return chosen.with_values(more)


@pytest.mark.parametrize("model", ["bert-tiny", "gpt-tiny", "bart-tiny"])
@pytest.mark.parametrize("task", ["classify", "pair", "regress", "tag", "span"])
def test_a_task_is_learned_measured_and_kept(
    task: str, model: str, data: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = config(task, data[task], run, model)
    if (model, task) == ("bart-tiny", "tag"):
        with pytest.raises(ConfigError, match="has no head"):  # before anything is trained
            finetune(settings)
        return
    result = finetune(settings)
    assert result.exit_code == 0
    assert result.judged is not None
    for name in ("recipe.yaml", "log.jsonl", "evaluation.json", "predictions.jsonl", "report.html"):
        assert (run / name).is_file(), name
    assert folder_faults(run / "model") == []
    found = json.loads((run / "evaluation.json").read_text())
    assert found["kind"] == task
    assert "before finetuning" in found["against"]
    lines = (run / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == found["records"] == result.judged.model.records
    tuned = load_tuned(run, CPU)
    kinds = {"classify": Classified, "pair": Classified, "regress": Estimate,
             "tag": Tagging, "span": Extract}  # fmt: skip
    assert tuned.kind == task
    other = {"span": "a boat came 7", "tag": "", "classify": ""}.get(task, "a gull")
    (said,) = predict(tuned, [asked(tuned, "the boat", other)])
    assert isinstance(said.prediction, kinds[task])


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("seq2seq", "transformer-tiny"),
        ("seq2seq", "t5-tiny"),
        ("seq2seq", "gpt-tiny"),
        ("chat", "gpt-tiny"),
        ("embed", "bert-tiny"),
    ],
)
def test_what_is_written_is_judged_and_written_again(
    task: str, model: str, data: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    source = data["seq2seq" if task == "embed" else task]
    settings = config(task, source, run, model, judged=4, options={"longest": 64})
    result = finetune(settings)
    assert result.judged is not None
    assert result.judged.model.kind == task
    tuned = load_tuned(run, CPU)
    assert tuned.kind == task
    lines = (run / "predictions.jsonl").read_text().splitlines()
    told = {json.loads(line)["record"]["where"]: json.loads(line)["prediction"] for line in lines}
    assert len(told) == 4
    if task != "seq2seq":
        return
    for said in predict(tuned, inputs(tuned, settings.data)):
        if (kept := told.get(said.record.origin.where)) is not None:
            assert said.prediction.as_dict() == kept


@pytest.mark.parametrize("model", ["transformer-tiny", "t5-tiny", "bart-tiny"])
def test_a_new_model_is_used_with_the_marks_that_it_was_taught(
    model: str, data: dict[str, Path], tmp_path: Path
) -> None:
    """A decoder that began with another token than in training would not know its first one."""
    settings = config("seq2seq", data["seq2seq"], tmp_path / "run", model)
    found = subject(settings, (), (sentence(n) for n in range(80)))
    taught = make_task("seq2seq", settings.options, found.tokenizer, found.model.config)
    saver(settings, found)(found.model, tmp_path / "model")
    used = load_tuned(tmp_path / "model", CPU)
    assert isinstance(taught, Translate) and isinstance(used.task, Translate)
    assert used.task.frame == taught.frame == LM(used.model, used.tokenizer).frame
    named = {used.tokenizer.pad_id, used.tokenizer.eos_id}
    assert taught.frame.start in named and taught.frame.end in named


def test_a_base_without_a_chat_template_gets_one_and_rows_for_its_tokens(
    data: dict[str, Path], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    begun = config("seq2seq", data["seq2seq"], tmp_path / "run", "gpt-tiny")
    made = subject(begun, (), (sentence(n) for n in range(80)))
    save_model(made.model, base)
    made.tokenizer.save(base)
    chat = config("chat", data["chat"], tmp_path / "chat", str(base), judged=2)
    finetune(chat)
    tuned = load_tuned(tmp_path / "chat", CPU)
    assert tuned.model.vocab == made.model.vocab + 2
    with pytest.raises(ConfigError, match="adds 2 tokens"):
        subject(chat.with_values({"adapt": {"kind": "lora"}}), (), ())


def test_what_is_in_every_text_is_learned(data: dict[str, Path], tmp_path: Path) -> None:
    """The control is the model before: the same texts, near chance."""
    more = {"train": {"steps": 60, "save_every": 0}, "shape": {"dim": 64}}
    result = finetune(config("classify", data["classify"], tmp_path / "run", **more))
    assert result.judged is not None
    accuracy = result.judged.model.figures["accuracy"].value
    before = result.judged.others["before finetuning"].figures["accuracy"].value
    assert accuracy > 0.9 > before


def test_stopped_and_resumed_it_ends_bit_for_bit_the_same(
    data: dict[str, Path], tmp_path: Path
) -> None:
    whole = finetune(config("tag", data["tag"], tmp_path / "whole"))
    parts = config("tag", data["tag"], tmp_path / "parts")
    finetune(parts)
    for step in (4, 6):
        folder = tmp_path / "parts" / "checkpoints" / f"step-{step:08}"
        if folder.exists():
            for path in sorted(folder.rglob("*"), reverse=True):
                path.unlink()
            folder.rmdir()
    kept = sorted(p.name for p in (tmp_path / "parts" / "checkpoints").iterdir())
    again = finetune(parts, resume="yes") if kept else finetune(parts, resume="auto")
    assert run_digest(again.folder) == run_digest(whole.folder)


def test_other_records_are_refused_in_a_resumed_run(data: dict[str, Path], tmp_path: Path) -> None:
    settings = config("classify", data["classify"], tmp_path / "run")
    finetune(settings)
    text = data["classify"].read_text()
    data["classify"].write_text(text.replace("harbour", "haven", 1))
    with pytest.raises(DataError, match="data"):
        finetune(settings, resume="yes")


def test_a_pretrained_body_is_read_and_its_new_head_is_named(
    data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config("classify", data["classify"], tmp_path / "x", shape={"head": ""})
    begun = subject(settings.with_values({"task": "classify"}), ("a", "b"), ["the boat"] * 9)
    folder = tmp_path / "base"
    folder.mkdir()
    save_model(begun.model, folder)
    begun.tokenizer.save(folder)
    run = tmp_path / "tuned"
    chosen = config("tag", data["tag"], run, str(folder))
    finetune(chosen.with_values({"options": {"longest": 32}}))
    told = capsys.readouterr().err
    assert "classifier.weight" in told
    kept = json.loads((run / "model" / "config.json").read_text())
    assert kept["ownlm_task"]["options"]["longest"] == 32
    assert sorted(kept["id2label"].values()) == ["B-ship", "O"]


def test_a_new_head_begins_at_the_mean_and_a_taught_one_where_it_was(
    data: dict[str, Path], tmp_path: Path
) -> None:
    last: dict[str, Any] = {"data": {"validation": 0.0}}  # no checkpoint is better than the last
    settings = config("regress", data["regress"], tmp_path / "run", **last)
    parts = gathered(settings)
    mean = np.mean([float(one.target) for one in parts.lessons.train])
    assert mean != 0
    bias = parts.subject.model.get_parameter("task.out.bias")
    assert bias.item() == pytest.approx(mean)
    assert finetune(settings).result.step == 6
    taught = load_tuned(tmp_path / "run", CPU).model.get_parameter("task.out.bias")
    assert taught.item() != pytest.approx(mean, abs=1e-6)
    again = config("regress", data["regress"], tmp_path / "on", str(tmp_path / "run"))
    assert torch.equal(gathered(again).subject.model.get_parameter("task.out.bias"), taught)


@pytest.mark.parametrize("kind", ["lora", "dora", "qlora", "last", "head"])
def test_what_moves_can_be_chosen(kind: str, data: dict[str, Path], tmp_path: Path) -> None:
    begun = subject(config("classify", data["classify"], tmp_path / "x"), ("a", "b"), ["boat"] * 9)
    base = tmp_path / "base"
    base.mkdir()
    save_model(begun.model, base)
    begun.tokenizer.save(base)
    more: dict[str, Any] = {
        "adapt": {"kind": kind, "layers": 1, "rank": 4, "bits": 8},
        "optimizer": {"lr": 1e-2},
        "train": {"steps": 30},
    }
    settings = config("classify", data["classify"], tmp_path / "run", str(base), **more)
    result = finetune(settings)
    assert result.judged is not None
    if settings.adapt.low_rank:
        with pytest.raises(ConfigError, match="an adapter cannot be finetuned further"):
            subject(settings.with_values({"model": str(tmp_path / "run")}), ("a", "b"), [])
    tuned = load_tuned(tmp_path / "run", CPU)
    moved = tuned.model.state_dict()
    before = begun.model.state_dict()
    frozen = [n for n, t in before.items() if ".blocks." in n and n in moved and t.dim() > 1]
    same = [torch.equal(moved[name], before[name]) for name in frozen]
    assert all(same) if kind != "last" else not any(same)
    (lines,) = [(tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    records = list(inputs(tuned, settings.data))
    told = {json.loads(line)["record"]["where"]: json.loads(line) for line in lines}
    for said in predict(tuned, records):
        if (kept := told.get(said.record.origin.where)) is not None:
            shares = kept["prediction"]["probabilities"]
            assert said.prediction.as_dict()["probabilities"] == pytest.approx(shares, abs=1e-4)


def test_predictions_of_a_file_are_those_of_its_records_alone(
    data: dict[str, Path], tmp_path: Path
) -> None:
    finetune(config("classify", data["classify"], tmp_path / "run"))
    tuned = load_tuned(tmp_path / "run", CPU)
    records = list(inputs(tuned, FinetuneConfig().data.model_copy(
        update={"path": str(data["classify"])})))  # fmt: skip
    together = [said.prediction for said in predict(tuned, records)]
    alone = [said.prediction for said in predict(tuned, records, at_once=3)]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, Classified)
        assert isinstance(other, Classified)
        assert one.labels == other.labels
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_the_figure_that_people_look_at_decides_which_checkpoint_is_kept() -> None:
    rows = [{"validation_loss": a, "validation_span_f1": b} for a, b in ((0.2, 0.5), (0.3, 0.6))]
    assert max(rows, key=rank) is rows[1]
    assert (
        max([{"validation_loss": 0.2}, {"validation_loss": 0.3}], key=rank)["validation_loss"]
        == 0.2
    )


def test_data_without_any_label_are_refused(tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"a boat {n}", "labels": []}) for n in range(20)]
    (tmp_path / "none.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match="no record has a label"):
        finetune(config("classify", tmp_path / "none.jsonl", tmp_path / "run"))


def test_undefined_figures_leave_it_to_the_loss() -> None:
    """No name is due and none is found: undefined; one is invented: 0."""
    rows = [{"validation_loss": a, "validation_f1": b} for a, b in ((3.0, 0), (0.1, np.nan))]
    assert max(rows, key=rank) is rows[1]
    rows = [{"validation_loss": a, "validation_f1": np.inf} for a in (0.2, 0.1)]  # null in a log
    assert max(rows, key=rank) is rows[1]


def test_the_figure_decides_in_a_whole_run(
    data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = iter([(0.9, 0.1), (0.1, 0.2), (0.5, 0.8), (0.3, 0.4)])
    names = ("validation_loss", "validation_accuracy")
    monkeypatch.setattr(judged.Watch, "__call__", lambda *_: dict(zip(names, next(rows))))
    settings = config("classify", data["classify"], tmp_path / "run", train={"evaluate_every": 2})
    assert finetune(settings).result.best_step == 4


@pytest.mark.parametrize(("best", "told"), [(6, "kept is step 6"), (10, ""), (None, "")])
def test_which_checkpoint_was_kept_is_said(
    best: int | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Finetuned(Path("r"), "tag", Result(10, True, 0, best, {}), None).show(Console(width=200))
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("r: finished at step 10") and told in first
    assert ("kept" in first) == bool(told)


def test_rates_follow_the_width() -> None:
    settings = FinetuneConfig()
    assert rate(settings, 768) == pytest.approx(5.2e-5, rel=0.01)
    assert rate(settings.with_values({"adapt": {"kind": "lora"}}), 768) > 5 * rate(settings, 768)
    assert rate(settings.with_values({"optimizer": {"lr": 1e-3}}), 768) == 1e-3


def test_heads_of_pretrained_models_learn_in_float32(tmp_path: Path) -> None:
    assert tuning("classify", str(tmp_path)).train.precision == "mixed"
    assert tuning("chat", str(tmp_path)).train.precision == "auto"
    assert tuning("classify", "bert-tiny").train.precision == "auto"


def test_refusals_come_before_the_training(data: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder, no file and no recipe"):
        tuning("classify", "brt-tiny")
    for train, words in (({"micro_batch": 3}, "does not divide"), ({"threads": 9999}, "9999")):
        with pytest.raises(ConfigError, match=words):
            finetune(config("classify", data["classify"], tmp_path / "none", train=train))
    with pytest.raises(ConfigError, match="no run to go on with"):
        finetune(config("classify", data["classify"], tmp_path / "none"), resume="yes")
    assert not (tmp_path / "none").exists()
    with pytest.raises(ConfigError, match="no data"):
        finetune(config("classify", data["classify"], tmp_path / "a", data={"path": ""}))
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{n} boats\t{n} Boote\n" for n in range(20)))
    with pytest.raises(ConfigError, match="reads and does not write"):
        finetune(config("seq2seq", pairs, tmp_path / "b"))
    with pytest.raises(CheckpointError):
        load_tuned(tmp_path, CPU)
