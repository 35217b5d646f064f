"""Which text is learned from and which is kept apart to measure on."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from ownlm.data.config import DataConfig
from ownlm.data.document import Document
from ownlm.data.report import CorpusReport

MANY = 200  # documents from which a split by documents is even enough


class Part(NamedTuple):
    """A piece of text and the split it belongs to."""

    split: Literal["train", "validation"]
    text: str
    begins: bool  # whether a document begins here, in this split
    code: str = ""  # control code of the document


class Split:
    """Sends text to training or validation, as a pure function of each document.

    `documents` sends whole documents by their hash, so that equal texts stay on one side;
    `tail` keeps the end of every document, so that one book gives its first 90 % and last 10 %.
    """

    def __init__(self, kind: Literal["documents", "tail"], share: float) -> None:
        self.kind, self.share = kind, share
        self._offset = 0  # characters of the current document that came before this piece

    @classmethod
    def choose(cls, config: DataConfig, report: CorpusReport) -> "Split":
        """The split that `config` asks for; `auto` by the number of documents."""
        if config.split != "auto":
            return cls(config.split, config.validation)
        if config.pairs:  # a pair is not cut in two
            return cls("documents", config.validation)
        both = 0 < report.held_out < report.documents
        kind: Literal["documents", "tail"] = (
            "documents" if report.documents >= MANY and (both or not config.validation) else "tail"
        )
        return cls(kind, config.validation)

    def parts(self, piece: Document) -> Iterator[Part]:
        """One or two parts of a piece; the pieces of a document must come in order."""
        if self.kind == "documents":
            side: Literal["train", "validation"]
            side = "validation" if piece.held_out(self.share) else "train"
            yield Part(side, piece.text, piece.part == 0, piece.code)
            return
        start = 0 if piece.part == 0 else self._offset
        self._offset = start + len(piece.text)
        border = int(piece.whole.characters * (1 - self.share))
        before, after = piece.text[: max(0, border - start)], piece.text[max(0, border - start) :]
        if before:
            yield Part("train", before, start == 0, piece.code)
        if after:
            yield Part("validation", after, start <= border, piece.code)
