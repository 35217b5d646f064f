"""Beams share blocks until they write to them."""

from hypothesis import given
from hypothesis import strategies as st

from ownlm.inference.blocks import Blocks
from ownlm.inference.branches import Branches

SIZE = 4


def test_the_last_holder_writes_where_it_is() -> None:
    blocks = Blocks(9, SIZE)
    branches = Branches(blocks, blocks.take(2), 3)
    branches.settle([(1, 0), (2, 0)], {0: 5, 1: 6, 2: 7})
    assert branches.tables == [[0, 1]] * 3
    assert branches.grow(6) == [(1, 2), (1, 3)]
    assert branches.tables == [[0, 2], [0, 3], [0, 1]]
    assert [blocks.holders(n) for n in range(4)] == [3, 1, 1, 1]
    branches.settle([], {2: 8})
    assert (branches.tables, branches.next) == ([[], [], [0, 1]], {2: 8})
    assert branches.grow(8) == []
    assert len(branches.tables[2]) == 3
    branches.release()
    assert blocks.free == 9


def test_nothing_is_taken_where_there_is_too_little() -> None:
    blocks = Blocks(3, SIZE)
    branches = Branches(blocks, blocks.take(1), 4)
    branches.settle([(1, 0), (2, 0), (3, 0)], dict.fromkeys(range(4), 1))
    assert branches.grow(2) is None
    assert blocks.free == 2
    branches.settle([], dict.fromkeys(range(3), 1))
    assert branches.grow(2) == [(0, 1), (0, 2)]
    assert branches.grow(4) is None


@given(st.data(), st.integers(1, 5), st.integers(1, 11))
def test_each_beam_reads_its_own_past(data: st.DataObject, count: int, prompt: int) -> None:
    """Whoever takes over whose past: storage holds what each place has said."""
    blocks = Blocks(40, SIZE)
    branches = Branches(blocks, blocks.take(blocks.needed(prompt)), count)
    storage = {(branches.tables[0][p // SIZE], p % SIZE): p for p in range(prompt)}
    texts, token = {0: [*range(prompt)]}, 1000
    branches.settle([], {0: 0})
    for position in range(prompt, prompt + 9):
        copies = branches.grow(position)
        assert copies is not None
        for source, target in copies:
            storage |= {(target, p): storage[source, p] for p in range(SIZE)
                        if (source, p) in storage}  # fmt: skip
        for place in texts:
            token += 1
            texts[place].append(token)
            storage[branches.tables[place][position // SIZE], position % SIZE] = token
        for place, said in texts.items():
            table = branches.tables[place]
            assert said == [storage[table[p // SIZE], p % SIZE] for p in range(len(said))]
        stay = data.draw(st.sets(st.sampled_from(sorted(texts)), min_size=1))
        dead = data.draw(st.sets(st.sampled_from(range(count)))) - stay
        moves = [(to, data.draw(st.sampled_from(sorted(stay)))) for to in sorted(dead)]
        texts = {place: texts[place] for place in stay} | {to: [*texts[n]] for to, n in moves}
        branches.settle(moves, dict.fromkeys(texts, 0))
    branches.release()
    assert blocks.free == blocks.count
