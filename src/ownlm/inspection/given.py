"""A text as a model is given it: ids, marks included, and how people see each of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM
from ownlm.models.model import EncoderDecoder
from ownlm.objectives.tasks.make import RELATIVE
from ownlm.objectives.tasks.marks import marks
from ownlm.objectives.vocabulary import roles
from ownlm.tokenization.messages import Messages
from ownlm.tokenization.tokenizer import Tokenizer


class Piece(NamedTuple):
    """One token for people."""

    id: int
    text: str
    control: bool


@dataclass(frozen=True)
class Given:
    """What goes into a model."""

    reads: tuple[int, ...]
    """Of an encoder-decoder, what the encoder reads."""
    written: tuple[int, ...] = ()
    """What an encoder-decoder's decoder has written, its opening first."""
    types: tuple[int, ...] | None = None
    """The text that each token belongs to, where the family tells texts apart."""

    def hiding(self, place: int, tokenizer: Tokenizer) -> "Given":
        """The same with one token replaced by the one that hides. ConfigError without such one."""
        mask = roles(tokenizer.special).get("mask")
        if mask is None:
            raise ConfigError("the tokenizer has no token that hides others")
        ids = [*self.reads]
        ids[place] = mask
        return replace(self, reads=tuple(ids))


def given(lm: LM, text: str | Messages, *, other: str = "", written: str = "") -> Given:
    """A text as `lm` reads it, or two; `written` is what an encoder-decoder says to it, and its
    own answer where that is empty.

    Raises ConfigError for messages without a chat template, and for more tokens than a decoder
    has positions for.
    """
    if isinstance(lm.model, EncoderDecoder):
        said = written or (lm.generate(text, 64) if lm.answers else "")
        ids = (*lm.frame.opening, *lm.tokenizer.encode(said))
        return Given((*lm.prompt_ids(text),), ids[: lm.model.context])
    if not isinstance(text, str) or lm.model.architecture.stack.causal:
        ids, context = (*lm.prompt_ids(text),), lm.model.context
        if len(ids) > context and lm.model.architecture.embed.positions != "none":
            raise ConfigError(f"{len(ids)} tokens are more than the {context} that the model reads")
        return Given(ids)
    return among_marks(lm, *map(lm.tokenizer.encode, (text, other) if other else (text,)))


def among_marks(lm: LM, *texts: Sequence[int]) -> Given:
    """The ids of one text, or of two, as an encoder reads them."""
    a = lm.model.architecture
    around = marks(lm.tokenizer, a, longest=a.context, relative=lm.model.family.name in RELATIVE)
    made = around(*(np.array(ids, np.int64) for ids in texts))
    types = None if made.segments is None else tuple(made.segments.tolist())
    return Given(tuple(made.ids.tolist()), types=types)


def pieces(tokenizer: Tokenizer, ids: Iterable[int]) -> list[Piece]:
    """Tokens for people, control tokens told apart."""
    controls = {*tokenizer.special.values()}
    return [Piece(id, tokenizer.readable(id), id in controls) for id in ids]
