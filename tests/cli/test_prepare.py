"""`ownlm prepare` and `ownlm tokenizer`: text in, shards and vocabularies out."""

import json
from pathlib import Path

import pytest

from ownlm.cli.main import main
from ownlm.data.shards import open_prepared
from ownlm.tokenization.load import load_tokenizer

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("One thing leads to another thing. " * 200, encoding="utf-8")
    return path


def test_text_becomes_shards(text: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "shards"
    words = ["prepare", str(text), "--out", str(out), "--data.validation", "0.2"]
    assert main([*words, "--tokenizer.kind", "byte"]) == 0
    shown = capsys.readouterr().out
    data = open_prepared(out, verify=True)
    assert data.train.text_bytes == len(text.read_bytes()) * 8 // 10
    assert f"1 documents, {data.train.tokens:,} tokens to train on" in shown
    assert f"ownlm pretrain llama-mini --data {out}" in shown


def test_what_was_found_as_json(text: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["prepare", str(text), "--out", str(tmp_path / "shards"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"]["documents"] == 1
    assert found["train"]["text_bytes"] + found["validation"]["text_bytes"] == 6800


def test_refusals(text: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["prepare", str(text)]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["prepare", str(tmp_path / "absent"), "--out", str(tmp_path / "shards")]) == 3
    assert "no such file or folder" in capsys.readouterr().err
    assert main(["prepare", str(text), "--out", str(tmp_path / "x"), "--data.validatoin=1"]) == 2
    assert "nearest is --data.validation" in capsys.readouterr().err


def test_a_tokenizer_is_trained_and_is_the_one_that_preparing_trains(
    text: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["tokenizer", "train", str(text), "--out", str(tmp_path / "tokenizer")]
    assert main([*words, "--vocab-size", "300"]) == 0
    assert "BPE" in capsys.readouterr().out
    alone = load_tokenizer(tmp_path / "tokenizer")
    shards = ["prepare", str(text), "--out", str(tmp_path / "shards")]
    assert main([*shards, "--tokenizer.vocab-size", "300"]) == 0
    assert open_prepared(tmp_path / "shards").tokenizer_digest == alone.digest
    assert alone.vocab_size <= 300


def test_a_tokenizer_is_shown(text: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = str(tmp_path / "tokenizer")
    assert main(["tokenizer", "train", str(text), "--out", folder, "--kind", "byte"]) == 0
    capsys.readouterr()
    assert main(["tokenizer", "show", folder, "One", "--texts", str(text)]) == 0
    shown = capsys.readouterr().out
    assert "text.txt" in shown
    tokenizer = load_tokenizer(Path(folder))
    for id in tokenizer.encode("One"):
        assert f"{id:>8}  {tokenizer.token(id)!r}" in shown
    assert main(["tokenizer", "show", folder, "--texts", str(text), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["languages"]["text.txt"]["bytes_per_token"] == 1.0


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["trian"], 2, "nearest is train"),
        (["show", "absent"], 3, "absent"),
        (["show"], 2, "FOLDER"),
    ],
)
def test_tokenizer_refusals(words: list[str], code: int, part: str, capsys: Capture) -> None:
    assert main(["tokenizer", *words]) == code
    assert part in capsys.readouterr().err


def test_tokenizer_alone_explains_itself(capsys: Capture) -> None:
    assert main(["tokenizer"]) == 0
    assert "tokenizer train PATH" in capsys.readouterr().out
