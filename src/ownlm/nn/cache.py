"""Keys and values that generation has seen; an argument of forward, never a module's state.

Shapes: B batch, T new tokens, S tokens so far, G key/value heads, K head width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ownlm.nn.mask import Mask, Span, count_positions, first_span

Kernel = Callable[[Tensor, Tensor, Tensor, Mask, float], Tensor]
"""Queries, keys, values, who sees whom, dropout: what the queries read."""


class LayerCache:
    """What one attention layer has seen, in storage that doubles when it is full."""

    def __init__(self, reserve: int = 0) -> None:
        self.length, self._reserve = 0, reserve
        self.memory: tuple[Tensor, Tensor] | None = None
        """Keys and values of the encoder's output, (B, G, S, K): made once, by cross attention."""
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def __len__(self) -> int:
        return self.length

    def extend(self, x_BTD: Tensor) -> Tensor:
        """What keys and values are made of: here the new tokens, (B, T, D), as they are."""
        return x_BTD

    def attend(
        self,
        kernel: Kernel,
        q_BHTK: Tensor,
        k_BGTK: Tensor,
        v_BGTK: Tensor,
        mask: Mask,
        dropout: float,
    ) -> Tensor:
        """What the queries of T new tokens read of all so far, themselves included."""
        return kernel(q_BHTK, *self.update(k_BGTK, v_BGTK), mask, dropout)

    def attend_memory(
        self,
        kernel: Kernel,
        q_BHTK: Tensor,
        made: tuple[Tensor, Tensor] | None,
        mask: Mask | None,
        dropout: float,
    ) -> Tensor:
        """What the queries read of the encoder's output, whose keys and values are kept once they
        are `made`.

        Rows that share a row of the output (beams that write about one text) are queries of one
        row: what is read is neither copied nor read twice.
        """
        self.memory = self.memory if made is None else made
        assert self.memory is not None and mask is not None, "a memory was made, or is given"
        texts, length = len(self.memory[0]), q_BHTK.shape[2]
        q_NHPK = q_BHTK.unflatten(0, (texts, -1)).transpose(1, 2).flatten(2, 3)
        y_NHPK = kernel(q_NHPK, *self.memory, mask, dropout)
        y_BHTK: Tensor = y_NHPK.unflatten(2, (-1, length)).transpose(1, 2).flatten(0, 1)
        return y_BHTK

    def update(self, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Append T tokens; returns all keys and values so far, (B, G, S, K) views."""
        end = self.length + k_BGTK.shape[2]
        self._keys = self._room(self._keys, k_BGTK, end)
        self._values = self._room(self._values, v_BGTK, end)
        self._keys[:, :, self.length : end] = k_BGTK
        self._values[:, :, self.length : end] = v_BGTK
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def reorder(self, rows: Tensor, texts: Tensor | None = None) -> None:
        """Keep the batch rows `rows`, in that order, some perhaps several times (beams; finished
        requests leave), and of the encoder's output the rows `texts`, by default the same."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = (
                self._taken(self._keys, rows),
                self._taken(self._values, rows),
            )
        if self.memory is not None:
            texts = rows if texts is None else texts
            self.memory = self.memory[0][texts], self.memory[1][texts]

    def move(self, to: Tensor, rows: Tensor) -> None:
        """Let the batch rows `to` take over the past of the rows `rows`; none is in both."""
        for held in (self._keys, self._values):
            if held is not None:
                held[to, :, : self.length] = held[rows, :, : self.length]

    def _taken(self, held: Tensor, rows: Tensor) -> Tensor:
        """Some rows with the room that they had; what is not filled yet is not copied."""
        storage = held.new_empty(len(rows), *held.shape[1:])
        storage[:, :, : self.length] = held[rows, :, : self.length]
        return storage

    def _room(self, held: Tensor | None, new_BGTK: Tensor, end: int) -> Tensor:
        if held is not None and end <= held.shape[2]:
            return held
        batch, heads, _, width = new_BGTK.shape
        size = max(end, self._reserve if held is None else 2 * held.shape[2])
        storage = new_BGTK.new_empty(batch, heads, size, width)
        if held is not None:
            storage[:, :, : self.length] = held[:, :, : self.length]
        return storage


class WindowCache(LayerCache):
    """The same for a layer that sees `window` tokens: older keys are let go."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def update(self, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Append T tokens; returns them after the window - 1 tokens before them."""
        if self._keys is not None and self._values is not None:
            k_BGTK = torch.cat((self._keys, k_BGTK), dim=2)
            v_BGTK = torch.cat((self._values, v_BGTK), dim=2)
        first = max(0, k_BGTK.shape[2] - self.window + 1)
        self._keys, self._values = k_BGTK[:, :, first:].clone(), v_BGTK[:, :, first:].clone()
        self.length = self._keys.shape[2]
        return k_BGTK, v_BGTK


class Cache:
    """All layers of one model: the storage, the offset and the segments of the keys.

    `windows` holds how far each layer sees, 0 being everything; `reserve` is the number of
    tokens to make room for at once.
    """

    def __init__(self, windows: Sequence[int], reserve: int = 0) -> None:
        self.layers = [WindowCache(w) if w else LayerCache(reserve) for w in windows]
        self.length = 0
        self.segments: Tensor | None = None

    def __len__(self) -> int:
        return self.length

    def advance(self, ids_BT: Tensor, segments_BT: Tensor | None) -> Span:
        """The span of the next tokens, once per forward and before any layer.

        Tokens without segments continue the last token's segment; the first segments may also
        come after tokens that had none, which then count as segment 1.
        """
        past, length = self.length, ids_BT.shape[1]
        self.length = past + length
        if past == 0:
            self.segments = segments_BT
            return first_span(ids_BT, segments_BT)
        if segments_BT is None and self.segments is None:
            return Span(past, length, torch.arange(past, past + length, device=ids_BT.device))
        before = self.segments if self.segments is not None else ids_BT.new_ones(len(ids_BT), past)
        after = segments_BT if segments_BT is not None else before[:, -1:].expand_as(ids_BT)
        self.segments = torch.cat((before, after), dim=1)
        return Span(past, length, count_positions(self.segments)[:, past:], self.segments)

    def reorder(self, rows: Tensor, texts: Tensor | None = None) -> None:
        """Keep the batch rows `rows`, in that order; of the encoder's output `texts`, if those are
        others: several rows may read one text."""
        self.segments = None if self.segments is None else self.segments[rows]
        for layer in self.layers:
            layer.reorder(rows, texts)

    def move(self, to: Tensor, rows: Tensor) -> None:
        """Let the batch rows `to` take over the past of the rows `rows`; none is in both."""
        if self.segments is not None:
            self.segments = self.segments.index_copy(0, to, self.segments[rows])
        for layer in self.layers:
            layer.move(to, rows)
