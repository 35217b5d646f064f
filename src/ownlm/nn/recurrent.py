"""Long short-term memory in the place of attention: a state of fixed size is all that is kept.

Shapes: B batch, T tokens, D width, N documents.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ownlm.nn.cache import Cache
from ownlm.nn.config import StackConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.mask import Span, count_positions, last_real

State = tuple[Tensor, Tensor]
"""Output and cell of a layer, (1, B, D) each."""


class RecurrentCache(Cache):
    """The states of all layers: what generation and training in segments carry on.

    A state ends its gradient: learning reaches back to the beginning of a segment only.
    """

    def __init__(self, layers: int) -> None:
        super().__init__(())
        self.states: list[State | None] = [None] * layers

    def advance(self, ids_BT: Tensor, segments_BT: Tensor | None) -> Span:
        """The span of the next tokens; of the segments before only the last one is kept."""
        past, length = self.length, ids_BT.shape[1]
        self.length = past + length
        if segments_BT is None and self.segments is None:
            return Span(past, length, torch.arange(past, past + length, device=ids_BT.device))
        before = self.segments
        if before is None:  # 0: there was nothing, 1: there were tokens without numbers
            before = ids_BT.new_full((len(ids_BT), 1), min(past, 1))
        after = before.expand_as(ids_BT) if segments_BT is None else segments_BT
        whole = torch.cat((before, after), dim=1)
        self.segments = last_real(whole)[:, -1:]
        return Span(1, length, count_positions(whole)[:, 1:], whole)

    def reorder(self, rows: Tensor, texts: Tensor | None = None) -> None:
        """Keep the batch rows `rows`, in that order."""
        super().reorder(rows)
        self.states = [None if s is None else (s[0][:, rows], s[1][:, rows]) for s in self.states]

    def move(self, to: Tensor, rows: Tensor) -> None:
        """Let the batch rows `to` take over the state of the rows `rows`."""
        super().move(to, rows)
        for state in self.states:
            for part in state or ():
                part[:, to] = part[:, rows]


class Documents:
    """The documents of a padded batch as sequences of their own: each begins from nothing.

    Padding is left out, also inside a document. A row's first document may continue the one
    that a cache ended with.
    """

    def __init__(self, span: Span) -> None:
        assert span.segments is not None, "one document a row needs no parting"
        segments = span.segments
        if not span.past:
            segments = torch.cat((torch.zeros_like(segments[:, :1]), segments), dim=1)
        filled = last_real(segments)
        self.real_BT = segments[:, 1:] > 0
        number_BT = (filled[:, 1:] != filled[:, :-1]).cumsum(dim=1)
        most = span.length + 1
        key_BT = torch.arange(len(segments), device=segments.device)[:, None] * most + number_BT
        keys, self.document, lengths = torch.unique(
            key_BT[self.real_BT], return_inverse=True, return_counts=True
        )
        self.lengths = lengths.cpu()
        ends = lengths.cumsum(dim=0)
        place = torch.arange(len(self.document), device=segments.device)
        self.place = place - (ends - lengths)[self.document]
        self.rows, self.continues = keys // most, (keys % most == 0) & bool(span.past)
        self.final = torch.cat((self.rows[1:] != self.rows[:-1], self.rows.new_ones(1).bool()))

    def lay_out(self, x_BTD: Tensor) -> Tensor:
        """Real tokens, a document a row, (N, L, D)."""
        x_NLD = x_BTD.new_zeros(len(self.lengths), int(self.lengths.max()), x_BTD.shape[-1])
        x_NLD[self.document, self.place] = x_BTD[self.real_BT]
        return x_NLD

    def put_back(self, y_NLD: Tensor, like_BTD: Tensor) -> Tensor:
        """Back to where they stood; padding is zero."""
        y_BTD = torch.zeros_like(like_BTD)
        y_BTD[self.real_BT] = y_NLD[self.document, self.place]
        return y_BTD

    def carry_on(
        self, cell: nn.Module, x_NLD: Tensor, state: State | None, batch: int
    ) -> tuple[Tensor, State]:
        """A layer over all documents, from each row's state (1, B, D) to its state at the end.

        Only the states need the documents' own lengths, and those cost: five times the time
        of rows that are read to the end of the longest.
        """
        packed = pack_padded_sequence(x_NLD, self.lengths, batch_first=True, enforce_sorted=False)
        y, ends = cell(packed, self._begin(state))
        y_NLD, _ = pad_packed_sequence(y, batch_first=True)
        return y_NLD, self._end(ends, state, batch)

    def _begin(self, state: State | None) -> State | None:
        """Zero, but for the documents that continue."""
        if state is None:
            return None
        goes_on = self.continues[None, :, None]
        output, cell = (torch.where(goes_on, part[:, self.rows], 0.0) for part in state)
        return output, cell

    def _end(self, ends: State, state: State | None, batch: int) -> State:
        """Each row's state after its last document; a row of padding keeps its own."""
        old = state or tuple(part.new_zeros(1, batch, part.shape[-1]) for part in ends)
        row = self.rows[self.final]
        output, cell = (o.index_copy(1, row, e[:, self.final]) for o, e in zip(old, ends))
        return output, cell


class RecurrentStack(nn.Module):
    """LSTM layers (Hochreiter & Schmidhuber 1997), the outer ones as wide as the token table.

    Dropout stands between layers and after the last, never between time steps (Zaremba et al.
    2014, arXiv:1409.2329).
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        c = self.config = config
        widths = (c.dim, *(c.hidden for _ in range(c.layers - 1)), c.dim)
        self.cells = nn.ModuleList(
            nn.LSTM(given, made, bias=c.bias_qkv, batch_first=True)
            for given, made in pairwise(widths)
        )
        self.drop = Dropout(c.dropout)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        x_BTD: Tensor,
        span: Span,
        cache: RecurrentCache | None = None,
        memory: None = None,
        routes: Any = None,
    ) -> Tensor:
        """(B, T, D) to (B, T, D); a cache gives the states to begin with and takes the last."""
        documents = None if span.segments is None else Documents(span)
        if documents is not None and not len(documents.lengths):
            return torch.zeros_like(x_BTD)
        x = x_BTD if documents is None else documents.lay_out(x_BTD)
        for layer, cell in enumerate(self.cells):
            held = cache.states[layer] if cache is not None else None
            if documents is None or cache is None:
                x, ends = cell(x, held)
            else:
                x, ends = documents.carry_on(cell, x, held, len(x_BTD))
            if cache is not None:
                cache.states[layer] = (ends[0].detach(), ends[1].detach())
            x = self.drop(x)
        return x if documents is None else documents.put_back(x, x_BTD)

    def new_cache(self, reserve: int = 0) -> RecurrentCache:
        """An empty cache."""
        return RecurrentCache(self.config.layers)

    def new_memory(self) -> RecurrentCache:
        """What a segment passes on to the next one."""
        return self.new_cache()
