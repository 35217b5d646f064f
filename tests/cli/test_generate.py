"""`ownlm generate` and `ownlm chat` on a tiny model."""

import io
import json
from pathlib import Path

import pytest

from ownlm.cli import chat, generate
from ownlm.cli.main import main
from ownlm.inference.language_model import LM, load
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model over bytes."""
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="byte"))
    config = ModelConfig(vocab=tokenizer.vocab_size, dim=16, heads=2, layers=1, context=32)
    place = tmp_path_factory.mktemp("a model")
    LM(build_model(config, seed=1), tokenizer).save(place)
    return place


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    waiting = list(lines)

    def read(prompt: str) -> str:
        assert prompt == "> "
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    monkeypatch.setattr("builtins.input", read)


def test_generate_writes_what_the_library_writes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--max-tokens", "30", "--temperature", "0.7", "--top-k", "40", "--seed", "5"]
    assert main(["generate", str(folder), "hé", *options]) == 0
    expected = load(folder, "cpu").generate("hé", 30, 0.7, 40, seed=5)
    assert capsys.readouterr().out == f"hé{expected}\n"


def test_generate_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(folder), "x", "--max-tokens", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prompt"] == "x"
    assert found["text"] == load(folder, "cpu").generate("x", 9, 0.8)
    assert (found["seed"], found["temperature"], found["max_tokens"]) == (0, 0.8, 9)


def test_generate_reads_standard_input_and_stops(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(folder, "cpu").generate("ab\n", 30, 0.8)
    stop = whole[4]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"ab\n")))
    assert main(["generate", str(folder), "-", "--max-tokens", "30", f"--stop={stop}"]) == 0
    assert capsys.readouterr().out == "ab\n" + whole[: whole.index(stop)] + "\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert main(["generate", str(folder), "-"]) == 3


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["{}", "x", "--temperature", "-1"], 2, "--temperature"),
        (["{}", "x", "--temprature", "1"], 2, "nearest is --temperature"),
        (["{}/nowhere", "x"], 4, "no such folder"),
        (["{}", "x", "--device", "abacus"], 2, "device"),
        ([], 2, "MODEL"),
    ],
)
def test_refusals(
    args: list[str], code: int, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", *(arg.format(folder) for arg in args)]) == code
    shown = capsys.readouterr()
    assert words in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_chat_continues_one_growing_text(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "ab", "/temperature 0", "cd", "/reset", "ef", "/quit", "never read")
    assert main(["chat", str(folder), "--max-tokens", "8"]) == 0
    lm = load(folder, "cpu")
    first = lm.generate("ab", 8, 0.8, seed=0)
    second = lm.generate(f"ab{first}\ncd", 8, 0)
    third = lm.generate("ef", 8, 0)
    shown = capsys.readouterr().out
    assert shown.split("\n", 1)[1] == f"{first}\n{second}\n{third}\n"


def test_chat_settings(capsys: pytest.CaptureFixture[str]) -> None:
    state = chat.State("text", chat.ChatOptions(model="m"))
    for line in ("/top-k 7", "/seed 3", "/max-tokens 5"):
        after = chat.command(line, state)
        assert after is not None
        state = after
    assert (state.options.top_k, state.options.seed, state.options.max_tokens) == (7, 3, 5)
    assert chat.command("/top-k many", state) == state
    assert chat.command("/temperature", state) == state
    assert chat.command("/temprature 1", state) == state
    assert chat.command("/model other", state) == state
    shown = capsys.readouterr().out
    assert "/top-k" in shown
    assert "temperature 0.8" in shown
    assert "nearest is /temperature" in shown
    assert chat.command("/settings", state) == state
    assert "top-k 7" in capsys.readouterr().out
    assert chat.command("/help", state) == state
    assert "/exit" in capsys.readouterr().out
    assert chat.command("/reset", state) == state._replace(text="")
    assert chat.command("/quit", state) is None


def test_end_of_input_ends_the_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "a")
    state = chat.converse(chat.State("", chat.ChatOptions(model="m")), lambda s: iter("!"))
    assert state.text == "a!"
    assert state.replies == 1


def test_bytes_that_are_no_text_end_no_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, b"a\xff".decode("utf-8", "surrogateescape"), "你好")
    state = chat.converse(chat.State("", chat.ChatOptions(model="m")), lambda s: iter("!"))
    assert state.text == "a\ufffd!\n你好!"


def test_a_prompt_that_is_no_text_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(folder), b"ab\xff".decode("utf-8", "surrogateescape")]) == 3
    assert "prompt:2: not UTF-8 text" in capsys.readouterr().err


def test_options_are_parsed_without_torch(repository: Path) -> None:
    import subprocess
    import sys

    code = "import ownlm.cli.generate, ownlm.cli.chat, sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository / "src", check=False)
    assert done.returncode == 0
    assert generate.GenerateOptions(model="m").sampling.temperature == 0.8
