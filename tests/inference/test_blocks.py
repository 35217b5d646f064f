"""No block is lost, none is in two hands unless it holds the same text."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ownlm.inference.blocks import Blocks, extend_digests

SIZE = 2


def digests(ids: list[int]) -> list[bytes]:
    made: list[bytes] = []
    extend_digests(made, ids, SIZE)
    return made


class Texts(RuleBasedStateMachine):
    """Texts over two letters take, share and release blocks; `content` is what lies in each."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.tables = Blocks(7, SIZE), []
        self.content: dict[int, bytes] = {}

    @rule(ids=st.lists(st.integers(0, 1), max_size=8))
    def begin(self, ids: list[int]) -> None:
        wanted = digests(ids)
        found = self.blocks.find(wanted)
        missing = len(wanted) - len(found)
        if missing > self.blocks.free - self.blocks.idle(found):
            return
        assert [self.content[block] for block in found] == wanted[: len(found)]
        self.blocks.hold(found)
        table = found + self.blocks.take(missing)
        for block, digest in list(zip(table, wanted))[len(found) :]:
            assert self.blocks.holders(block) == 1
            self.content[block] = digest
            self.blocks.remember(block, digest)
        self.tables.append(table)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.tables) - 1))
        self.blocks.release(self.tables.pop(place))

    @rule()
    def clear(self) -> None:
        self.blocks.clear()
        assert self.blocks.known == 0

    @invariant()
    def all_are_accounted_for(self) -> None:
        held = [block for table in self.tables for block in table]
        assert self.blocks.free + len({*held}) == 7
        assert all(self.blocks.holders(block) == held.count(block) for block in range(7))


TestTexts = Texts.TestCase


def test_what_was_used_last_is_kept_longest() -> None:
    blocks, one, two = Blocks(3, SIZE), digests([1, 2]), digests([3, 4])
    for wanted in (one, two):
        table = blocks.take(1)
        blocks.remember(table[0], wanted[0])
        blocks.release(table)
    blocks.release(blocks.take(1))
    assert blocks.find(one) and blocks.find(two)  # the third one was taken
    held = blocks.find(one)
    blocks.hold(held)
    blocks.release(held)
    blocks.take(2)
    assert blocks.find(one) == held
    assert not blocks.find(two)


def test_a_digest_says_all_that_came_before() -> None:
    assert digests([1, 2, 3, 4, 5])[:1] == digests([1, 2])
    assert digests([1, 2, 3, 4])[1] != digests([9, 2, 3, 4])[1] != digests([3, 4])[0]
    assert [Blocks(1, 4).needed(n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
