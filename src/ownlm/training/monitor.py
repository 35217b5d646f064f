"""What watches a training and may say something, but can never stop it."""

import statistics
from collections import deque
from pathlib import Path
from typing import Any

from ownlm.log import Row, warn


class SpikeWatch:
    """Tells when a loss jumps out of what the last updates looked like.

    A spike is half as high again as the median of the last 32 losses and further above it than
    eight times their usual distance from it; so a noisy loss near zero raises no alarm.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=32)

    def jumped(self, loss: float) -> bool:
        """Take note of a loss; True when it is a spike."""
        spike = False
        if len(self._last) >= 8:
            middle = statistics.median(self._last)
            usual = statistics.median(abs(x - middle) for x in self._last)
            spike = loss > 1.5 * middle and loss - middle > 8 * usual
        self._last.append(loss)
        return spike


class Board:
    """Scalars for TensorBoard, where the package is installed; a failure there ends only them."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._try(lambda: self._open(SummaryWriter, folder, step))

    def write(self, row: Row) -> None:
        """The numbers of a row of log.jsonl, as scalars of its step."""
        numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k != "step"}
        for name, value in numbers.items():
            if self._writer is not None:
                self._try(lambda n=name, v=value: self._writer.add_scalar(n, v, row["step"]))

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._try(self._writer.close)

    def _open(self, writer: Any, folder: Path, step: int) -> None:
        # Rows after the step we go on from will be written again.
        self._writer = writer(str(folder), purge_step=step + 1 if step else None)

    def _try(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001, a picture of the run is not the run
            self._writer = None
            warn(f"TensorBoard files are no longer written: {error}")
