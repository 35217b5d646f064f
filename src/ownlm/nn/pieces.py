"""Where the tokens of a step stand, what they read and where that lies.

The tokens of all texts stand in one row, so that every product of the model is made once for
all of them. Attention alone parts them: texts that have about as much to read form a group,
padded to the longest.

    one row        a0 a1 a2 a3 b7 c5            three texts, of which b and c write
    group 1        a0 a1 a2 a3                  its keys: a0 to a3
    group 2        b7                           b0 to b7
                   c5                           c0 to c5, padded with two that nobody sees

What an encoder has read is grouped alike, a row for each source: texts that read the same one
(beams) are queries of one row.

Shapes: N tokens of all texts, R rows of a group, T queries, S keys, H query heads, C blocks of a
table.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.nn.mask import Mask, Span
from ownlm.nn.pattern import reached

NARROW = 64
"""Keys up to which texts are read together whatever they have."""
Relative = Callable[[Tensor], Tensor]
"""Key place minus query place, (R, T, S), to what is added to scores, (R, H, T, S)."""


class Piece(NamedTuple):
    """The next tokens of one text."""

    start: int
    """Position of the first one."""
    length: int
    blocks: Sequence[int]
    """Position p lies in block `blocks[p // size]`."""
    source: Sequence[int] = ()
    """Blocks of what its encoder has read."""
    heard: int = 0
    """Tokens of that."""
    hears: bool = False
    """Whether its source is new: its keys and values come with this step."""

    @property
    def end(self) -> int:
        """Position after the last one."""
        return self.start + self.length


class Row(NamedTuple):
    """Queries that read the same keys."""

    places: Sequence[int]
    """Where each query stands in the one row of tokens."""
    sees: Sequence[int]
    """The last key that each of them sees."""
    blocks: Sequence[int]
    """Where the keys lie."""
    keys: int
    """How many there are."""


@dataclass(frozen=True)
class Group:
    """Rows whose queries are put to their keys at once; padded queries repeat the last one."""

    places: Tensor
    """(R, T): where each query stands in the one row of tokens."""
    positions: Tensor
    """(R, T): the last key that each query sees; among its own text's, itself."""
    table: Tensor
    """(R, C): blocks of the keys; behind a text's own the empty one."""
    keys: int
    """S."""
    alike: bool = False
    """Whether every query sees every key: one token a text, all equally long."""
    name: object = None
    """Equal for groups that read the same places of storage."""
    relative: Relative | None = None
    masks: dict[object, Mask] = field(default_factory=dict)

    def mask(self, like: Mask) -> Mask:
        """Who sees whom in a kind of layer; made once for all layers of that kind."""
        sight = like.window, like.pattern
        if sight not in self.masks:
            self.masks[sight] = GroupMask(like, self)
        return self.masks[sight]


class GroupMask(Mask):
    """Each query sees its own text up to itself, as far as its layer reaches."""

    def __init__(self, like: Mask, group: Group) -> None:
        super().__init__(like.span, causal=True, window=like.window, pattern=like.pattern)
        self.positions_RT, self.keys, self.relative = group.positions, group.keys, group.relative
        near = 0 < self.window < self.keys
        self._all = group.alike and not (self.pattern or near or self.relative)

    @property
    def triangle(self) -> bool:
        """Queries do not stand at the first keys."""
        return False

    @property
    def plain(self) -> bool:
        """Every query sees every key."""
        return self._all

    def _build_tensor(self) -> Tensor:
        keys = torch.arange(self.keys, device=self.positions_RT.device)
        distance = self.positions_RT[..., None] - keys
        seen = distance >= 0
        if self.window:
            seen = seen & (distance < self.window)
        if self.pattern is not None:
            seen = seen & reached(self.pattern, self.positions_RT, keys, self.positions_RT)
        if self.relative is not None:
            return self.relative(-distance).masked_fill(~seen[:, None], -torch.inf)
        return seen[:, None]

    def _build_ranges(self) -> tuple[Tensor, Tensor] | None:
        if self.relative is not None:
            return None  # kernels that take ranges have one bias for all rows
        hi = self.positions_RT + 1
        lo = (hi - self.window).clamp(min=0) if self.window else torch.zeros_like(hi)
        return lo.int(), hi.int()


class Sight(NamedTuple):
    """What the tokens of a step read: of their own texts, or of their sources."""

    groups: Sequence[Group]
    order: Tensor
    """(N,): where each token's answer stands in those of all groups."""


class Slots(NamedTuple):
    """Where new keys and values go."""

    new: Tensor
    """(N,): places in storage."""
    unused: Tensor | None
    """Places of blocks just begun that hold what another text left there."""


class Step:
    """Where the tokens of one forward stand, where they are kept, what they read."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        size: int,
        empty: int,
        device: torch.device,
        relative: Relative | None = None,
    ) -> None:
        """`size` tokens lie in a block; block `empty` is kept empty. `relative` biases what
        tokens read of their own texts."""
        self.size, self.empty, self.device = size, empty, device
        positions = [p for piece in pieces for p in range(piece.start, piece.end)]
        self.span = Span(0, len(positions), self._tensor([positions]))
        self.slots = self._slots([(piece.blocks, piece.start, piece.end) for piece in pieces])
        new = [(piece.source, 0, piece.heard) for piece in pieces if piece.hears]
        self.source_slots = self._slots(new) if new else None
        self.own = self._sight(_own_rows(pieces, size), relative)
        """What tokens read of their own texts."""
        self.sources = self._sight(_source_rows(pieces)) if pieces[0].heard else None
        """What they read of sources; None for decoders."""

    def _slots(self, stored: Sequence[tuple[Sequence[int], int, int]]) -> Slots:
        """Of positions from one to before another of each text, by its blocks."""
        new = [self._slot(blocks, p) for blocks, start, end in stored for p in range(start, end)]
        unused = [self._slot(one[0], p) for one in stored for p in self._unused(*one[1:])]
        return Slots(self._tensor(new), self._tensor(unused) if unused else None)

    def _slot(self, blocks: Sequence[int], position: int) -> int:
        return blocks[position // self.size] * self.size + position % self.size

    def _unused(self, start: int, end: int) -> Iterator[int]:
        """Positions behind the new ones in a block that they are the first to write to."""
        begin = end // self.size * self.size
        if start <= begin < end:
            yield from range(end, begin + self.size)

    def _sight(self, rows: Sequence[Row], relative: Relative | None = None) -> Sight:
        groups, order, before = [], [0] * self.span.length, 0
        for _, found in groupby(sorted(rows, key=_kind), key=_kind):
            members = [*found]
            group = self._group(members, relative)
            for number, row in enumerate(members):
                begin = before + number * group.places.shape[1]
                for answer, place in enumerate(row.places, start=begin):
                    order[place] = answer
            groups.append(group)
            before += group.places.numel()
        return Sight(groups, self._tensor(order))

    def _group(self, rows: Sequence[Row], relative: Relative | None) -> Group:
        most, keys = max(len(row.places) for row in rows), max(row.keys for row in rows)
        columns = -(-keys // self.size)
        padded = [[min(t, len(row.places) - 1) for t in range(most)] for row in rows]
        tables = [[*row.blocks, *[self.empty] * (columns - len(row.blocks))] for row in rows]
        return Group(
            places=self._tensor([[row.places[t] for t in ts] for row, ts in zip(rows, padded)]),
            positions=self._tensor([[row.sees[t] for t in ts] for row, ts in zip(rows, padded)]),
            table=self._tensor(tables),
            keys=keys,
            alike=all(seen == keys - 1 for row in rows for seen in row.sees),
            name=(keys, *map(tuple, tables)),
            relative=relative,
        )

    def _tensor(self, numbers: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(numbers, device=self.device)


def _kind(row: Row) -> tuple[int, int]:
    """Rows of a kind are read together; at most four times as many keys as they have."""
    return len(row.places).bit_length(), max(NARROW, row.keys).bit_length() // 2


def _own_rows(pieces: Sequence[Piece], size: int) -> list[Row]:
    rows, first = [], 0
    for piece in pieces:
        places, sees = range(first, first + piece.length), range(piece.start, piece.end)
        begun = piece.blocks[: -(-piece.end // size)]
        rows.append(Row(places, sees, begun, piece.end))
        first += piece.length
    return rows


def _source_rows(pieces: Sequence[Piece]) -> list[Row]:
    """A row a source, whose texts may be several."""
    asking: dict[tuple[int, ...], list[int]] = {}
    heard, first = {}, 0
    for piece in pieces:
        source = tuple(piece.source)
        heard[source] = piece.heard
        asking.setdefault(source, []).extend(range(first, first + piece.length))
        first += piece.length
    return [
        Row(places, [heard[source] - 1] * len(places), source, heard[source])
        for source, places in asking.items()
    ]
