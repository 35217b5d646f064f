"""`ownlm chat` with an assistant, and `ownlm data show` of conversations."""

import json
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ownlm.cli import chat
from ownlm.cli.main import main
from ownlm.cli.talk import fitted
from ownlm.errors import DataError
from ownlm.inference.language_model import LM, load
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any, build_model
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
    config = ModelConfig(layers=1, dim=8, heads=2, context=128, vocab=tokenizer.vocab_size)
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

    def reply(state: chat.State) -> Iterator[str]:
        asked.append(state.messages)
        return iter(["answer ", f"{len(asked)}"])

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

    def reply(state: chat.State) -> Iterator[str]:
        if state.messages[-1]["content"] == "bad":
            raise DataError("refused")
        return iter(["fine"])

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


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_a_model_that_writes_nothing_is_refused_before_anything_is_typed(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = train_tokenizer(["Is it noon?"], TokenizerConfig(vocab_size=300))
    config = ModelConfig(family=family, layers=1, dim=8, heads=2, context=16, bias=True)
    config = config.model_copy(update={"vocab": tokenizer.vocab_size})
    LM(build_any(config, seed=0), tokenizer).save(tmp_path / "model")
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("it asked"))
    assert main(["chat", str(tmp_path / "model")]) == 2
    assert "it cannot continue a text" in capsys.readouterr().err


def conversation(
    monkeypatch: pytest.MonkeyPatch, lines: Sequence[str], *answers: str
) -> tuple[chat.State, list[chat.State]]:
    """The end of a conversation, and what the model was asked with."""
    typed(monkeypatch, *lines)
    asked: list[chat.State] = []

    def reply(state: chat.State) -> Iterator[str]:
        asked.append(state)
        for piece in answers[len(asked) - 1].split("|"):
            if piece == "^C":
                raise KeyboardInterrupt
            yield piece

    return chat.converse(chat.begun(chat.ChatOptions(model="m")), reply), asked


def contents(state: chat.State) -> list[str]:
    return [message["content"] for message in state.messages]


def test_an_answer_once_more_has_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    state, asked = conversation(monkeypatch, ["/retry", "a", "/retry", "/retry", "b"], *"1234")
    assert [contents(one) for one in asked] == [["a"], ["a"], ["a"], ["a", "3", "b"]]
    assert [one.sampling.seed for one in asked] == [0, 1, 2, 3]
    assert contents(state) == ["a", "3", "b", "4"]
    assert state.text == "a3\nb4"
    last = chat.ChatOptions(model="m", seed=2**63 - 1)
    assert state._replace(options=last, replies=1).sampling.seed == 0


def test_an_interrupted_answer_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, _ = conversation(monkeypatch, ["a", "b", "c"], "one| two|^C| three", "^C", "3")
    assert contents(state) == ["a", "one two", "c", "3"]
    assert "nothing was said" in capsys.readouterr().out


def test_ctrl_c_ends_an_answer_between_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is noted and breaks into nothing, a second one is raised, further ones while the
    answer is put away are not; a new answer knows of none."""
    typed(monkeypatch, "a", "b", "c", "d")
    presses, behind = {"a": 1, "b": 2, "c": 0, "d": 1}, list[str]()

    def reply(state: chat.State) -> Iterator[str]:
        asked = state.messages[-1]["content"]
        try:
            for _ in range(presses[asked]):
                signal.raise_signal(signal.SIGINT)
                behind.append(asked)
            if asked != "d":
                yield "one"
                yield " two"
        finally:
            if presses[asked]:
                signal.raise_signal(signal.SIGINT)

    state = chat.converse(chat.begun(chat.ChatOptions(model="m")), reply)
    assert contents(state) == ["a", "one", "c", "one two"]
    assert behind == ["a", "b", "d"]


def test_texts_of_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["one\\", "two", '"""first', "", ' second"""', '"""x"""', "//slash", "", '"""', "o"]
    _, asked = conversation(monkeypatch, lines, *"12345")
    said = [one.messages[-1]["content"] for one in asked]
    assert said == ["one\ntwo", "first\n\n second", "x", "/slash", "o"]


def test_an_empty_line_lets_a_text_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "a", "")
    state = chat.State("", chat.ChatOptions(model="m"), assistant=False)
    assert chat.converse(state, lambda s: iter("!")).text == "a!!"


def test_the_system_s_message_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["/system Be brief.", "a", "/system Be long.", "b", "/clear", "c", "/system", "d"]
    _, asked = conversation(monkeypatch, lines, *"1234")
    assert [contents(one) for one in asked] == [
        ["Be brief.", "a"], ["Be long.", "a", "1", "b"], ["Be long.", "c"], ["c", "3", "d"],
    ]  # fmt: skip
    plain = chat.State("", chat.ChatOptions(model="m"), assistant=False)
    assert chat.command("/system x", plain) == plain
    assert "no chat template" in capsys.readouterr().out


def test_a_conversation_is_saved_and_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a talk.json"
    lines = ["a", f"/save {path}", "b", "/clear", f"/load {path}", "c"]
    _, asked = conversation(monkeypatch, lines, *"123")
    assert contents(asked[-1]) == ["a", "1", "c"]
    assert asked[-1].text == "a1\nc"
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "role.json").write_text('{"text": "", "messages": [{"role": "x"}]}')
    state, _ = conversation(
        monkeypatch,
        ["a", f"/load {tmp_path}/none", f"/load {tmp_path}/bad.json", "/save", "/load",
         f"/load {tmp_path}/role.json", f"/save {tmp_path}", "/save ~no one/x", "/load ~no one/x",
         "/save /proc/x", "/save a\0b"],
        "1",
    )  # fmt: skip
    assert contents(state) == ["a", "1"]
    told = capsys.readouterr().out
    for words in ("No such file", "no conversation that /save wrote", "/save wants the name",
                  "message 1", "Is a directory", "no such home", "/proc/x: cannot",
                  "null byte"):  # fmt: skip
        assert words in told


def test_the_first_turns_go_when_a_conversation_is_long() -> None:
    talk = [{"role": "system", "content": "s"}]
    for n in range(6):
        talk += [{"role": "user", "content": f"u{n}"}, {"role": "assistant", "content": f"a{n}"}]

    def kept(room: int, messages: Sequence[Any] = talk) -> list[str]:
        return [message["content"] for message in fitted(messages, len, room)]

    assert kept(13) == [message["content"] for message in talk]
    assert kept(12) == kept(11) == ["s", *(f"{who}{n}" for n in range(1, 6) for who in "ua")]
    assert kept(3) == kept(4) == kept(0) == ["s", "u5", "a5"]
    assert kept(0, talk[:2]) == ["s", "u0"]
    assert kept(4, talk[1:]) == ["u4", "a4", "u5", "a5"]
    assert kept(0, talk[:1]) == ["s"]


def test_a_long_conversation_is_shortened_with_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "/tokens", *["Is it noon?"] * 8, "/tokens")
    asked: list[Any] = []
    monkeypatch.setattr(LM, "stream", lambda lm, prompt, *rest: iter([asked.append(prompt) or "!"]))
    assert main(["chat", str(folder), "--system", "No.", "--max-tokens", "8"]) == 0
    told = capsys.readouterr().out
    lengths = [len(prompt) for prompt in asked]
    assert lengths[:2] == [2, 4] and lengths[-1] < 16
    for prompt in asked:
        roles = [message["role"] for message in prompt]
        assert roles == ["system", *["user", "assistant"] * 8][: len(roles)]
    assert "(the first 2 messages no longer fit and are left out)" in told
    assert told.count("of 128 tokens") == 2
    assert "messages are left out" in told.splitlines()[-2]


@pytest.fixture
def endless(folder: Path, tmp_path: Path) -> Path:
    """A model that never ends an answer: its states are one constant, from which the tokens that
    end turns are as far as can be."""
    lm = load(folder)
    config = ModelConfig(layers=1, dim=8, heads=2, context=128, bias=True, vocab=lm.model.vocab)
    model = build_model(config, seed=0)
    with torch.no_grad():
        model.stack.norm.weight.zero_()
        model.stack.norm.bias.fill_(1.0)
        model.embed.tokens.weight[sorted(lm.turn_ids)] = -100.0
    LM(model, lm.tokenizer).save(tmp_path / "endless")
    return tmp_path / "endless"


def test_in_a_terminal(endless: Path) -> None:
    """Typed through a pseudo-terminal: an answer is interrupted, kept, and the chat goes on."""
    child, terminal = pty.fork()
    if child == 0:
        words = ["chat", str(endless), "--max-tokens", "1000000", "--device", "cpu"]
        os.execv(sys.executable, [sys.executable, "-m", "ownlm", *words])
    try:
        _until(terminal, b"\r\n> ")
        os.write(terminal, b"Is it noon?\n")
        _until(terminal, b"noon?\r\n")
        os.read(terminal, 1)  # it answers
        os.write(terminal, b"\x03")
        _until(terminal, b"\r\n> ")
        os.write(terminal, b"/tokens\n")
        _until(terminal, b"of 128 tokens")
        _until(terminal, b"> ")
        os.write(terminal, b"\x03")  # at the prompt it forgets the line
        _until(terminal, b"leaves)\r\n> ", nudge=b"\n")
        os.write(terminal, b"/exit\n")
        _, status = os.waitpid(child, 0)
        child = 0
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        os.close(terminal)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _until(terminal: int, words: bytes, nudge: bytes = b"") -> None:
    """Read until the words are there; TimeoutError after a minute.

    A Ctrl-C that comes after the prompt is drawn and before Python waits for a key is seen when the
    line ends (CPython's readline): `nudge` ends it, when nothing comes for seconds.
    """
    seen, end = b"", time.monotonic() + 60
    while words not in seen:
        if time.monotonic() > end:
            raise TimeoutError(f"{words!r} did not come, but {seen[-200:]!r}")
        if select.select([terminal], [], [], 3.0)[0]:
            seen += os.read(terminal, 1)
        elif nudge:
            os.write(terminal, nudge)


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
