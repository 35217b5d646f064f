"""The folder of a run: locked, swept of what a crash left, and the checkpoint to go on from.

recipe.yaml  log.jsonl  checkpoints/step-00001000/  model/  samples.md  report.html
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ownlm import files
from ownlm.errors import CheckpointError, ConfigError
from ownlm.log import say, warn
from ownlm.training import checkpoint
from ownlm.training.changes import check_changes, check_identity
from ownlm.training.checkpoint import State
from ownlm.training.config import Choices
from ownlm.training.lock import RunLock

Resume = Literal["no", "yes", "auto"]

BEGUN = ("data", "recipe.yaml", "log.jsonl", "checkpoints")
"""What a run leaves in its folder, in this order; one of them says that it began."""


class RunFolder:
    """Where things are in a run, and where it goes on. Made by `open_run`, which holds the lock."""

    def __init__(self, path: Path, start: State | None) -> None:
        self.path = path
        self.start = start
        """The newest good checkpoint's state; None: the run begins."""
        self.values: dict[str, Any] = start.run if start else {}

    @property
    def log_path(self) -> Path:
        """Rows of the run, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def model_path(self) -> Path:
        """The finished model folder: the checkpoint that was best in validation, else the last."""
        return self.path / "model"

    @property
    def choices(self) -> Choices | None:
        """What `auto` became when the run began; None in a run that begins."""
        return self.start.choices if self.start else None

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint of a step."""
        return self.checkpoints / checkpoint.name_of(step)

    def agree(self, values: dict[str, Any], *, allow_change: bool = False) -> None:
        """Hold the complete configuration against the one the run began with.

        ConfigError when something may not change; the differences are printed.
        """
        if self.start:
            check_changes(self.start.run, values, allow=allow_change)
        self.values = values

    def agree_on(self, identity: dict[str, str]) -> None:
        """Hold the digests of data and tokenizer against the run's; DataError when they differ."""
        if self.start:
            check_identity(self.start.identity, identity)


@contextlib.contextmanager
def open_run(path: Path, *, resume: Resume = "no") -> Iterator[RunFolder]:
    """Take the folder of a run, for as long as the context lasts.

    resume: "no" begins, and refuses a folder that holds checkpoints; "yes" goes on from the
    newest checkpoint, or from step 0 where a run died before its first one, and refuses a
    folder without a run; "auto" goes on from the newest one that is whole, and begins where
    there is none. Raises DiskError (not writable), LockedError, ConfigError, CheckpointError.
    """
    folder = path / "checkpoints"
    if resume == "yes" and not any((path / name).exists() for name in BEGUN):
        raise ConfigError(  # before a folder is made that would look like a run
            "holds no run to go on with",
            where=str(path),
            next_command="--resume auto, which begins where there is none, or another --out",
        )
    files.require_writable(path)
    with RunLock(path):
        files.sweep_folder(folder)
        files.recover_folder(path / "model")
        yield RunFolder(path, _start(folder, resume))


def _start(folder: Path, resume: Resume) -> State | None:
    found = checkpoint.checkpoints(folder)
    if resume == "no" and found:
        raise ConfigError(
            f"holds a run already, at step {checkpoint.step_of(found[-1])}",
            where=str(folder.parent),
            next_command="--resume to go on with it, or another place with --out",
        )
    if not found:
        if resume == "yes":
            say(f"{folder.parent}: no checkpoint yet, beginning at step 0")
        return None
    return _newest_whole(found) if resume == "auto" else _whole(found[-1])


def _whole(folder: Path) -> State:
    checkpoint.require_whole(folder)
    return checkpoint.read_state(folder)


def _newest_whole(found: list[Path]) -> State:
    """The newest checkpoint that is whole; newer, damaged ones are put aside, not deleted."""
    damage: dict[Path, str] = {}
    for folder in reversed(found):
        try:
            state = _whole(folder)
        except CheckpointError as error:
            damage[folder] = error.what
            continue
        for damaged, what in damage.items():
            warn(f"{what}\n  put aside; going on from {folder.name}")
            _put_aside(damaged)
        return state
    raise CheckpointError(
        "no checkpoint is whole: " + "; ".join(damage.values()),
        where=str(found[0].parent),
        kept="every file, as it is",
        next_command="start another run with --out",
    )


def _put_aside(folder: Path) -> None:
    aside = folder.with_name(f"damaged-{folder.name}")
    if aside.exists():
        files.remove_folder(aside)
    with files.disk_errors(folder):
        folder.rename(aside)
