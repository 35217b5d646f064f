"""SentencePiece's rules of normalisation, with components of the `tokenizers` library.

A charsmap maps strings to strings, the longest match first. The library's Precompiled differs:
it looks up a letter with its combining marks as one, by the shortest match, so that "½" loses
an accent that follows it, and a kana and its mark stay two. Here letters are parted from their
marks first, and composed afterwards where Unicode has one character for both. Marks that never
compose stay parted until the end, since composing would sort them (pointed Hebrew is typed in
another order than Unicode's).

What remains different: two accents typed in the wrong order, an accent on a ligature, and U+FDD0,
no character by Unicode's own word, which parts them here and is dropped.
"""

import struct
from typing import Any

from tokenizers import Regex, normalizers

from ownlm.errors import DataError
from ownlm.tokenization.controls import refusals

_APART = "\ufdd0"
"""A code point that is no character, for use inside a program (Unicode 16.0, section 23.7)."""
JOINING = (
    r"\u0300-\u0304\u0306-\u030c\u030f\u0311\u0313\u0314\u031b\u0323-\u0328\u032d\u032e\u0330"
    r"\u0331\u0338\u0342\u0345\u0653-\u0655\u093c\u09be\u09d7\u0b3e\u0b56\u0b57\u0bbe\u0bd7"
    r"\u0c56\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dca\u0dcf\u0ddf\u102e\u1b35\u3099\u309a"
    r"\x{110ba}\x{11127}\x{1133e}\x{11357}\x{114b0}\x{114ba}\x{114bd}\x{115af}\x{11930}"
)
"""Marks that Unicode composes with what stands before them, as a class of expressions."""
_PART = r"(?<=[\s\S])(?=[\p{M}\u200c\u200d\n])"  # not at the start, where the library fails
_JOIN = rf"(?<![\p{{M}}&&[^{JOINING}]]){_APART}(?=[{JOINING}])"
_DECOMPOSED, _COMPOSED = "e\u0301".encode(), "\u00e9".encode()


def charsmap_normalizers(charsmap: bytes) -> list[Any]:
    """What applies a charsmap; nothing for an empty one. DataError when it is damaged."""
    if not charsmap:
        return []
    check_charsmap(charsmap)
    with refusals():
        rules = [normalizers.Replace(Regex(_PART), _APART), normalizers.Precompiled(charsmap)]
        whole = normalizers.Replace(_APART, "")
        if not composes(charsmap):
            return [*rules, whole]
        return [*rules, normalizers.Replace(Regex(_JOIN), ""), normalizers.NFC(), whole]


def composes(charsmap: bytes) -> bool:
    """Whether the rules join a letter and its accent, as those made from Unicode's NFKC do."""
    return lookup(charsmap, _DECOMPOSED) == _COMPOSED


def check_charsmap(charsmap: bytes) -> None:
    """DataError unless the parts have sound sizes: the trie's length in bytes, the trie, then
    texts that each end with a zero byte."""
    size = struct.unpack_from("<I", charsmap)[0] if len(charsmap) >= 4 else 0
    if not 4 <= size <= len(charsmap) - 5 or size % 4 or charsmap[-1]:
        raise DataError(f"precompiled_charsmap: {len(charsmap)} bytes cannot hold a trie of {size}")


def lookup(charsmap: bytes, key: bytes) -> bytes | None:
    """What a whole key becomes; None where no rule is about it.

    The trie is a double array (Aoe 1989, as in darts-clone): a unit holds a label, the offset of
    its children, and whether the first of these is the place of its value.
    """
    size: int = struct.unpack_from("<I", charsmap)[0]
    units = memoryview(charsmap)[4 : 4 + size].cast("I")
    place = _offset(units[0])
    for byte in key:
        place ^= byte
        if not byte or place >= len(units) or units[place] & 0x800000FF != byte:
            return None
        last = units[place]
        place ^= _offset(last)
    if not last >> 8 & 1 or place >= len(units):
        return None
    begin = 4 + size + (units[place] & 0x7FFFFFFF)
    end = charsmap.find(b"\0", begin)
    return charsmap[begin:end] if end >= 0 else None


def _offset(unit: int) -> int:
    return int((unit >> 10) << ((unit & 0x200) >> 6))
