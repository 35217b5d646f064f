"""Looking into a forward pass: hooks that see one thread's passes only, and are gone afterwards.

A served model works for others at the same time, in another thread: their passes are not seen.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

Hook = Callable[..., None]


@contextmanager
def watched(before: dict[nn.Module, Hook], after: dict[nn.Module, Hook]) -> Iterator[None]:
    """`before` get a module's arguments, `after` these and its result."""
    mine = threading.get_ident()

    def only_mine(hook: Hook) -> Callable[..., None]:
        def called(module: nn.Module, *seen: Any) -> None:
            if threading.get_ident() == mine:
                hook(module, *seen)

        return called

    with ExitStack() as stack:
        handles = [m.register_forward_pre_hook(only_mine(hook)) for m, hook in before.items()]
        handles += [m.register_forward_hook(only_mine(hook)) for m, hook in after.items()]
        for handle in handles:
            stack.callback(handle.remove)
        yield
