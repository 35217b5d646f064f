"""F16: one process a run folder."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ownlm.errors import LockedError
from ownlm.training import lock
from ownlm.training.lock import RunLock

HOLD = """
import sys
from pathlib import Path
from ownlm.training.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_held_folder_is_refused_at_once_naming_who_holds_it(
    tmp_path: Path, holder: subprocess.Popen
) -> None:
    begun = time.monotonic()
    with pytest.raises(LockedError) as caught, RunLock(tmp_path):
        pass
    assert time.monotonic() - begun < 2
    error = caught.value
    assert error.exit_code == 7
    assert f"process {holder.pid} on {socket.gethostname()}, started 2" in error.what
    assert error.where == str(tmp_path)
    held = json.loads((tmp_path / ".lock").read_text())
    assert held["pid"] == str(holder.pid)  # the refused one left no trace
    assert holder.poll() is None


def test_the_lock_of_a_killed_process_is_taken_over_with_a_warning(
    tmp_path: Path, holder: subprocess.Popen, capsys: pytest.CaptureFixture[str]
) -> None:
    holder.kill()
    holder.wait()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == str(os.getpid())
    told = capsys.readouterr().err
    assert f"took over the lock of process {holder.pid}" in told


def test_a_lock_that_was_let_go_is_taken_in_silence(
    tmp_path: Path, holder: subprocess.Popen, capsys: pytest.CaptureFixture[str]
) -> None:
    holder.communicate("")
    with RunLock(tmp_path):
        pass
    with RunLock(tmp_path):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["not json", "[]", '{"pid": 3}', "\x00\x00"])
def test_any_text_in_the_file_is_survived(tmp_path: Path, text: str) -> None:
    (tmp_path / ".lock").write_text(text)
    with RunLock(tmp_path), pytest.raises(LockedError), RunLock(tmp_path):
        pass


def test_without_locks_in_the_file_system_the_process_itself_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: subprocess.Popen
) -> None:
    def no_locks(file: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "_take", no_locks)
    with pytest.raises(LockedError), RunLock(tmp_path):
        pass
    elsewhere = {"host": "elsewhere", "pid": "1", "started": "before"}
    (tmp_path / ".lock").write_text(json.dumps(elsewhere))
    with pytest.raises(LockedError, match="on elsewhere"), RunLock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    dead = {"host": socket.gethostname(), "pid": str(holder.pid), "started": "before"}
    (tmp_path / ".lock").write_text(json.dumps(dead))
    with RunLock(tmp_path):
        pass
