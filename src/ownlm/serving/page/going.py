"""Whether a page has a text written just now, and whether that is to end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nicegui import ui


class Going:
    """What one opened page has written: one thing at a time, which can be stopped."""

    def __init__(self, show: Callable[[bool], object]) -> None:
        """`show` draws the page's button: True while it stops, False while it begins."""
        self.show = show
        self.busy = False
        self.pressed = False
        """What is being written is to end."""
        self.gone = False
        """The page was closed: nobody looks any more."""
        ui.context.client.on_delete(self.leave)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """While something is written."""
        self.busy, self.pressed = True, False
        self.show(True)
        try:
            yield
        finally:
            self.busy = False
            if not self.gone:
                self.show(False)

    def halt(self) -> None:
        """End what is being written."""
        self.pressed = True

    def leave(self) -> None:
        """The same, because the page was closed."""
        self.gone = True
