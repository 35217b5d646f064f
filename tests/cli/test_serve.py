"""`ownlm serve`: what it refuses, and one server from its start to its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from ownlm.cli import serve
from ownlm.cli.main import main
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model over bytes."""
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="byte"))
    config = ModelConfig(vocab=tokenizer.vocab_size, dim=16, heads=2, layers=1, context=32)
    place = tmp_path_factory.mktemp("served") / "small"
    LM(build_model(config, seed=1), tokenizer).save(place)
    return place


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "MODEL is missing"),
        (["/nowhere"], 4, "no such folder"),
        (["MODEL", "MODEL"], 2, "two models"),
        (["MODEL", "--host", "0.0.0.0"], 2, "OWNLM_API_KEY"),
        (["MODEL", "--port", "70000"], 2, "65535"),
        (["MODEL", "--api-key", "a b"], 2, "printable ASCII"),
        (["MODEL", "--prot", "1"], 2, "nearest is --port"),
        (["MODEL", "--host", "203.0.113.1", "--open"], 2, "cannot listen"),
    ],
)
def test_what_cannot_be_served(
    folder: Path,
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # a folder of runs would be served without any model
    given = [str(folder) if word == "MODEL" else word for word in words]
    assert main(["serve", *given]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_port_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(folder), "--port", port]) == 2
    error = capsys.readouterr().err
    assert "another program listens there" in error
    assert "--port 0" in error


def test_without_the_packages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "NEEDED", ("a_package_that_is_not_there",))
    assert main(["serve", str(folder)]) == 2
    assert "pip install 'ownlm[serve]'" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_ends_the_server(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (broken / name).write_bytes((folder / name).read_bytes())
    assert main(["serve", str(broken), "--port", "0", "--no-page"]) == 4
    assert "broken" in capsys.readouterr().err


def test_keys_in_the_environment() -> None:
    assert serve.keys_of(" a, b ,,c ") == ["a", "b", "c"]
    assert serve.keys_of("") == []


@pytest.mark.slow
def test_from_the_start_to_the_end(folder: Path) -> None:
    words = [sys.executable, "-m", "ownlm", "serve", f"mine={folder}", "--port", "0", "--no-page"]
    environment = os.environ | {"OWNLM_API_KEY": "key"}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found, said
        key = {"authorization": "Bearer key"}
        body = {"prompt": "ab", "max_tokens": 4}
        url = found.group() + "/v1/completions"
        assert httpx2.post(url, json=body).status_code == 401
        answer = httpx2.post(url, json=body, headers=key)
        assert answer.json()["model"] == "mine"
        example = re.search(r"curl (\S+) .*-d '(.*)'", said)
        assert example, said
        tried = httpx2.post(example[1], json=json.loads(example[2]), headers=key, timeout=60)
        assert tried.status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
