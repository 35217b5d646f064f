"""Checkpoints written beside the training, once writing one has taken long.

What is to be kept is copied into memory of its own (a fraction of a second), and a thread writes
the copy, syncs it and reads it back while the next updates go on. One is under way at most: the
next save, an evaluation and the end wait for it. So a crash costs what it always did, the updates
since the last save, and at worst those of the interval before while a save was still being
written.
"""

import copy
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import NamedTuple, Self

from torch import Tensor, nn

from ownlm import runtime
from ownlm.training import checkpoint

SLOW = 1.0
"""Seconds that a save may hold up the training before the next ones are made beside it."""
SHARE = 0.5
"""Of the memory that is free: what the copy may take."""


class Snapshot(NamedTuple):
    """What a checkpoint is made of, at one moment."""

    model: nn.Module
    tensors: dict[str, Tensor]

    @property
    def nbytes(self) -> int:
        """Of all its tensors."""
        return sum(t.nbytes for t in (*self.model.parameters(), *self.tensors.values()))


class Saver:
    """Publishes checkpoints, one at a time; as a context it waits for the last one."""

    def __init__(self, save_model: Callable[[nn.Module, Path], None]) -> None:
        """`save_model` writes a model folder's files."""
        self.save_model = save_model
        self.seconds = 0.0
        """What the last one took."""
        self._copy: Snapshot | None = None
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._thread is not None:
            self._thread.join()
        if kind is None:
            self.finish()

    def save(
        self, live: Snapshot, folder: Path, state: checkpoint.State, then: Callable[[], None]
    ) -> None:
        """Publish a checkpoint of this moment; `then` follows once it was read back whole.

        Raises what `finish` raises, and, where it is not made beside the training, what
        `checkpoint.write` raises.
        """
        self.finish()
        if self.seconds < SLOW or not self._has_room(live):
            self._publish(live, folder, state, then)
            return
        try:
            taken = self._take(live)
        except (RuntimeError, MemoryError):  # what looked free was not: no reason to stop
            self._copy = None
            self._publish(live, folder, state, then)
            return
        self._thread = Thread(target=self._beside, args=(taken, folder, state, then))
        self._thread.start()

    def finish(self) -> None:
        """Wait for the one under way; raises what stopped it (DiskError, CheckpointError)."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _publish(
        self, what: Snapshot, folder: Path, state: checkpoint.State, then: Callable[[], None]
    ) -> None:
        begun = time.perf_counter()
        training = what.model.training
        checkpoint.write(folder, state, what.tensors, lambda f: self.save_model(what.model, f))
        what.model.train(training)  # a saver that puts it to rest must not end dropout
        then()
        self.seconds = time.perf_counter() - begun

    def _beside(
        self, what: Snapshot, folder: Path, state: checkpoint.State, then: Callable[[], None]
    ) -> None:
        try:
            self._publish(what, folder, state, then)
        except BaseException as error:  # noqa: BLE001 (raised again by `finish`)
            self._error = error

    def _has_room(self, live: Snapshot) -> bool:
        return self._copy is not None or live.nbytes < SHARE * runtime.free_memory()

    def _take(self, live: Snapshot) -> Snapshot:
        """A copy on the host; its memory is used again by the next one."""
        if self._copy is None:
            tensors = {name: tensor.cpu().clone() for name, tensor in live.tensors.items()}
            self._copy = Snapshot(copy.deepcopy(live.model).cpu(), tensors)
            return self._copy
        pairs = [(self._copy.tensors[name], tensor) for name, tensor in live.tensors.items()]
        pairs += zip(self._copy.model.parameters(), live.model.parameters(), strict=True)
        pairs += zip(self._copy.model.buffers(), live.model.buffers(), strict=True)
        for mine, theirs in pairs:
            mine.data.copy_(theirs.data)
        return self._copy
