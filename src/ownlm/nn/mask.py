"""Who sees whom: segments, positions and masks of one forward pass.

A mask is given as integers, one a token: 0 is padding, equal positive numbers see each other.
All ones is a plain padding mask; numbering documents packs several into one row without a
leak. Padding counts as a segment of its own, so that no query is left without any key (a
softmax over nothing is not a number).

Shapes: B batch, T query tokens, S key tokens (cached ones first), H heads.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.nn.config import PatternConfig
from ownlm.nn.pattern import reached


@dataclass(frozen=True)
class Span:
    """The tokens of one forward pass and how they stand to the tokens before them."""

    past: int
    """Cached tokens before the first query."""
    length: int
    """T, the queries."""
    positions: Tensor
    """Position of each query in its segment: (T,) when all rows agree, else (B, T)."""
    segments: Tensor | None = None
    """Segment of every key, (B, S); the last T belong to the queries. None: one segment."""
    prefix: Tensor | None = None
    """(B, T), true for the first tokens of segments that a causal stack reads both ways: all of
    the segment sees them. None: no such tokens."""

    def both_ways(self, prefix_BT: Tensor) -> "Span":
        """The same with a prefix. Only the first tokens may hold one: those that come after
        others see these anyway."""
        assert self.past == 0, "a prefix comes first"
        return replace(self, prefix=prefix_BT.bool())


def first_span(ids_BT: Tensor, segments_BT: Tensor | None) -> Span:
    """The span of a pass without a cache."""
    length = ids_BT.shape[1]
    if segments_BT is None:
        return Span(0, length, torch.arange(length, device=ids_BT.device))
    return Span(0, length, count_positions(segments_BT), segments_BT)


def count_positions(segments_BS: Tensor) -> Tensor:
    """Each token's distance from the first token of its segment.

    [0 0 1 1 1] -> [. . 0 1 2] and [1 1 2 2 2] -> [0 1 0 1 2]; padding inside a segment is
    stepped over as if it belonged to it.
    """
    places = torch.arange(segments_BS.shape[1], device=segments_BS.device).expand_as(segments_BS)
    filled = last_real(segments_BS)
    begins = torch.ones_like(filled, dtype=torch.bool)
    begins[:, 1:] = filled[:, 1:] != filled[:, :-1]
    return places - torch.where(begins, places, 0).cummax(dim=1).values


def last_real(segments_BS: Tensor) -> Tensor:
    """The segment of the last real token up to each place: [0 1 0 2] -> [0 1 1 2]."""
    places = torch.arange(segments_BS.shape[1], device=segments_BS.device).expand_as(segments_BS)
    return segments_BS.gather(1, torch.where(segments_BS > 0, places, 0).cummax(dim=1).values)


def distances(span: Span, first: int = 0) -> Tensor:
    """Key place minus query place, (T, S - first): 0 is the query itself, -1 the one before.

    `first` is the first key that is still held.
    """
    places = torch.arange(span.past + span.length, device=span.positions.device)
    return places[None, first:] - places[span.past :, None]


class Mask:
    """Who sees whom in one kind of layer, in the form that a kernel asks for.

    Each form is built when first asked for and kept for the other layers of the pass.
    """

    def __init__(
        self,
        span: Span,
        *,
        causal: bool,
        window: int = 0,
        bias: Tensor | None = None,
        pattern: PatternConfig | None = None,
    ) -> None:
        self.span, self.causal, self.window, self.bias = span, causal, window, bias
        self.pattern = pattern
        # A layer with a window keeps only the keys that the next query can still see.
        self.first = max(0, span.past - window + 1) if window else 0
        self._tensor: Tensor | None = None
        self._ranges: tuple[Tensor, Tensor] | None = None

    @property
    def triangle(self) -> bool:
        """The kernel's own triangle says it all: no tensor is needed."""
        return self.plain and self.causal and self.span.length > 1

    @property
    def plain(self) -> bool:
        """Nothing but perhaps a triangle over the queries themselves."""
        near = 0 < self.window < self.span.past + self.span.length - self.first
        shifted = self.causal and self.span.length > 1 and self.span.past > 0
        chosen = self.bias is not None or self.pattern is not None or self.span.prefix is not None
        return self.span.segments is None and not chosen and not near and not shifted

    @property
    def tensor(self) -> Tensor | None:
        """Broadcasts to (B, H, T, S): booleans are True where seen, floats add to scores.

        None when the mask is `plain`.
        """
        return None if self.plain else self.built

    @property
    def built(self) -> Tensor:
        """The same, built even where a kernel would not need it."""
        if self._tensor is None:
            self._tensor = self._build_tensor()
        return self._tensor

    @property
    def ranges(self) -> tuple[Tensor, Tensor] | None:
        """(lo, hi), int32 and (B, T): query t sees the keys lo[t] to hi[t] - 1 and no other.

        None where no range says it: a pattern, cached keys, a segment with a gap. A bias comes on
        top of them.
        """
        if self._ranges is None and self.pattern is None and self.span.past == 0:
            self._ranges = self._build_ranges()
        return self._ranges

    def _build_tensor(self) -> Tensor:
        distance = distances(self.span, self.first)
        seen = distance <= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        if self.span.prefix is not None:
            seen = seen | self.span.prefix[:, None, :]
        if self.window:
            seen = seen & (distance.abs() < self.window)
        if self.pattern is not None:
            seen = seen & self._reached(self.pattern)
        if self.span.segments is not None:
            queries = self.span.segments[:, self.span.past :, None]
            seen = seen & (queries == self.span.segments[:, None, self.first :])
        seen = seen[:, None] if seen.dim() == 3 else seen
        if self.bias is None:
            return seen
        return self.bias[..., self.first :].masked_fill(~seen, -torch.inf)

    def _reached(self, pattern: PatternConfig) -> Tensor:
        """What the pattern allows: (T, S), or (B, T, S) where rows hold several documents."""
        span = self.span
        if span.segments is None:
            keys = torch.arange(span.past + span.length, device=span.positions.device)
            ends = torch.full_like(keys, len(keys) - 1)
        else:
            keys, same = count_positions(span.segments), span.segments[:, :, None]
            ends = torch.where(same == span.segments[:, None], keys[:, None], 0).amax(dim=-1)
        queries = keys[..., span.past :]
        known = queries if self.causal else ends[..., span.past :]
        return reached(pattern, queries, keys[..., self.first :], known)

    def _build_ranges(self) -> tuple[Tensor, Tensor] | None:
        places = torch.arange(self.span.length, device=self.span.positions.device)[None]
        lo, hi = torch.zeros_like(places), torch.full_like(places, self.span.length)
        if self.span.segments is not None:
            runs = _runs(self.span.segments)
            if runs is None:
                return None
            lo, hi = runs
        past = places + 1 if self.span.prefix is None else self._both_ways(lo, hi)
        if self.window:
            lo, hi = lo.maximum(places - self.window + 1), hi.minimum(places + self.window)
        if self.causal:
            hi = hi.minimum(past)
        return lo.int(), hi.int()

    def _both_ways(self, lo: Tensor, hi: Tensor) -> Tensor:
        """Last key + 1 that a causal query sees: itself, or the end of its segment's prefix."""
        assert self.span.prefix is not None
        counts = F.pad(self.span.prefix.long().cumsum(dim=1), (1, 0))
        lo, hi = lo.expand(len(counts), -1), hi.expand(len(counts), -1)
        ends = lo + counts.gather(1, hi) - counts.gather(1, lo)
        return ends.maximum(torch.arange(1, self.span.length + 1, device=ends.device))


class MemoryMask(Mask):
    """Which tokens of the encoder a decoder's token reads: those of its own segment.

    `memory_BS` are the encoder's segments; None: all are read by all. A padded query reads
    everything rather than nothing; what it computes is of no use either way.
    """

    def __init__(self, span: Span, memory_BS: Tensor | None, keys: int = 0) -> None:
        """`keys` is how many tokens of the encoder there are, where `memory_BS` does not say it."""
        super().__init__(span, causal=False)
        self.memory_BS, self.keys = memory_BS, keys

    @property
    def plain(self) -> bool:
        """Every query reads every token."""
        return self.memory_BS is None

    def _build_tensor(self) -> Tensor:
        assert self.memory_BS is not None, "a plain mask has no tensor"
        keys = self.memory_BS[:, None, :]
        if self.span.segments is None:
            return (keys == 1)[:, None]
        queries = self.span.segments[:, self.span.past :, None]
        return ((queries == keys) | (queries == 0))[:, None]

    def _build_ranges(self) -> tuple[Tensor, Tensor] | None:
        if self.memory_BS is None:
            places = torch.zeros(1, self.span.length, dtype=torch.int32)
            places = places.to(self.span.positions.device)
            return (places, places + self.keys) if self.keys else None
        seen_BTS = self.built[:, 0].expand(-1, self.span.length, -1)
        first_BT, counts_BT = seen_BTS.int().argmax(dim=-1), seen_BTS.sum(dim=-1)
        last_BT = seen_BTS.shape[2] - seen_BTS.flip(-1).int().argmax(dim=-1)
        if ((last_BT - first_BT != counts_BT) & (counts_BT > 0)).any():
            return None
        return first_BT.int(), (first_BT + counts_BT).int()


def _runs(segments_BT: Tensor) -> tuple[Tensor, Tensor] | None:
    """First and last + 1 place of the run of equal numbers around each token.

    None when a segment comes in two runs: its tokens then see a set that is no range.
    """
    places = torch.arange(segments_BT.shape[1], device=segments_BT.device).expand_as(segments_BT)
    begins = torch.ones_like(segments_BT, dtype=torch.bool)
    begins[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    before = segments_BT.cummax(dim=1).values.roll(1, dims=1)
    before[:, 0] = 0
    returns = (begins & (segments_BT > 0) & (segments_BT <= before)).any()
    apart = ((segments_BT == 0) & begins).sum(dim=1).max() > 1  # padding in two runs
    if returns or apart:
        return None
    ends = begins.roll(-1, dims=1)
    ends[:, -1] = True
    last = torch.where(ends, places, segments_BT.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    return torch.where(begins, places, 0).cummax(dim=1).values, last + 1
