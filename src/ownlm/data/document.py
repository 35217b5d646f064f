"""A document, how a long one is cut into pieces that tokenise alike at every reading, and how
many are tokenised at once."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

PIECE = 1 << 16  # characters; part of the format, since no token spans two pieces
SIDES = (
    "\x1e"  # U+001E, the record separator: between source and target of a pair, which is one text
)
BATCH = 1 << 20  # characters tokenised at once, at 200 to 700 bytes of memory each
_WORD = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15  # odd: spreads the numbers of pieces over all 64 bits


class Whole(NamedTuple):
    """What is known of a complete document before its first piece is handed out."""

    digest: bytes  # SHA-256 of its UTF-8 text
    characters: int
    bytes: int  # of UTF-8


class Document(NamedTuple):
    """A document, or one piece of a long one: pieces follow each other, `part` counts from 0."""

    text: str
    path: str
    line: int  # where its row starts, from 1; 0 when the whole file is the document
    part: int
    whole: Whole
    code: str = ""  # the control code of its source, where codes are read

    @property
    def where(self) -> str:
        """path:line, or the path."""
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def key(self) -> int:
        """64 bits that depend on the text of the document alone."""
        return int.from_bytes(self.whole.digest[:8], "big")

    def held_out(self, share: float) -> bool:
        """Whether this document is among the `share` kept for validation.

        Equal documents are on the same side, whatever their order.
        """
        return self.key < share * _WORD

    @property
    def sample_key(self) -> int:
        """64 bits that depend on the document and the number of the piece."""
        start = int.from_bytes(self.whole.digest[8:16], "big")
        return (start + self.part * _GOLDEN) % _WORD


class Texted(Protocol):
    """Anything that carries some text."""

    @property
    def text(self) -> str:
        """The text."""


AnyTexted = TypeVar("AnyTexted", bound=Texted)


def batches(pieces: Iterable[AnyTexted]) -> Iterator[list[AnyTexted]]:
    """Lists of pieces that hold about BATCH characters together, to be tokenised at once."""
    batch: list[AnyTexted] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def cut(parts: Iterable[str], size: int = PIECE) -> Iterator[str]:
    """The same text in pieces of at most `size` characters, whatever the parts it came in.

    A cut falls after the last line end that is followed by visible text: pre-tokenisers split
    there anyway, so that the tokens are those of the uncut text. Failing that, after a line
    end, before a space, or anywhere. Text that is empty gives one empty piece.
    """
    held, start, some = "", 0, False
    for part in parts:
        held, start = held[start:] + part, 0
        while len(held) - start > size:
            end = _cut_point(held, start, start + size)
            yield held[start:end]
            start, some = end, True
    if start < len(held) or not some:
        yield held[start:]


def _cut_point(text: str, start: int, end: int) -> int:
    at = text.rfind("\n", start, end)
    last = at
    while at > start and text[at + 1].isspace():
        at = text.rfind("\n", start, at)
    if at > start or last > start:
        return (at if at > start else last) + 1
    space = text.rfind(" ", start + 1, end)
    return space if space > start else end
