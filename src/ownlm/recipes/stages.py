"""Progress of reading, tokenizer training and tokenising: a bar on a terminal, else a line each."""

import contextlib
from collections.abc import Callable, Iterator

from ownlm.data.progress import Progress
from ownlm.files import readable
from ownlm.log import console, say

Tell = Callable[[Progress], None]


@contextlib.contextmanager
def shown_stages() -> Iterator[Tell]:
    """A callback for `data.prepare`; what it shows is on stderr."""
    if console().is_terminal:
        with _bars() as tell:
            yield tell
    else:
        yield _lines()


def _lines() -> Tell:
    said: set[str] = set()

    def tell(progress: Progress) -> None:
        if progress.done >= progress.total and progress.stage not in said:
            said.add(progress.stage)
            say(f"{progress.stage}: {readable(progress.total)} in {progress.seconds:.1f} s")

    return tell


@contextlib.contextmanager
def _bars() -> Iterator[Tell]:
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich.Progress(*columns, console=console()) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def tell(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total)
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total)

        yield tell
