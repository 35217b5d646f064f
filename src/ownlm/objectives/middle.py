"""Fill in the middle (Bavarian et al. 2022, arXiv:2207.14255): a decoder learns to write what
stands between two texts, by reading them in another order.

document   PREFIX MIDDLE SUFFIX
PSM        <|prefix|> PREFIX <|suffix|> SUFFIX <|middle|> MIDDLE <end>
SPM        <|prefix|> <|suffix|> SUFFIX <|middle|> PREFIX MIDDLE <end>
"""

import numpy as np

from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE, Batch, Examples
from ownlm.objectives.rows import Filler, Ids, Row, Window, batch_of, windows
from ownlm.objectives.vocabulary import Vocabulary

PREFIX, SUFFIX, MIDDLE = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"


class FillInTheMiddle(Causal):
    """Next-token prediction; some documents of a window are read in another order."""

    covers = False

    def __init__(self, vocab: Vocabulary, *, rate: float = 0.5, spm: float = 0.5) -> None:
        """`rate` of the documents is rearranged, `spm` of those with the suffix first.
        ConfigError when the tokenizer lacks the three control tokens."""
        super().__init__()
        self.vocab, self.rate, self.spm = vocab, rate, spm
        self.prefix, self.suffix, self.middle = map(vocab.name, (PREFIX, SUFFIX, MIDDLE))
        self.pad, self.end = vocab.need("pad"), vocab.need("end")

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs, mask, targets (B, T)."""
        return batch_of([self.row(window) for window in windows(examples, rng)])

    def row(self, window: Window) -> Row:
        """The documents of a window, rearranged and packed."""
        filler = Filler(len(window.tokens) - 1, self.pad)
        for piece in window.pieces():
            if window.rng.random() < self.rate:
                piece = self.rearranged(piece, window.rng)
            piece = piece[: filler.room + 1]
            if len(piece) > 1:
                filler.add(inputs=piece[:-1], targets=self.targets(piece))
        return filler.row

    def targets(self, piece: Ids) -> Ids:
        """The next tokens; the three marks are given, never guessed."""
        marks = (self.prefix, self.suffix, self.middle)
        return np.where(np.isin(piece[1:], marks), IGNORE, piece[1:])

    def rearranged(self, piece: Ids, rng: np.random.Generator) -> Ids:
        """The document cut at two random places, in one of the two orders."""
        ended = piece[-1:] == self.end
        text = piece[:-1] if ended.any() else piece
        low, high = np.sort(rng.integers(0, len(text) + 1, 2))
        before, between, after = text[:low], text[low:high], text[high:]
        if rng.random() < self.spm:
            parts = [[self.prefix, self.suffix], after, [self.middle], before, between]
        else:
            parts = [[self.prefix], before, [self.suffix], after, [self.middle], between]
        return np.concatenate([*parts, piece[len(text) :]]).astype(np.int64)
