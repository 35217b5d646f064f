"""`ownlm finetune`, and the commands that use what it made."""

import csv
import io
import json
from pathlib import Path

import pytest

from ownlm.cli.finetune import read_options
from ownlm.cli.main import main
from ownlm.errors import ConfigError
from ownlm.evaluation import curves
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

SMALL = (
    "--shape.layers 1 --shape.dim 32 --shape.context 64 --tokenizer.vocab-size 300 --train.steps 4 "
    "--train.batch 8 --train.threads 1 --evaluations 0 --no-untuned"
).split()


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty texts with labels."""
    file = tmp_path_factory.mktemp("data") / "letters.csv"
    kinds = [("a free boat", "spam"), ("see you at the harbour", "ham")]
    rows = [f"{kinds[n % 2][0]} {n},{kinds[n % 2][1]}" for n in range(60)]
    file.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finetuned model."""
    folder = tmp_path_factory.mktemp("runs") / "letters"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "svg", lambda panel: b"<svg></svg>")
        words = ["finetune", "classify", "bert-tiny", "--data", str(letters), "--out", str(folder)]
        assert main([*words, *SMALL]) == 0
    return folder


def test_the_result_is_told_beside_what_is_simple(
    letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["finetune", "classify", "gpt-tiny", "--data", str(letters), *SMALL]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    told = capsys.readouterr().out
    for word in ("accuracy", "majority class", "bag of words", "ownlm classify", "report.html"):
        assert word in told, word
    assert main([*words, "--out", str(tmp_path / "b"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["evaluation"]["kind"] == "classify"
    assert set(found["evaluation"]["against"]) == {"majority class", "bag of words"}


def test_too_few_records_to_judge_by_are_learned_from_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "three.csv"
    file.write_text("text,label\na boat,x\na house,y\na river,x\n", encoding="utf-8")
    words = ["finetune", "classify", "bert-tiny", "--data", str(file), *SMALL, "--untuned"]
    assert main([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["evaluation"] == {}
    assert "no record is kept to judge by" in printed.err


def test_every_record_of_a_file_gets_a_prediction(
    run: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), str(letters)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 60
    assert rows[3]["text"] == "see you at the harbour 3"
    assert sum(rows[3]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    out = tmp_path / "said.csv"
    assert main(["predict", str(run), str(letters), "--out", str(out), "--batch", "7"]) == 0
    table = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert [json.loads(row["labels"]) for row in table] == [row["labels"] for row in rows]
    kept = out.read_bytes()
    assert main(["predict", str(run), str(tmp_path / "none.csv"), "--out", str(out)]) == 3
    assert out.read_bytes() == kept
    plain = tmp_path / "plain.txt"
    plain.write_text("a free boat\n\nsee you\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", str(run), str(plain)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["where"] for row in found] == ["plain.txt:1", "plain.txt:3"]


def test_a_text_is_asked_about(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["classify", str(run), "a free boat", "see you", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [set(row["probabilities"]) for row in rows] == [{"ham", "spam"}] * 2
    monkeypatch.setattr("sys.stdin", io.StringIO("a free boat\n"))
    assert main(["classify", str(run)]) == 0
    assert "%" in capsys.readouterr().out


def test_a_model_is_evaluated_on_its_task_or_by_prompting(
    run: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "classify", "--data", str(letters), "--json"]
    assert main(["evaluate", str(run), *words]) == 0
    taught = json.loads(capsys.readouterr().out)
    kept = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert taught["figures"]["accuracy"] == kept["figures"]["accuracy"]
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="byte"))
    config = ModelConfig(vocab=tokenizer.vocab_size, dim=16, heads=2, layers=1, context=256)
    LM(build_model(config, seed=1), tokenizer).save(tmp_path / "lm")
    shots = ["--shots", "2", "--records", "4"]
    assert main(["evaluate", str(tmp_path / "lm"), *words, *shots]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["records"] == 4
    assert "bag of words" in told["against"]


@pytest.mark.parametrize("kind", ["all", "lora"])
def test_the_doctor_looks_at_a_task(
    kind: str, letters: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["gpt-tiny", *SMALL] if kind == "all" else [str(run / "model")]
    words = ["doctor", "classify", model[0], "--data", str(letters), *model[1:]]
    assert main([*words, "--adapt.kind", kind, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check["passed"] for check in found["checks"]}
    assert found["passed"]
    assert checks["packed sequences = separate sequences"]
    assert checks["merged adapter = adapter"] is (None if kind == "all" else True)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["finetune", "clasify", "bert-tiny"], 2, "nearest is classify"),
        (["finetune", "classify"], 2, "which model"),
        (["finetune", "classify", "bert-tiny", "--epochs", "nan"], 2, "--epochs"),
        (["finetune", "classify", "bert-tiny", "--epochs", "1e300"], 2, "--epochs"),
        (["finetune", "classify", "no-such-model"], 2, "no folder, no file and no recipe"),
        (["tag", "RUN", "a boat"], 2, "taught to classify, not to tag"),
        (["classify", "RUN", "  "], 3, "the text is empty"),
        (["predict", "RUN", "nowhere.csv"], 3, "nowhere.csv"),
        (["merge", "RUN", "--out", "OUT"], 2, "this model is whole already"),
    ],
)
def test_refusals(
    words: list[str],
    code: int,
    told: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    assert main([places.get(word, word) for word in words]) == code
    assert told in capsys.readouterr().err


def test_the_later_one_wins(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("train: {steps: 9, batch: 4}\nadapt: {kind: lora}\n", encoding="utf-8")
    words = ["tag", "bert-tiny", "--config", str(file), "--train.batch", "5", "--resume"]
    options = read_options(words)
    assert (options.run.train.steps, options.run.train.batch) == (9, 5)
    assert (options.run.task, options.run.adapt.kind, options.resume) == ("tag", "lora", "yes")
    assert options.run.optimizer.kind == "muon"  # as the recipe has it
    with pytest.raises(ConfigError, match=r"nearest is --train\.batch"):
        read_options(["tag", "bert-tiny", "--train.bach", "5"])
