"""Keys and values in blocks, for texts of unlike length in one forward.

The tokens of all texts stand in one row, so that every product of the model is made once for
all of them. Attention alone parts them: texts that have about as much to read form a group,
padded to the longest.

    one row        a0 a1 a2 a3 b7 c5            three texts, of which b and c write
    group 1        a0 a1 a2 a3                  its keys: a0 to a3
    group 2        b7                           b0 to b7
                   c5                           c0 to c5, padded with two that nobody sees

Storage is that of vLLM (Kwon et al. 2023, arXiv:2309.06180): blocks of some tokens, and a table
of blocks for each text. Shapes: N tokens of all texts, R texts of a group, T queries, S keys,
H query heads, G key/value heads, K head width, C blocks of a table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.nn.cache import Cache, Kernel, LayerCache
from ownlm.nn.mask import Mask, Span
from ownlm.nn.pattern import reached

NARROW = 64
"""Keys up to which texts are read together whatever they have."""


class Piece(NamedTuple):
    """The next tokens of one text."""

    start: int
    """Position of the first one."""
    length: int
    blocks: Sequence[int]
    """Position p lies in block `blocks[p // size]`."""

    @property
    def end(self) -> int:
        """Position after the last one."""
        return self.start + self.length


@dataclass(frozen=True)
class Group:
    """Texts whose queries are put to their keys at once; padded queries repeat the last one."""

    places: Tensor
    """(R, T): where each query stands in the one row."""
    positions: Tensor
    """(R, T): of the queries in their texts."""
    table: Tensor
    """(R, C): blocks of the keys; behind a text's own the empty one."""
    keys: int
    """S."""
    masks: dict[object, Mask] = field(default_factory=dict)

    def mask(self, like: Mask) -> Mask:
        """Who sees whom in a kind of layer; made once for all layers of that kind."""
        sight = like.window, like.pattern
        if sight not in self.masks:
            self.masks[sight] = GroupMask(like, self.positions, self.keys)
        return self.masks[sight]


class GroupMask(Mask):
    """Each query sees its own text up to itself, as far as its layer reaches."""

    def __init__(self, like: Mask, positions_RT: Tensor, keys: int) -> None:
        super().__init__(like.span, causal=True, window=like.window, pattern=like.pattern)
        self.positions_RT, self.keys = positions_RT, keys
        self._all = bool((positions_RT == keys - 1).all()) and not (
            self.pattern or 0 < self.window < keys
        )

    @property
    def triangle(self) -> bool:
        """Queries do not stand at the first keys."""
        return False

    @property
    def plain(self) -> bool:
        """Every query sees every key: one token a text, all equally long."""
        return self._all

    def _build_tensor(self) -> Tensor:
        keys = torch.arange(self.keys, device=self.positions_RT.device)
        distance = self.positions_RT[..., None] - keys
        seen = distance >= 0
        if self.window:
            seen = seen & (distance < self.window)
        if self.pattern is not None:
            seen = seen & reached(self.pattern, self.positions_RT, keys, self.positions_RT)
        return seen[:, None]

    def _build_ranges(self) -> tuple[Tensor, Tensor]:
        hi = self.positions_RT + 1
        lo = (hi - self.window).clamp(min=0) if self.window else torch.zeros_like(hi)
        return lo.int(), hi.int()


class Step:
    """Where the tokens of one forward stand, where they are kept, what they read."""

    def __init__(
        self, pieces: Sequence[Piece], size: int, empty: int, device: torch.device
    ) -> None:
        """`size` tokens lie in a block; block `empty` is kept empty."""
        self.pieces, self.size, self.empty, self.device = pieces, size, empty, device
        positions = [p for piece in pieces for p in range(piece.start, piece.end)]
        self.positions = self._tensor([positions])
        slots = [self._slot(piece, p) for piece in pieces for p in range(piece.start, piece.end)]
        self.slots = self._tensor(slots)
        """(N,): places in storage."""
        unused = [self._slot(piece, p) for piece in pieces for p in self._unused(piece)]
        self.unused = self._tensor(unused) if unused else None
        """Places of blocks just begun that hold what another text left there."""
        numbers, firsts = sorted(range(len(pieces)), key=self._kind), [0]
        for piece in pieces:
            firsts.append(firsts[-1] + piece.length)
        self.groups, order = [], [0] * len(positions)
        before = 0
        for _, found in groupby(numbers, key=self._kind):
            members = [*found]
            group = self._group(members, firsts)
            for row, number in enumerate(members):
                begin = before + row * group.places.shape[1]
                length = pieces[number].length
                order[firsts[number] : firsts[number] + length] = range(begin, begin + length)
            self.groups.append(group)
            before += group.places.numel()
        self.order = self._tensor(order)
        """(N,): where each token's answer stands in those of all groups."""

    def _kind(self, number: int) -> tuple[int, int]:
        """Texts of a kind are read together; at most four times as many keys as they have."""
        piece = self.pieces[number]
        return piece.length.bit_length(), max(NARROW, piece.end).bit_length() // 2

    def _slot(self, piece: Piece, position: int) -> int:
        return piece.blocks[position // self.size] * self.size + position % self.size

    def _unused(self, piece: Piece) -> Iterator[int]:
        """Positions behind a piece in a block that it is the first to write to."""
        begin = piece.end // self.size * self.size
        if piece.start <= begin < piece.end:
            yield from range(piece.end, begin + self.size)

    def _group(self, members: Sequence[int], firsts: Sequence[int]) -> Group:
        pieces = [self.pieces[number] for number in members]
        most, keys = max(p.length for p in pieces), max(p.end for p in pieces)
        columns = -(-keys // self.size)
        steps = [[min(t, p.length - 1) for t in range(most)] for p in pieces]
        starts = [firsts[number] for number in members]
        tables = [[*p.blocks[: -(-p.end // self.size)]] for p in pieces]  # those it has begun
        return Group(
            places=self._tensor([[b + t for t in row] for b, row in zip(starts, steps)]),
            positions=self._tensor([[p.start + t for t in row] for p, row in zip(pieces, steps)]),
            table=self._tensor([[*row, *[self.empty] * (columns - len(row))] for row in tables]),
            keys=keys,
        )

    def _tensor(self, numbers: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(numbers, device=self.device)


class PagedLayer(LayerCache):
    """The blocks of one attention layer."""

    def __init__(self, blocks: int, size: int) -> None:
        super().__init__()
        self.shape = blocks + 1, size
        """One block more, the last, is never written to."""
        self.step: Step | None = None

    def attend(
        self,
        kernel: Kernel,
        q_BHTK: Tensor,
        k_BGTK: Tensor,
        v_BGTK: Tensor,
        mask: Mask,
        dropout: float,
    ) -> Tensor:
        """What the queries of all texts read, (1, H, N, K); keys and values of the new tokens are
        stored before anything is read."""
        assert self.step is not None, "a step is begun before the model is called"
        self._keys = self._stored(self._keys, k_BGTK, self.step)
        self._values = self._stored(self._values, v_BGTK, self.step)
        answers = []
        for group in self.step.groups:
            q_RHTK = q_BHTK[0][:, group.places].transpose(0, 1)
            k_RGSK, v_RGSK = (self._read(held, group) for held in (self._keys, self._values))
            y_RHTK = kernel(q_RHTK, k_RGSK, v_RGSK, group.mask(mask), dropout)
            answers.append(y_RHTK.transpose(1, 2).flatten(0, 1))
        together = answers[0] if len(answers) == 1 else torch.cat(answers)
        return together[self.step.order].transpose(0, 1)[None]

    def copy(self, pairs: Tensor) -> None:
        """Let the second block of each pair (P, 2) hold what the first does."""
        for held in (self._keys, self._values):
            if held is not None:
                held[pairs[:, 1]] = held[pairs[:, 0]]

    def _stored(self, held: Tensor | None, x_BGTK: Tensor, step: Step) -> Tensor:
        x_NGK = x_BGTK[0].transpose(0, 1)
        if held is None:
            held = x_NGK.new_empty(*self.shape, *x_NGK.shape[1:])  # taken as it is written to
            held[-1] = 0
        flat = held.view(-1, *x_NGK.shape[1:])
        flat.index_copy_(0, step.slots, x_NGK)
        if step.unused is not None:
            # Nobody sees these, but a weight of 0 times infinity would not be 0.
            flat.index_fill_(0, step.unused, 0)
        return held

    def _read(self, held: Tensor, group: Group) -> Tensor:
        """Keys or values of a group, (R, G, S, K)."""
        return held[group.table].flatten(1, 2)[:, : group.keys].transpose(1, 2)


class PagedCache(Cache):
    """The blocks of all layers of a model; `begin` says what the next forward reads."""

    def __init__(self, layers: int, blocks: int, size: int) -> None:
        super().__init__(())
        self.blocks, self.size = blocks, size
        self.layers = [PagedLayer(blocks, size) for _ in range(layers)]

    def begin(self, pieces: Sequence[Piece], device: torch.device) -> None:
        """The ids of the next forward are those of these pieces, (1, N), one behind the other."""
        self.step = Step(pieces, self.size, self.blocks, device)
        for layer in self.layers:
            assert isinstance(layer, PagedLayer), "a paged cache has no other layers"
            layer.step = self.step

    def advance(self, ids_BT: Tensor, segments_BT: Tensor | None) -> Span:
        """The span of the tokens of all texts; who sees whom is said group by group."""
        return Span(0, ids_BT.shape[1], self.step.positions)

    def copy(self, pairs: Sequence[tuple[int, int]], device: torch.device) -> None:
        """Let the second block of each pair hold what the first does."""
        for layer in self.layers:
            assert isinstance(layer, PagedLayer), "a paged cache has no other layers"
            layer.copy(torch.tensor(pairs, device=device))
