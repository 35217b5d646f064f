"""A text on its way, and what is read of it in a step. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ownlm.inference.branches import Branches
from ownlm.inference.request import Request


class Work(NamedTuple):
    """Tokens of one text to be read in one step."""

    ids: Sequence[int]
    start: int
    """Position of the first of them; what comes before was read."""
    blocks: Sequence[int]
    """Where keys and values lie: those of position p in block `blocks[p // size]`."""
    every: bool = False
    """Whether logits are wanted after each of the ids, or only after the last."""
    source: Sequence[int] = ()
    """What an encoder-decoder reads."""
    source_blocks: Sequence[int] = ()
    """Where keys and values of that lie."""
    hears: bool = False
    """Whether they are still to be made."""


@dataclass(eq=False)
class Job:
    """A text on its way."""

    id: int
    request: Request
    ids: list[int]
    """The prompt and what was written."""
    limit: int
    """How many ids there may be; the last of them is not read."""
    read: int = 0
    """How many ids have keys and values."""
    blocks: list[int] = field(default_factory=list)
    source_blocks: list[int] = field(default_factory=list)
    """Of what an encoder-decoder reads, from beginning to end."""
    digests: list[bytes] = field(default_factory=list)
    """Of the blocks that `ids` fill."""
    branches: Branches | None = None
    """The beginnings that go on side by side behind its prompt, and their blocks."""
    copies: list[tuple[int, int]] = field(default_factory=list)
    """Blocks to be copied before the step that is under way."""
    draft: list[int] = field(default_factory=list)
    """Ids that are guessed to follow, in the step that is under way."""
    cached: int | None = None
    """Tokens found in blocks when it began; None before."""

    @property
    def prompted(self) -> int:
        """Length of the prompt."""
        return len(self.request.prompt)

    @property
    def width(self) -> int:
        """Beginnings that may go on side by side."""
        return self.request.beams

    @property
    def writing(self) -> bool:
        """Whether all but the last id was read, of each beginning if there are several."""
        return self.branches is not None or self.read == len(self.ids) - 1
