"""How a family marks what it reads: where texts begin and end, and which is which.

BERT      [CLS] a [SEP]         [CLS] a [SEP] b [SEP]         segments 0 ... 0 1 ... 1
RoBERTa   <s> a </s>            <s> a </s></s> b </s>
T5        a </s>                a </s> b </s>
XLNet     a <sep> <cls>         a <sep> b <sep> <cls>         segments 0 ... 0 1 ... 1 2
decoders  a <end>               a <end> b <end>               read off the last token

The tokenizer's own file says it where it can. What is too long loses the last tokens of the
longest text; no mark is ever lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ownlm.errors import ConfigError
from ownlm.models.family import Architecture
from ownlm.objectives.masked import cut
from ownlm.objectives.rows import Ids
from ownlm.objectives.vocabulary import vocabulary
from ownlm.tokenization.around import A, B, Forms, Slot
from ownlm.tokenization.tokenizer import Tokenizer

LONGEST = 512
"""Tokens of a sequence unless more are asked for: attention to many costs their square."""
ANY = 1 << 30
"""Segments where they are told apart by being equal or not."""


class Marked(NamedTuple):
    """Texts among their marks."""

    ids: Ids
    """(T,)."""
    segments: Ids | None
    """(T,); None where the family does not tell texts apart."""
    begins: tuple[int, ...]
    """Where each text begins."""


@dataclass(frozen=True)
class Marks:
    """The forms of a family, and how much they may hold."""

    forms: Forms
    longest: int
    """Tokens, marks included."""
    segments: int
    """Segments that are told apart; fewer than two: none are."""
    causal: bool
    """What comes first is read without what follows."""
    ends: bool
    """The whole is read off the last token, not off the first."""

    def room(self, texts: int) -> int:
        """Tokens that one text, or two together, may have."""
        form = self.forms[texts - 1]
        return self.longest - (len(form) - texts)

    def __call__(self, *texts: Sequence[int] | Ids) -> Marked:
        """One text or two, as many tokens as there is room for."""
        fitted = cut([np.asarray(ids, np.int64) for ids in texts], self.room(len(texts)))
        parts, kinds, begins, at = [], [], {}, 0
        for what, segment in self.forms[len(texts) - 1]:
            if isinstance(what, str):
                ids = fitted["AB".index(what)]
                begins[what] = at
            else:
                ids = np.array([what], np.int64)
            parts.append(ids)
            kinds.append(np.full(len(ids), min(segment, max(0, self.segments - 1)), np.int64))
            at += len(ids)
        segments = np.concatenate(kinds) if self.segments > 1 else None
        return Marked(np.concatenate(parts), segments, tuple(begins[n] for n in sorted(begins)))

    def whole(self, size: int) -> int:
        """The place that stands for all of a sequence of `size` tokens."""
        return size - 1 if self.ends else 0


def marks(
    tokenizer: Tokenizer, architecture: Architecture, *, longest: int = 0, relative: bool = False
) -> Marks:
    """Those of a model. `relative`: segments are told apart by being equal or not, as in XLNet,
    and there may be any number. ConfigError where `longest` leaves no room for texts."""
    a = architecture
    writes = a.encoder is not None
    causal = a.stack.causal and not writes
    found = _decoder(tokenizer) if causal else tokenizer.forms or _usual(tokenizer, not writes)
    made = Marks(
        found,
        min(longest or LONGEST, a.context),
        segments=ANY if relative else a.embed.types,
        causal=causal,
        ends=a.stack.causal or relative,
    )
    if made.room(2) < 2:
        raise ConfigError(
            f"sequences of {made.longest} tokens have no room for texts",
            where="longest",
            next_command="allow more tokens",
        )
    return made


def _decoder(tokenizer: Tokenizer) -> Forms:
    """A text ends with the token that ends texts."""
    lead, end = [Slot(id) for id in tokenizer.start], Slot(tokenizer.eos_id)
    second = Slot(end.what, 1)
    return Forms((*lead, A, end), (*lead, A, end, B._replace(segment=1), second))


def _usual(tokenizer: Tokenizer, begins: bool) -> Forms:
    """For tokenizers that say nothing; an encoder's texts are read off a token before them."""
    control: dict[str, Any] = vocabulary(tokenizer).control
    end = Slot(control.get("end", tokenizer.eos_id))
    lead = [Slot(control.get("begin", end.what))] if begins else []
    second = B._replace(segment=1), end._replace(segment=1)
    return Forms((*lead, A, end), (*lead, A, end, *second))
