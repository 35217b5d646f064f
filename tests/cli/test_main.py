"""The command `ownlm`: its table, its errors, and what it does not import."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from ownlm.cli import main as cli
from ownlm.errors import DiskError

Capture = pytest.CaptureFixture[str]


def command(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    """Make `ownlm probe` call `run`."""
    module = types.ModuleType("probe_command")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", cli.Command("probe_command", "a test"))


def raising(error: BaseException) -> object:
    def run(args: list[str]) -> int:
        raise error

    return run


def test_an_error_that_knows_nothing_better_points_to_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    command(monkeypatch, raising(DiskError("full")))
    assert cli.main(["probe"]) == 6
    assert capsys.readouterr().err == "ownlm: full\nnext: ownlm probe --help\n"
    command(monkeypatch, raising(DiskError("full", next_command="free some room")))
    assert cli.main(["probe", "--json"]) == 6
    assert json.loads(capsys.readouterr().err)["next"] == "free some room"


def test_nothing_typed_prints_every_command(capsys: Capture) -> None:
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    for name, entry in cli.COMMANDS.items():
        assert f"  {name}" in shown
        assert entry.help in shown


def test_every_command_has_a_module_that_runs() -> None:
    import importlib

    for entry in cli.COMMANDS.values():
        assert callable(importlib.import_module(entry.module).run)


def test_unknown_command_names_the_nearest(capsys: Capture) -> None:
    assert cli.main(["pretrian"]) == 2
    assert "nearest is pretrain" in capsys.readouterr().err
    assert cli.main(["zzzzzz"]) == 2
    assert "nearest" not in capsys.readouterr().err


def test_arguments_reach_the_command_and_its_code_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []

    def run(args: list[str]) -> int:
        seen.append(args)
        return 9

    command(monkeypatch, run)
    assert cli.main(["probe", "a", "--b"]) == 9
    assert seen == [["a", "--b"]]


def test_a_refusal_is_text_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    error = DiskError("full", where="run/x", kept="all", next_command="free some room")
    command(monkeypatch, raising(error))
    assert cli.main(["probe"]) == 6
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "ownlm: run/x: full\nkept: all\nnext: free some room\n"


def test_a_refusal_as_json(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    command(monkeypatch, raising(DiskError("full", where="run/x", next_command="free")))
    assert cli.main(["probe", "--json"]) == 6
    found = json.loads(capsys.readouterr().err)
    assert found["error"] == "DiskError"
    assert found["exit_code"] == 6
    assert (found["what"], found["where"], found["next"]) == ("full", "run/x", "free")


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    command(monkeypatch, raising(KeyboardInterrupt()))
    assert cli.main(["probe"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_is_one_line_and_a_file(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    command(monkeypatch, raising(ZeroDivisionError("by zero\nand more")))
    assert cli.main(["probe"]) == 1
    what, where = capsys.readouterr().err.splitlines()
    assert what == "bug in ownlm: ZeroDivisionError: by zero"
    written = Path(where.removeprefix("traceback: "))
    assert "Traceback (most recent call last)" in written.read_text(encoding="utf-8")
    written.unlink()


def test_a_reader_that_left_is_no_error() -> None:
    """`ownlm | true`: the pipe is closed before the table is written."""
    script = (
        "import time, sys; time.sleep(0.5); from ownlm.cli.main import main; sys.exit(main([]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


HEAVY = ("torch", "numpy", "transformers", "matplotlib", "pyarrow", "tokenizers")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["pretrain", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from ownlm.cli.main import main\n"
        "try:\n"
        f"    code = main({words!r})\n"
        "except SystemExit as leaving:\n"
        "    code = leaving.code or 0\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "ownlm" in result.stdout


def test_python_m_ownlm_is_the_same_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ownlm"], capture_output=True, text=True, check=True
    )
    assert result.stdout == cli.table() + "\n"
