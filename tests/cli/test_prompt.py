"""What is typed at a prompt, and Ctrl-C there."""

import signal
import threading
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from ownlm.cli import prompt
from ownlm.cli.prompt import Prompt

Capture = pytest.CaptureFixture[str]


def typed(monkeypatch: pytest.MonkeyPatch, lines: Sequence[str]) -> None:
    """`input` gives these lines; ^C is pressed, and a number lets so many seconds pass."""
    left, clock = [*lines], [100.0]

    def read(words: str) -> str:
        if not left:
            raise EOFError
        line = left.pop(0)
        while line.isdigit():
            clock[0] += int(line)
            line = left.pop(0)
        if line == "^C":
            signal.raise_signal(signal.SIGINT)
        return line

    monkeypatch.setattr("builtins.input", read)
    monkeypatch.setattr(prompt.time, "monotonic", lambda: clock[0])


def test_ctrl_c_forgets_the_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    before = signal.getsignal(signal.SIGINT)
    typed(monkeypatch, ["^C", "a", '"""b', "^C", "3", "^C", "c"])
    with Prompt() as asked:
        assert [asked.read(), asked.read(), asked.read()] == ["a", "c", None]
    assert capsys.readouterr().out.count("leaves)") == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_one_soon_after_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, ["^C", "1", "^C"])
    with pytest.raises(KeyboardInterrupt), Prompt() as asked:
        asked.read()


def test_so_does_one_while_the_hint_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, ["^C", "a"])
    monkeypatch.setattr(
        "builtins.print", lambda *words: signal.raise_signal(signal.SIGINT), raising=True
    )
    with pytest.raises(KeyboardInterrupt), Prompt() as asked:
        asked.read()


def test_between_prompts_it_is_noted_until_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, ["a", "b"])
    with Prompt() as asked:
        asked.read()
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
            assert asked.interrupted
        asked.read()
        assert not asked.interrupted


@pytest.mark.parametrize("keyboard", [False, True])
def test_a_process_that_ignores_it_goes_on_so_without_a_keyboard(
    keyboard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: keyboard))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Prompt() as asked:
            signal.raise_signal(signal.SIGINT)
            assert asked.interrupted is keyboard
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, ["a"])
    found = list[str | None]()

    def ask() -> None:
        with Prompt() as asked:
            found.append(asked.read())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == ["a"]
