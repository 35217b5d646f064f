"""`ownlm demo`: the whole way, gone on with when broken off, and what to type next."""

import json
from pathlib import Path

import pytest

from ownlm.cli import demo
from ownlm.cli.main import main
from ownlm.recipes.demo import CorpusSummary

TINY = (
    "--train.steps 4 --train.batch 2 --train.save-every 2 --train.evaluate-every 2 "
    "--train.sample-every 2 --model.layers 1 --model.dim 16 --model.heads 2 --model.context 16 "
    "--tokenizer.vocab-size 300 --sample.tokens 8 --train.threads 1"
).split()


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of the text, so that the tests last seconds."""

    def write(folder: Path) -> CorpusSummary:
        path = folder / "python.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        texts = [f"def f{n}(x):\n    return x + {n}\n" for n in range(300)]
        path.write_text("".join(json.dumps({"text": text, "name": "x"}) + "\n" for text in texts))
        return CorpusSummary(path, 1, 299, sum(map(len, texts)))

    monkeypatch.setattr(demo, "write_corpus", write)


@pytest.mark.usefixtures("corpus")
def test_the_whole_way_and_then_nothing_more_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "my demo"
    assert main(["demo", "--out", str(run), *TINY]) == 0
    out = capsys.readouterr().out
    for expected in ("bits per byte", "ownlm chat", "ownlm generate '", "--data FILE_OR_FOLDER"):
        assert expected in out
    assert (run / "model" / "model.safetensors").is_file()
    assert "def " in (run / "samples.md").read_text(encoding="utf-8")
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "What it writes" in report and "<img" in report and "step 4" in report
    before = (run / "model" / "manifest.json").read_bytes(), (run / "log.jsonl").read_bytes()
    assert main(["demo", "--out", str(run), *TINY]) == 0
    assert before == (
        (run / "model" / "manifest.json").read_bytes(),
        (run / "log.jsonl").read_bytes(),
    )


@pytest.mark.usefixtures("corpus")
def test_the_result_as_json_and_the_model_is_usable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["demo", "--out", str(run), *TINY, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finished"] and found["step"] == 4 and found["evaluation"]["loss"] > 0
    assert main(["show", str(run)]) == 0
    assert main(["generate", str(run), "def ", "--max-tokens", "4"]) == 0
    assert main(["evaluate", str(run), "--data", str(run / "data")]) == 0


def test_a_text_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.txt").write_text("the cat sat on the mat\n" * 400)
    words = ["demo", "--out", str(tmp_path / "run"), "--data", str(tmp_path / "own.txt"), *TINY]
    assert main(words) == 0
    assert "nothing downloaded" not in capsys.readouterr().err
    assert not (tmp_path / "run" / "text").exists()


def test_help_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--help"]) == 0
    assert "nothing is downloaded" in capsys.readouterr().out
