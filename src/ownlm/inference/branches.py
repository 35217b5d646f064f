"""The blocks of the beginnings of one text that go on side by side: beams. No torch here.

What beginnings have in common lies in the same blocks. One that writes to a block which others
hold too gets a copy of it first:

    beam 0   a b c d | e f          blocks 7 2
    beam 1   a b c d | e f          blocks 7 2: it takes over the past of beam 0
    beam 0   a b c d | e f g        blocks 7 5: block 2 is copied to block 5
    beam 1   a b c d | e f h        blocks 7 2: its own by now
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from ownlm.inference.blocks import Blocks


class Branches:
    """A table of blocks for each place of a search; an empty one where nothing goes on."""

    def __init__(self, blocks: Blocks, table: list[int], count: int) -> None:
        """The first place has the blocks of the prompt, which are now held by it."""
        self.blocks = blocks
        self.tables: list[list[int]] = [table, *([] for _ in range(count - 1))]
        self.next: dict[int, int] = {}
        """The token that each place reads next."""

    def settle(self, moves: Sequence[tuple[int, int]], following: dict[int, int]) -> None:
        """After a step: the first place of each pair takes over the past of the second (none is in
        both), and those go on that have a token to read next."""
        for to, place in moves:
            self.blocks.hold(self.tables[place])
            self._give_up([to])
            self.tables[to] = [*self.tables[place]]
        self._give_up(place for place in range(len(self.tables)) if place not in following)
        self.next = following

    def grow(self, position: int) -> list[tuple[int, int]] | None:
        """Let each place have a block of its own at `position`. The pairs of blocks of which the
        second must become a copy of the first; None where there are too few blocks."""
        at = position // self.blocks.size
        tables = [self.tables[place] for place in self.next]
        if self._missing(tables, at) > self.blocks.free:
            return None
        copies = []
        for table in tables:
            if len(table) == at:
                table += self.blocks.take(1)
            elif self.blocks.holders(table[at]) > 1:
                (own,) = self.blocks.take(1)
                copies.append((table[at], own))
                self.blocks.release([table[at]])
                table[at] = own
        return copies

    def release(self) -> None:
        """Give all blocks back."""
        self._give_up(range(len(self.tables)))

    def _missing(self, tables: Sequence[Sequence[int]], at: int) -> int:
        """Blocks to be taken: the last one that holds a block writes to it."""
        asked = Counter(table[at] for table in tables if len(table) > at)
        shared = sum(min(self.blocks.holders(b) - 1, count) for b, count in asked.items())
        return shared + sum(len(table) == at for table in tables)

    def _give_up(self, places: Iterable[int]) -> None:
        for place in places:
            self.blocks.release(self.tables[place])
            self.tables[place] = []
