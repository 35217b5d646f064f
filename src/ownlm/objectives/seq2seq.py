"""Sequence to sequence (Vaswani et al. 2017, arXiv:1706.03762, section 5): the encoder reads a
source, the decoder writes its target, such as a translation.

pair       we read </s> wir lesen </s>         as the shards hold it
source     we read </s>
decoder    <start> wir lesen
target     wir lesen </s>

Several pairs are packed into a row and do not see each other. In training the target's
probability is smoothed (Szegedy et al. 2015, arXiv:1512.00567, section 7): of each target a share
of epsilon is spread evenly over the vocabulary.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import nn

from ownlm.errors import DataError
from ownlm.objectives.objective import Batch, Loss, Stream
from ownlm.objectives.rows import Ids, Row, Window
from ownlm.objectives.two_sided import Exchange, Frame, Sides, TwoSided, nats
from ownlm.objectives.vocabulary import Vocabulary

CHUNK = 1 << 20
"""Tokens looked through at once for the ends of sources."""


class Pair(NamedTuple):
    """Both sides without their ends."""

    source: Ids
    target: Ids
    whole: bool
    """Whether the target's end was seen; a window tears the pair that it ends in."""


class Seq2Seq(TwoSided):
    """Cross entropy of the targets, smoothed in training."""

    def __init__(self, vocab: Vocabulary, start: int, end: int, *, smoothing: float = 0.0) -> None:
        """`end` is the id that ends both sides in the shards. A model whose decoder starts with
        the end (BART) reads and writes a begin as well, where the tokenizer has one."""
        super().__init__(vocab, start)
        self.frame = Frame.of(vocab.control, start, self.end)
        self.stored_end, self.smoothing = end, smoothing

    def lengths(self, tokens: int) -> tuple[int, int]:
        """Half of a window for each side."""
        return tokens // 2, tokens // 2

    def window(self, context: int) -> int:
        """A context of sources and one of targets."""
        return 2 * context

    def begins(self, stream: Stream, length: int) -> Ids:
        """A row takes pairs, in the order of the stream, until one of its sides is full."""
        found = np.concatenate([np.zeros(0, np.int64), *self.ends(stream)])
        if len(found) != 2 * len(stream.starts):
            raise DataError(
                f"{len(stream.starts):,} documents with {len(found):,} ends are no pairs",
                next_command="ownlm prepare PAIRS --out DATA --data.pairs",
            )
        return stream.starts[firsts(self.sizes(stream.starts, found), self.lengths(length))]

    def ends(self, stream: Stream) -> Iterator[Ids]:
        """Where sources and targets end."""
        for at in range(0, stream.tokens, CHUNK):
            (ids,) = stream.gather(np.array([at]), min(CHUNK, stream.tokens - at))
            yield np.flatnonzero(ids == self.stored_end) + at

    def sizes(self, starts: Ids, ends: Ids) -> Ids:
        """Tokens that each pair takes on both sides, (2, N)."""
        sources, targets = ends[0::2] - starts + 1, ends[1::2] - ends[0::2]
        begin = len(self.frame.begin)
        return np.stack([sources + begin + len(self.lead), targets + begin])

    def row(self, window: Window) -> Row:
        """The pairs of a window from its first on, as many as fit; a first one that does not fit
        by itself is cut."""
        read, write = self.lengths(len(window.tokens) - 1)
        sides = Sides(read, write, self.frame, self.pad)
        for number, pair in enumerate(self.pairs(window)):
            made = self.marked(pair)
            if not (sides.fits(made) and pair.whole):
                if number:
                    break
                made = Exchange(self.frame.shortened(made.source, read), made.target[:write])
            sides.add(made)
        return sides.row

    def pairs(self, window: Window) -> Iterator[Pair]:
        """What lies in a window; what has no target at all is left out."""
        for piece in window.pieces():
            ends = np.flatnonzero(piece == self.stored_end)
            if len(ends):
                source, rest = piece[: ends[0]], piece[ends[0] + 1 :]
                whole = len(ends) > 1
                target = rest[:-1] if whole else rest[rest >= 0]
                if whole or len(target):
                    yield Pair(source, target, whole)

    def marked(self, pair: Pair) -> Exchange:
        """Both sides with their marks."""
        source = self.frame.source(pair.source, self.lead)
        return Exchange(source, self.frame.target(pair.target, whole=pair.whole))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of the targets; in evaluation of the targets themselves."""
        return nats(model, batch, self.smoothing)


def firsts(sizes: Ids, rooms: tuple[int, int]) -> Ids:
    """The first pair of each row, when rows are filled one after another: sizes (2, N)."""
    sums = np.concatenate([np.zeros((2, 1), np.int64), sizes.cumsum(axis=1)], axis=1)
    reach = np.min(
        [
            np.searchsorted(side, side[:-1] + room, side="right") - 1
            for side, room in zip(sums, rooms)
        ],
        axis=0,
    )
    chosen, at = [], 0
    while at < sizes.shape[1]:
        chosen.append(at)
        at = max(at + 1, int(reach[at]))
    return np.array(chosen, np.int64)
