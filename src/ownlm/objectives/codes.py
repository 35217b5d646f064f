"""Control codes (CTRL, Keskar et al. 2019, arXiv:1909.05858, section 3): every window begins with
the code of the text it is from, which the model is given and never has to say.

document   <Books> once upon a time <end>
window 1   inputs   <Books> once  upon           window 2   inputs   <Books> upon  a     time
           targets  once    upon  a                         targets  upon    a     time  <end>
"""

import numpy as np

from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE, Batch, Examples
from ownlm.objectives.rows import Filler, Ids, Row, Window, batch_of, windows
from ownlm.objectives.vocabulary import Vocabulary


class ControlCodes(Causal):
    """Next-token prediction behind the control code of each document."""

    covers = False

    def __init__(self, vocab: Vocabulary, codes: Ids) -> None:
        """`codes` are the ids that documents begin with."""
        super().__init__()
        self.codes, self.pad = codes, vocab.need("pad")

    def window(self, context: int) -> int:
        """The code of a document that the window begins in takes the place of a token."""
        return max(1, context - 1)

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs, mask, targets (B, T)."""
        return batch_of([self.row(window) for window in windows(examples, rng)])

    def row(self, window: Window) -> Row:
        """The documents of a window, each behind its code, packed."""
        filler = Filler(len(window.tokens), self.pad)
        for number, piece in enumerate(window.pieces()):
            if number == 0 and piece[0] not in self.codes:
                assert window.head is not None, "a loader knows where documents begin"
                piece = np.append(window.head, piece)
            piece = piece[: filler.room + 1]
            if len(piece) > 1:
                targets = np.where(np.isin(piece[1:], self.codes), IGNORE, piece[1:])
                filler.add(inputs=piece[:-1], targets=targets)
        return filler.row
