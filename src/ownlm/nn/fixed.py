"""A step whose tensors keep their places and shapes, so that a device can play it again.

Its texts write one token each. The numbers of a step are copied into the tensors of the one
before; keys are padded to a room of tokens, rows that no text needs repeat the last text.

Shapes: R rows, S keys of a room, C blocks of a table.
"""

from collections.abc import Sequence

import torch

from ownlm.nn.mask import Span
from ownlm.nn.pieces import Group, Piece, Sight, Slots, Step


class FixedStep(Step):
    """Where `rows` texts of at most `keys` tokens stand; `fill` says which."""

    def __init__(self, rows: int, keys: int, size: int, empty: int, device: torch.device) -> None:
        """`size` tokens lie in a block; block `empty` is kept empty."""
        self.size, self.empty, self.device = size, empty, device
        self.columns = -(-keys // size)
        parts = [rows, rows, rows, rows * size, rows * self.columns]
        self.numbers = torch.zeros(sum(parts), dtype=torch.long, device=device)
        ids, positions, new, unused, table = self.numbers.split(parts)
        self.rows, self.ids = rows, ids[None]
        """(1, R): the last id of each text."""
        self.span = Span(0, rows, positions[None])
        self.slots, self.source_slots, self.sources = Slots(new, unused), None, None
        order = torch.arange(rows, device=device)
        group = Group(order[:, None], positions[:, None], table.view(rows, -1), keys)
        self.own = Sight([group], order)

    def fill(self, pieces: Sequence[Piece], ids: Sequence[int]) -> None:
        """Let the step be that of these texts, at most R of one token each; what was known of
        the texts before is forgotten."""
        spare = self.rows - len(pieces)
        pieces, ids = [*pieces, *[pieces[-1]] * spare], [*ids, *[ids[-1]] * spare]
        new = [self._slot(piece.blocks, piece.start) for piece in pieces]
        unused = [slot for piece in pieces for slot in self._cleared(piece)]
        tables = [block for piece in pieces for block in self._table(piece)]
        starts = [piece.start for piece in pieces]
        self.numbers.copy_(torch.tensor([*ids, *starts, *new, *unused, *tables]))
        self.own.groups[0].masks.clear()

    def _cleared(self, piece: Piece) -> list[int]:
        """Places to clear; those of the empty block where there are less than a block of them."""
        places = [self._slot(piece.blocks, p) for p in self._unused(piece.start, piece.end)]
        return [*places, *[self.empty * self.size] * (self.size - len(places))]

    def _table(self, piece: Piece) -> list[int]:
        begun = piece.blocks[: -(-piece.end // self.size)]
        return [*begun, *[self.empty] * (self.columns - len(begun))]
