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
    assert f"1 document, {data.train.tokens:,} tokens to train on" in shown
    assert f"ownlm pretrain llama-mini --data {out}" in shown


def test_what_cannot_become_a_tokenizer_is_refused_before_the_text_is_read(
    text: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, train = str(tmp_path / "out"), ["tokenizer", "train", str(text)]
    for words, code in (
        ([*train, "--out", str(text)], 6),
        ([*train, "--out", out, "--vocab-size", "9"], 2),
        (["prepare", str(text), "--out", out, "--tokenizer.controls", "user"], 2),
        (["prepare", str(text), "--out", out, "--tokenizer.path", str(tmp_path)], 3),
    ):
        assert main(words) == code
        shown = capsys.readouterr().err
        assert "reading" not in shown and "\nnext: " in shown


def test_what_was_found_as_json(text: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["prepare", str(text), "--out", str(tmp_path / "shards"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"]["documents"] == 1
    assert found["train"]["text_bytes"] + found["validation"]["text_bytes"] == 6800


def test_what_was_found_and_left_out_is_shown(tmp_path: Path, capsys: Capture) -> None:
    rows = ['{"text": "Some English words, the same in every row."}'] * 9 + ["torn", ""]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "text" / "empty.md").write_text("")
    (tmp_path / "text" / "photo.png").write_bytes(b"")
    words = ["prepare", str(tmp_path / "text"), "--out", str(tmp_path / "shards")]
    assert main([*words, "--tokenizer.kind", "byte"]) == 3
    assert "rows.jsonl:10: not JSON" in capsys.readouterr().err
    assert main([*words, "--tokenizer.kind", "byte", "--data.bad", "skip"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "9, 8 of them repeat another; besides 1 without any text",
        "378 bytes of UTF-8",
        "1 .jsonl: 9 documents, 378 bytes",
        "en 100% of a sample",
        "42 bytes rows.jsonl:",
        "left out: 1",
        "1 in rows.jsonl:10: not JSON",
        "1 .png",
        "tokens of 9 documents",
        "the end of every document",
    ):
        assert part in shown


def test_hashes_are_verified_and_all_damage_is_listed(
    text: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "shards"
    assert main(["prepare", str(text), "--out", str(out), "--tokenizer.kind", "byte"]) == 0
    assert main(["prepare", "--verify", str(out)]) == 0
    assert open_prepared(out).digest in capsys.readouterr().out
    for name in ("train-00000.bin", "validation-00000.bin"):
        content = bytearray((out / name).read_bytes())
        content[10] ^= 1
        (out / name).write_bytes(content)
    assert main(["prepare", "--verify", str(out), "--json"]) == 3
    error = json.loads(capsys.readouterr().err)
    assert error["exit_code"] == 3
    for name in ("train-00000.bin", "validation-00000.bin"):
        assert f"{name}: sha256" in error["what"]


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


def test_bytes_and_folders_are_shown_as_they_are_typed(
    text: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = str(tmp_path / "my tokenizer")
    assert main(["tokenizer", "train", str(text), "--out", folder, "--kind", "byte"]) == 0
    assert f"--tokenizer.path '{folder}'" in capsys.readouterr().out
    assert main(["tokenizer", "show", folder, "世\\\n"]) == 0
    shown = [line.split()[1] for line in capsys.readouterr().out.splitlines()[-5:]]
    assert shown == [r"'\xe4'", r"'\xb8'", r"'\x96'", r"'\\'", r"'\n'"]


@pytest.mark.parametrize("used", ["config.json", "manifest.json", "../manifest.json"])
def test_a_tokenizer_that_is_in_use_is_not_replaced(
    used: str, text: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "model" / "tokenizer"
    folder.mkdir(parents=True)
    (folder / used).write_text("{}")
    assert main(["tokenizer", "train", str(text), "--out", str(folder), "--kind", "byte"]) == 2
    assert "will not be replaced" in capsys.readouterr().err
    assert not (folder / "tokenizer.json").exists()


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
