"""Blocks of storage: who holds which, and which hold a text that may come again. No torch here.

The keys and values of a text lie in blocks of `size` tokens each, in the order of its table.
A full block is known by a digest of all ids up to its end; texts that begin alike then hold
the same blocks:

    ids      a b c d | e f g h | i j        size 4
    digests  D(abcd)   D(abcdefgh)
    table    7         2         5          block 5 is not full: it is this text's own

A block that nobody holds keeps what it has until its storage is needed, the longest unused first.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b


class Blocks:
    """Numbers 0 to count - 1, each free or held by one or several texts."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._holders = [0] * count
        self._digests: list[bytes | None] = [None] * count
        self._known: dict[bytes, int] = {}
        # In the order in which they are taken: those that hold nothing, then the longest unused.
        self._free = OrderedDict[int, None].fromkeys(range(count))

    @property
    def free(self) -> int:
        """How many can be taken."""
        return len(self._free)

    @property
    def known(self) -> int:
        """How many hold a text that would be found again."""
        return len(self._known)

    def holders(self, block: int) -> int:
        """How many texts hold a block."""
        return self._holders[block]

    def needed(self, tokens: int) -> int:
        """Blocks for so many tokens."""
        return -(-tokens // self.size)

    def find(self, digests: Iterable[bytes]) -> list[int]:
        """The blocks of the longest beginning that is known."""
        found = []
        for digest in digests:
            block = self._known.get(digest)
            if block is None:
                break
            found.append(block)
        return found

    def idle(self, blocks: Iterable[int]) -> int:
        """How many of these nobody holds: to hold them makes so many less free."""
        return sum(not self._holders[block] for block in blocks)

    def hold(self, blocks: Iterable[int]) -> None:
        """One more text holds these."""
        for block in blocks:
            self._free.pop(block, None)
            self._holders[block] += 1

    def take(self, count: int) -> list[int]:
        """Blocks for one text alone, as many as are free at most; what they held is forgotten."""
        assert count <= self.free, "callers ask `free`"
        taken = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in taken:
            self._holders[block] = 1
            self._forget(block)
        return taken

    def release(self, table: Sequence[int]) -> None:
        """A text holds its blocks no longer; the last of them will be taken first."""
        for block in reversed(table):
            self._holders[block] -= 1
            assert self._holders[block] >= 0, "a block is released by those who hold it"
            if not self._holders[block]:
                self._free[block] = None
                if self._digests[block] is None:
                    self._free.move_to_end(block, last=False)

    def remember(self, block: int, digest: bytes) -> None:
        """Say what a full block holds. Where another holds the same it stays unknown."""
        if digest not in self._known:
            self._forget(block)
            self._known[digest] = block
            self._digests[block] = digest

    def clear(self) -> None:
        """Forget what all blocks hold."""
        for block in range(self.count):
            self._forget(block)

    def _forget(self, block: int) -> None:
        digest = self._digests[block]
        if digest is not None:
            del self._known[digest]
            self._digests[block] = None


def extend_digests(digests: list[bytes], ids: Sequence[int], size: int) -> None:
    """Add the digests of the blocks that `ids` fill and that have none yet."""
    for end in range((len(digests) + 1) * size, len(ids) + 1, size):
        before = digests[-1] if digests else b""
        content = array("q", ids[end - size : end]).tobytes()
        digests.append(blake2b(before + content, digest_size=16).digest())
