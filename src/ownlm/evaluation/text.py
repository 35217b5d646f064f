"""Text as a stream of tokens in memory, for a corpus that was not prepared as shards."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ownlm.data.document import Document, batches
from ownlm.tokenization.tokenizer import Tokenizer


class TextStream:
    """Documents one after another, each followed by the end-of-text token; 4 bytes a token."""

    def __init__(self, ids: NDArray[np.uint32], starts: NDArray[np.int64], text_bytes: int) -> None:
        self.ids, self.starts = ids, starts
        self.tokens, self.text_bytes = len(ids), text_bytes
        self.bounds = np.array([self.tokens], np.int64)

    def gather(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Tokens (len(begins), length)."""
        windows: NDArray[np.int64] = self.ids[begins[:, None] + np.arange(length)].astype(np.int64)
        return windows

    def documents(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int32]:
        """The document of each token, counted from 1 within its window."""
        places = begins[:, None] + np.arange(length)
        owners = np.searchsorted(self.starts, places, side="right")
        return (owners - owners[:, :1] + 1).astype(np.int32)

    def heads(self, begins: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first token of the document that each place is in."""
        documents = np.searchsorted(self.starts, begins, side="right") - 1
        return self.ids[self.starts[documents]].astype(np.int64)


def encode(pieces: Iterable[Document], tokenizer: Tokenizer) -> TextStream:
    """Encode documents, which come in order and the long ones in pieces; empty ones are left out.

    The ids are those that `prepare` writes.
    """
    ids, starts, text_bytes = array("I"), array("q"), 0
    for piece, tokens in _encoded(pieces, tokenizer):
        if piece.part == 0:
            if starts:
                ids.append(tokenizer.eos_id)
            starts.append(len(ids))
            if piece.code:
                ids.append(tokenizer.code(piece.code))
        ids.extend(tokens)
        text_bytes += len(piece.text.encode("utf-8"))
    if starts:
        ids.append(tokenizer.eos_id)
    # The arrays' own memory, not a copy.
    return TextStream(np.frombuffer(ids, np.uint32), np.frombuffer(starts, np.int64), text_bytes)


def _encoded(
    pieces: Iterable[Document], tokenizer: Tokenizer
) -> Iterator[tuple[Document, list[int]]]:
    for some in batches(piece for piece in pieces if piece.text):
        yield from zip(some, tokenizer.encode_batch([piece.text for piece in some]), strict=True)
