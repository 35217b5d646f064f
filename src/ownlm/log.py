"""What a run says: lines for people on stderr, and one JSON line a logging step for machines."""

import functools
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ownlm.files import disk_errors, make_folder, sync_folder, write_text

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, Any]
RESUMES = "resumes.jsonl"
"""Of a run's folder: the step of each resume. A file of its own, as a resumed run's log is that of
one that never stopped."""


@functools.cache
def console() -> "Console":
    """The one writer to stderr, shared with progress bars so that lines do not tear them."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def say(text: str) -> None:
    """One message for the person at the terminal; `text` is printed as it is, without markup."""
    console().print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Something the person should know although the work goes on."""
    console().print(f"warning: {text}", markup=False, soft_wrap=True, style="yellow")


class MetricsLog:
    """`log.jsonl`: appended rows, each one write, so that only the last line can ever be torn.

    Raises DiskError when a row cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path):
            make_folder(path.parent)
            self._mend_last_line()
            begun = path.exists()
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115, closed by close()
            if not begun:
                sync_folder(path.parent)

    def write(self, row: Row) -> None:
        """Append one row; numbers that JSON lacks (NaN, infinity) become null."""
        line = json.dumps(_finite(row), ensure_ascii=False, allow_nan=False) + "\n"
        data = line.encode("utf-8")
        with disk_errors(self.path):
            while data:
                data = data[self._file.write(data) :]

    def rewind(self, step: int) -> None:
        """Drop the rows after `step`, which the resumed run will write again."""
        rows = read_rows(self.path)
        kept = [row for row in rows if row.get("step", 0) <= step]
        if len(kept) == len(rows):
            return
        self._file.close()
        write_text(self.path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept))
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115

    def sync(self) -> None:
        """Make the rows durable; done before a checkpoint that vouches for them."""
        with disk_errors(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file; nothing is buffered."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _mend_last_line(self) -> None:
        """Cut off what a crash left without its end, so that no row is glued to it."""
        if not self.path.is_file():
            return
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):
            os.truncate(self.path, data.rfind(b"\n") + 1)


def read_rows(path: Path) -> list[Row]:
    """The rows of a log, oldest first; lines that are no JSON object (a torn one) are skipped."""
    if not path.is_file():
        return []
    return _rows(path.read_bytes().split(b"\n"))


class Tail:
    """A log that another process writes: every row is read once, however often it is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        """All rows up to now, oldest first."""
        self._file, self._read = 0, 0

    def poll(self) -> bool:
        """Read what is new; whether there was anything. A log that was rewritten, as on a resume,
        is read anew; half a row waits for its end."""
        try:
            with open(self.path, "rb") as file:
                told = os.fstat(file.fileno())
                rewritten = told.st_ino != self._file or told.st_size < self._read
                if rewritten:
                    self.rows, self._file, self._read = [], told.st_ino, 0
                file.seek(self._read)
                data = file.read()
        except OSError:
            return False
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        self.rows += _rows(whole.split(b"\n"))
        return rewritten or bool(whole)


def _rows(lines: Iterable[bytes]) -> list[Row]:
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
