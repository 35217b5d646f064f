"""A script that answers lines in a process of its own: killed when it takes too long, and begun
again."""

import os
import threading
import time
from pathlib import Path

import pytest

from ownlm.worker import Ended, Worker

SCRIPT = """\
import json, os, sys, time
first = json.loads(sys.stdin.readline())
if first["greets"]:
    time.sleep(first["greets"] - 1)
    print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked == "sleep":
        time.sleep(60)
    if asked == "die":
        os._exit(3)
    print(json.dumps([os.getpid(), asked]), flush=True)
"""


def worker(folder: Path, greets: float = 0, within: float = 0) -> Worker:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return Worker(script, {"greets": greets}, within)


def test_lines_are_answered_by_one_process(tmp_path: Path) -> None:
    made = worker(tmp_path)
    pid, said = made.ask({"é": [1, None]}, 20)
    assert said == {"é": [1, None]}
    assert pid != os.getpid()
    assert made.ask("again", 20) == [pid, "again"]


def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    """A terminal sends it to the whole group in front, which a worker does not belong to."""
    made = worker(tmp_path)
    pid, _ = made.ask("a", 20)
    assert os.getpgid(pid) == pid != os.getpgid(0)


def test_what_takes_too_long_is_killed_and_begun_again(tmp_path: Path) -> None:
    made = worker(tmp_path)
    pid, _ = made.ask("a", 20)
    begun = time.perf_counter()
    with pytest.raises(Ended) as caught:
        made.ask("sleep", 0.3)
    assert caught.value.late
    assert time.perf_counter() - begun < 10
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    other, said = made.ask("b", 20)
    assert (other != pid, said) == (True, "b")


def test_one_that_dies_is_told_apart(tmp_path: Path) -> None:
    made = worker(tmp_path)
    with pytest.raises(Ended) as caught:
        made.ask("die", 20)
    assert not caught.value.late
    assert made.ask("b", 20)[1] == "b"


def test_a_greeting_has_a_time_of_its_own(tmp_path: Path) -> None:
    """To begin may take longer than an answer."""
    assert worker(tmp_path, greets=1.5, within=20).ask("a", 0.45)[1] == "a"
    with pytest.raises(Ended):
        worker(tmp_path, greets=20, within=0.3).ask("a", 20)


def test_threads_are_answered_each_its_own(tmp_path: Path) -> None:
    made, found = worker(tmp_path), {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: made.ask(n, 20)[1]})) for n in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: n for n in range(9)}


def test_it_ends_with_whoever_asks(tmp_path: Path) -> None:
    made = worker(tmp_path)
    pid, _ = made.ask("a", 20)
    del made
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
