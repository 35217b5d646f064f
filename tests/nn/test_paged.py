"""Where the tokens of a step stand, what they read, and who sees whom."""

import torch

from ownlm.nn.config import PatternConfig
from ownlm.nn.mask import Mask, Span
from ownlm.nn.paged import PagedCache
from ownlm.nn.pieces import Piece, Step

CPU = torch.device("cpu")


def test_texts_that_read_alike_are_one_group_and_come_back_in_order() -> None:
    pieces = [
        Piece(7, 1, [2, 0]),
        Piece(0, 6, [1, 3]),
        Piece(2, 1, [4, 8]),
        Piece(0, 300, range(75)),
    ]
    step = Step(pieces, 4, 99, CPU)
    groups = step.own.groups
    assert [group.places.tolist() for group in groups[:2]] == [[[0], [7]], [[*range(1, 7)]]]
    assert [group.keys for group in groups] == [8, 6, 300]
    assert groups[0].table.tolist() == [[2, 0], [4, 99]]  # block 8 holds nothing yet
    assert step.slots.new[:4].tolist() == [3, 4, 5, 6]
    answers = torch.cat([group.places.flatten() for group in groups])
    assert answers[step.own.order].tolist() == [*range(308)]
    assert step.slots.unused is not None
    assert step.slots.unused.tolist() == [3 * 4 + 2, 3 * 4 + 3]


def test_a_block_that_is_gone_on_with_is_not_emptied() -> None:
    assert Step([Piece(5, 2, [2, 0])], 4, 9, CPU).slots.unused is None
    begun = Step([Piece(3, 2, [2, 0])], 4, 9, CPU).slots.unused
    assert begun is not None
    assert begun.tolist() == [1, 2, 3]


def test_each_query_sees_its_own_text_up_to_itself() -> None:
    cache = PagedCache(1, 9, 4)
    cache.begin([Piece(3, 3, [1, 2]), Piece(1, 2, [3])], CPU)
    (group,) = cache.step.own.groups
    span = Span(0, 5, cache.step.span.positions)
    seen = group.mask(Mask(span, causal=True)).tensor
    assert seen is not None
    assert seen[:, 0].sum(dim=-1).tolist() == [[4, 5, 6], [2, 3, 3]]
    near = group.mask(Mask(span, causal=True, window=2))
    assert near.built[0, 0].int().tolist() == [
        [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1],
    ]  # fmt: skip
    lo, hi = near.ranges or ()
    assert (lo[0].tolist(), hi[0].tolist()) == ([2, 3, 4], [4, 5, 6])
    pattern = PatternConfig(near=0, stride=2)
    strided = group.mask(Mask(span, causal=True, pattern=pattern))
    assert strided.built[0, 0, 0].tolist() == [False, True, False, True, False, False]
    assert strided.ranges is None
    assert group.mask(Mask(span, causal=True, window=2)) is near


def test_no_mask_where_all_is_seen() -> None:
    like = Mask(Span(0, 2, torch.zeros(1, 2)), causal=True)
    even = Step([Piece(5, 1, [0, 1]), Piece(5, 1, [2, 3])], 4, 9, CPU).own.groups[0].mask(like)
    assert even.plain
    uneven = Step([Piece(5, 1, [0, 1]), Piece(4, 1, [2, 3])], 4, 9, CPU).own.groups[0].mask(like)
    assert not uneven.plain
    assert uneven.tensor is not None


def test_texts_that_share_a_source_ask_as_one() -> None:
    pieces = [
        Piece(2, 1, [0], [5, 6], 7),
        Piece(0, 2, [1], [7], 3, hears=True),
        Piece(2, 1, [2], [5, 6], 7),
    ]
    step = Step(pieces, 4, 9, CPU)
    assert step.source_slots is not None and step.sources is not None
    assert step.source_slots.new.tolist() == [28, 29, 30]
    assert step.source_slots.unused is not None and step.source_slots.unused.tolist() == [31]
    (group,) = step.sources.groups
    assert (group.places.tolist(), group.table.tolist()) == ([[0, 3], [1, 2]], [[5, 6], [7, 9]])
    seen = group.mask(Mask(step.span, causal=True)).tensor
    assert seen is not None
    assert seen[:, 0].sum(dim=-1).tolist() == [[7, 7], [3, 3]]
    assert group.places.flatten()[step.sources.order].tolist() == [0, 1, 2, 3]
    assert Step([Piece(0, 2, [1])], 4, 9, CPU).sources is None


def test_distances_bias_each_text_by_its_own_places() -> None:
    def relative(distance: torch.Tensor) -> torch.Tensor:
        return distance[:, None].float()

    step = Step([Piece(3, 2, [1, 2]), Piece(0, 2, [3])], 4, 9, CPU, relative)
    (group,) = step.own.groups
    mask = group.mask(Mask(step.span, causal=True))
    no = -torch.inf
    assert mask.tensor is not None
    assert mask.tensor[0, 0].tolist() == [[-3, -2, -1, 0, no], [-4, -3, -2, -1, 0]]
    assert mask.tensor[1, 0].tolist() == [[0, no, no, no, no], [-1, 0, no, no, no]]
    assert mask.ranges is None
    assert not Step([Piece(0, 1, [1])], 4, 9, CPU, relative).own.groups[0].mask(mask).plain
