"""What watches a training and may say something, but can never stop it."""

import statistics
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ownlm.log import Row, warn


class SpikeWatch:
    """Tells when a loss jumps out of what the last updates looked like.

    A spike is half as high again as any of the last 32 losses, and half a nat above their median;
    and it is further above it than eight times their usual distance from it. So neither
    a noisy loss raises an alarm nor one near zero, nor one that is high now and then, as of a
    classifier that is sure of most texts.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=32)

    def jumped(self, loss: float) -> bool:
        """Take note of a loss; True when it is a spike."""
        spike = False
        if len(self._last) >= 8:
            middle = statistics.median(self._last)
            usual = statistics.median(abs(x - middle) for x in self._last)
            apart = max(0.5, 8 * usual)
            spike = loss > 1.5 * max(self._last) and loss - middle > apart
        self._last.append(loss)
        return spike


class Board:
    """Scalars for TensorBoard, where the package is installed; a failure there ends only them."""

    def __init__(self, folder: Path, step: int) -> None:
        """`step` is where the run goes on: what an earlier process wrote after it is hidden."""
        self.folder, self.step = folder, step
        self._works = True
        self._writer: Any = None

    def write(self, row: Row) -> None:
        """The numbers of a row of log.jsonl, as scalars of its step."""
        self._try(lambda: self._write(row))

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._try(self._writer.close)

    def _write(self, row: Row) -> None:
        if self._writer is None:  # at the first row: a run that is finished leaves no file
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self.step + 1)
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(name, value, row["step"])

    def _try(self, action: Callable[[], None]) -> None:
        if not self._works:
            return
        try:
            action()
        except ImportError:
            self._works = False
        except Exception as error:  # noqa: BLE001, a picture of the run is not the run
            self._works = False
            warn(f"TensorBoard files are no longer written: {error}")
