"""From ids back to text: what each id adds, in bytes, and decoding that may stop anywhere.

An id may be half of a character, so decoding joins bytes, never strings. Decoding a whole list
and decoding it id by id go through the same bytes and give the same text.
"""

import codecs
import functools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import decoders

from ownlm.errors import DataError
from ownlm.tokenization.words import byte_alphabet

REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_ANCHOR = "a"
_LOCAL = {
    *("ByteLevel", "ByteFallback", "Fuse", "Metaspace", "Replace", "Strip", "WordPiece"),
    "BPEDecoder",
}
"""Decoders whose text for a token depends on that token and on whether it comes first, or last
(BPEDecoder: the last piece of a word ends in a space, unless the text ends there)."""


class Pieces:
    """The bytes of every id, from its token and the library's `decoder`.

    `controls` are written as they are; `hidden` are those among them that decoding leaves out.
    Ids outside the vocabulary (a model may have padded rows) show as U+FFFD.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        decoder: decoders.Decoder | None,
        controls: frozenset[int],
        hidden: frozenset[int],
    ) -> None:
        kinds = _kinds(json.loads(decoder.__getstate__())) if decoder else set()
        if kinds - _LOCAL:
            raise DataError(f"decoder: {', '.join(sorted(kinds - _LOCAL))} is not supported")
        self.hidden = hidden
        self._tokens, self._decoder, self._controls = tokens, decoder, controls
        self._by_byte = "ByteLevel" in kinds
        self._has_byte_tokens = "ByteFallback" in kinds
        self._ends_words = "BPEDecoder" in kinds

    def __getitem__(self, id: int) -> bytes:
        """What `id` adds after other text."""
        return self._inner[id] if 0 <= id < len(self._inner) else REPLACEMENT

    def first(self, id: int) -> bytes:
        """What `id` adds at the start of a text, where some tokenizers drop a space."""
        if self._by_byte or not 0 <= id < len(self._tokens) or self._byte(id) is not None:
            return self[id]
        return self._text([self._tokens[id]], ends=False).encode()

    def join(self, ids: Iterable[int], *, skip_special: bool) -> bytes:
        """The bytes of a whole text."""
        shown = [id for id in ids if not (skip_special and id in self.hidden)]
        return self.settled(
            b"".join([self.first(id) for id in shown[:1]] + [self[id] for id in shown[1:]])
        )

    def settled(self, data: bytes) -> bytes:
        """What stays of `data` should the text end here: all but the space that ends a word."""
        return data.removesuffix(b" ") if self._ends_words else data

    @functools.cached_property
    def _inner(self) -> list[bytes]:
        return [self._piece(id) for id in range(len(self._tokens))]

    def _piece(self, id: int) -> bytes:
        token, byte = self._tokens[id], self._byte(id)
        if byte is not None:
            return byte
        if self._by_byte:
            codes = [_byte_of().get(character) for character in token]
            literal = id in self._controls or None in codes
            return token.encode() if literal else bytes(code for code in codes if code is not None)
        return self._text([_ANCHOR, token], ends=False).removeprefix(_ANCHOR).encode()

    def _byte(self, id: int) -> bytes | None:
        match = _BYTE_TOKEN.fullmatch(self._tokens[id]) if self._has_byte_tokens else None
        return bytes([int(match[1], 16)]) if match else None

    def _text(self, tokens: list[str], *, ends: bool) -> str:
        """The text of tokens, as it is when another follows unless it `ends`."""
        if self._ends_words and not ends:
            return self._text([*tokens, _ANCHOR], ends=True).removesuffix(_ANCHOR)
        return self._decoder.decode(tokens) if self._decoder else " ".join(tokens)


class StreamDecoder:
    """Text as its ids arrive; a character is given out once all its bytes are there.

    >>> stream = tokenizer.stream()
    >>> for id in ids: print(stream.push(id), end="")
    >>> print(stream.end())
    """

    def __init__(self, pieces: Pieces, *, skip_special: bool = True) -> None:
        self._pieces, self._skip_special, self._begun = pieces, skip_special, False
        self._owed = b""
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The complete characters that `id` adds; often "", when it ends inside one."""
        if self._skip_special and id in self._pieces.hidden:
            return ""
        piece = self._pieces[id] if self._begun else self._pieces.first(id)
        self._begun = True
        whole = self._owed + piece
        kept = self._pieces.settled(whole)
        self._owed = whole[len(kept) :]
        return self._utf8.decode(kept)

    def end(self) -> str:
        """What is left: U+FFFD if the last character never became complete."""
        return self._utf8.decode(b"", final=True)


@functools.cache
def _byte_of() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(byte_alphabet())}


def _kinds(section: Any) -> set[str]:
    """The types of a `decoder` section, those inside a sequence too."""
    if section["type"] == "Sequence":
        return set().union(*(_kinds(inner) for inner in section["decoders"]))
    return {section["type"]}
