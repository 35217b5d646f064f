"""The log of a run: rows that survive a crash, and lines for people."""

import json
import math
from pathlib import Path

import pytest

from ownlm.errors import DiskError
from ownlm.log import MetricsLog, read_rows, say, warn


def write(path: Path, steps: list[int]) -> None:
    with MetricsLog(path) as log:
        for step in steps:
            log.write({"step": step, "loss": step / 2})


def test_rows_are_one_json_line_each_and_appended(tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.jsonl"
    write(path, [1, 2])
    write(path, [3])
    assert path.read_text() == (
        '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 1.0}\n{"step": 3, "loss": 1.5}\n'
    )
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3]


def test_rows_are_on_file_before_the_log_is_closed(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "log.jsonl") as log:
        log.write({"step": 1})
        assert read_rows(tmp_path / "log.jsonl") == [{"step": 1}]


def test_what_json_lacks_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with MetricsLog(path) as log:
        log.write({"step": 1, "loss": math.nan, "more": {"worst": -math.inf}, "text": "é"})
    assert read_rows(path) == [{"step": 1, "loss": None, "more": {"worst": None}, "text": "é"}]
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', '{"step": 3}', "", "\x00\x00"])
def test_a_torn_last_line_is_skipped_and_never_glued_to_the_next_row(
    tmp_path: Path, torn: str
) -> None:
    path = tmp_path / "log.jsonl"
    write(path, [1, 2])
    with open(path, "a") as file:
        file.write(torn)
    assert [row["step"] for row in read_rows(path)][:2] == [1, 2]
    write(path, [4])
    assert [row["step"] for row in read_rows(path)] == [1, 2, 4]
    assert path.read_text().count("\n") == 3


def test_rewind_drops_later_rows_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, [1, 2, 3, 4])
    with MetricsLog(path) as log:
        log.rewind(2)
        log.write({"step": 3, "again": True})
        log.sync()
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3]
    assert read_rows(path)[2]["again"]


def test_rewind_of_a_log_that_ends_there_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, [1, 2])
    before = path.stat()
    with MetricsLog(path) as log:
        log.rewind(2)
    assert path.stat() == before


def test_no_log_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "log.jsonl") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with MetricsLog(tmp_path / "log.jsonl") as log, pytest.raises(DiskError) as caught:
        log.write({"step": 1})
    assert caught.value.exit_code == 6


def test_messages_go_to_stderr_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]not markup[/bold] :smile: " + "long " * 60)
    warn("look")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "[bold]not markup[/bold] :smile: " + "long " * 60 + "\nwarning: look\n"
