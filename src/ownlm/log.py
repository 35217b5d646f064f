"""What a run says: lines for people on stderr, and one JSON line a logging step for machines."""

import functools
import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ownlm.files import disk_errors, make_folder, sync_folder, write_text

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, Any]


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
    rows = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
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
