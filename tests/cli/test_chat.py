"""`ownlm chat` with an assistant, and `ownlm data show` of conversations."""

import json
from pathlib import Path
from typing import Any

import pytest

from ownlm.cli import chat
from ownlm.cli.main import main
from ownlm.errors import DataError
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.train import train_tokenizer

TALK = [
    {"role": "user", "content": "Is it <|im_end|> noon?"},
    {"role": "assistant", "content": "Yes it is."},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plain = train_tokenizer(["Is it noon? Yes it is. No."], TokenizerConfig(vocab_size=300))
    tokenizer = with_template(plain)
    config = ModelConfig(layers=1, dim=8, heads=2, context=64, vocab=tokenizer.vocab_size)
    place = tmp_path_factory.mktemp("chat") / "model"
    LM(build_model(config, seed=0), tokenizer).save(place)
    return place


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    left = [*lines]
    monkeypatch.setattr("builtins.input", lambda prompt: left.pop(0) if left else _end())


def _end() -> str:
    raise EOFError


def test_a_conversation_grows_message_by_message(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "one", "two", "/reset", "three")
    asked: list[Any] = []

    def reply(state: chat.State) -> str:
        asked.append(state.messages)
        return f"answer {len(asked)}"

    options = chat.ChatOptions(model="m", system="Be brief.")
    state = chat.converse(chat.begun(options), reply)
    told = {"role": "system", "content": "Be brief."}
    first = [told, {"role": "user", "content": "one"}]
    assert asked[0] == (*first,)
    answer = {"role": "assistant", "content": "answer 1"}
    assert asked[1] == (*first, answer, {"role": "user", "content": "two"})
    assert asked[2] == (told, {"role": "user", "content": "three"})
    assert state.replies == 3


def test_what_the_template_refuses_was_not_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "bad", "good")

    def reply(state: chat.State) -> str:
        if state.messages[-1]["content"] == "bad":
            raise DataError("refused")
        return "fine"

    state = chat.converse(chat.State("", chat.ChatOptions(model="m")), reply)
    assert [message["content"] for message in state.messages] == ["good", "fine"]
    assert "refused" in capsys.readouterr().out


def test_the_command_asks_a_model_with_a_template(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "Is it noon?")
    asked: list[Any] = []
    monkeypatch.setattr(LM, "stream", lambda lm, prompt, *rest: iter([asked.append(prompt) or "!"]))
    assert main(["chat", str(folder)]) == 0
    assert asked == [({"role": "user", "content": "Is it noon?"},)]
    assert "the model answers" in capsys.readouterr().out


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> list[list[dict[str, Any]]]:
    assert main(["data", "show", *args, "--json"]) == 0
    found: list[list[dict[str, Any]]] = json.loads(capsys.readouterr().out)
    return found


def test_conversations_are_shown_with_what_is_learned(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, whole = tmp_path / "talk.jsonl", tmp_path / "talk.json"
    lines.write_text("\n" + json.dumps({"messages": TALK[:1]}) + "\n" + json.dumps(TALK) + "\n")
    whole.write_text(json.dumps([{"messages": TALK}]))
    (tokens,) = shown(capsys, str(lines), "--model", str(folder), "--example", "1")
    assert [tokens] == shown(capsys, str(whole), "--model", str(folder))
    learned = "".join(token["text"] for token in tokens if token["learned"])
    assert learned == "Yes it is.<|im_end|>"
    controls = [token["text"] for token in tokens if token["control"]]
    assert controls == ["<|im_start|>", "<|im_end|>"] * 2
    assert main(["data", "show", str(whole), "--model", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "learned" in told and "Yes it is.<|im_end|>" in told.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "place"),
    [("{", "talk.jsonl:1"), ('{"text": "x"}', "talk.jsonl:1"), ("", "talk.jsonl"),
     ('{"messages": [{"role": "user"}]}', "message 1")],
)  # fmt: skip
def test_what_is_no_conversation_is_refused(
    text: str, place: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.jsonl").write_text(text)
    assert main(["data", "show", str(tmp_path / "talk.jsonl"), "--model", str(folder)]) == 3
    assert place in capsys.readouterr().err
