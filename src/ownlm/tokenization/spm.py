"""SentencePiece model files: a protocol buffer, read by hand.

Only a few of its fields matter, and a reader of forty lines is less to trust than a library that
parses whatever it is given. Field numbers are those of sentencepiece_model.proto.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ownlm.errors import DataError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE = 1, 2
_KINDS = {3: "WORD", 4: "CHAR"}
_SHOWN = 60


class Piece(NamedTuple):
    """A token: its text with ▁ for a space, its score (log probability or merge order)."""

    text: str
    score: float
    type: int = NORMAL


@dataclass(frozen=True, kw_only=True)
class SpmModel:
    """What a model file says, in so far as it decides ids."""

    pieces: list[Piece]
    kind: int
    """UNIGRAM or BPE."""
    charsmap: bytes = b""
    """Compiled rules of normalisation; empty: none."""
    prefix: bool = True
    """A text starts as if after a space."""
    squeeze: bool = True
    """Spaces at both ends go, runs of spaces become one."""
    escape: bool = True
    """Spaces are written ▁."""
    byte_fallback: bool = False
    """Characters without a piece are written as their bytes."""
    unk_id: int = 0
    bos_id: int = -1
    eos_id: int = -1
    pad_id: int = -1


def is_spm(data: bytes) -> bool:
    """Whether a file starts as a model file does: its first field is a piece."""
    return data[:1] == b"\n"


def read_spm(data: bytes) -> SpmModel:
    """A model file; DataError, without `where`, names the piece or byte that cannot be."""
    pieces: list[Piece] = []
    trainer = normalizer = b""
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(_bytes(value), len(pieces)))
        elif number == 2:
            trainer = _bytes(value)
        elif number == 3:
            normalizer = _bytes(value)
    check_pieces(pieces)
    spec, rules = dict(_fields(trainer)), dict(_fields(normalizer))
    kind = _whole(spec.get(3, UNIGRAM))
    if kind not in (UNIGRAM, BPE):
        raise DataError(f"{_KINDS.get(kind, kind)} models are not supported, only UNIGRAM and BPE")
    if _whole(spec.get(24, 0)):
        raise DataError("spaces as the end of words (treat_whitespace_as_suffix): not supported")
    unk = _whole(spec.get(40, 0))
    if not 0 <= unk < len(pieces):
        raise DataError(f"unk_id {unk} is none of {len(pieces)} pieces")
    return SpmModel(
        pieces=pieces,
        kind=kind,
        charsmap=_bytes(rules.get(2, b"")),
        prefix=bool(_whole(rules.get(3, 1))),
        squeeze=bool(_whole(rules.get(4, 1))),
        escape=bool(_whole(rules.get(5, 1))),
        byte_fallback=bool(_whole(spec.get(35, 0))),
        unk_id=unk,
        bos_id=_place(spec.get(41, 1), pieces),
        eos_id=_place(spec.get(42, 2), pieces),
        pad_id=_place(spec.get(43, -1), pieces),
    )


def check_pieces(pieces: list[Piece], name: str = "pieces") -> None:
    """DataError for no pieces, and for two that are spelled alike."""
    if not pieces:
        raise DataError(f"{name}: there are none")
    seen: dict[str, int] = {}
    for index, piece in enumerate(pieces):
        if piece.text in seen:
            raise DataError(
                f"{name}[{index}]: {piece.text!r:.{_SHOWN}} is also piece {seen[piece.text]}"
            )
        seen[piece.text] = index


def _piece(data: bytes, index: int) -> Piece:
    try:
        fields = dict(_fields(data))
        text, score = _bytes(fields.get(1, b"")).decode("utf-8"), fields.get(2, b"\0" * 4)
        type = _whole(fields.get(3, NORMAL))
        number: float = struct.unpack("<f", _bytes(score))[0]
    except (DataError, UnicodeDecodeError, struct.error) as error:
        raise DataError(f"pieces[{index}]: {error}") from None
    if not text:
        raise DataError(f"pieces[{index}]: is empty")
    if not math.isfinite(number):
        raise DataError(f"pieces[{index}]: {text!r:.{_SHOWN}} has the score {number}")
    if not NORMAL <= type <= BYTE:
        raise DataError(f"pieces[{index}]: {text!r:.{_SHOWN}} is of unknown type {type}")
    return Piece(text, number, type)


def _place(value: Any, pieces: list[Piece]) -> int:
    """The id of a control token, -1 where the model has none."""
    id = _whole(value)
    return id if 0 <= id < len(pieces) and pieces[id].type != UNKNOWN else -1


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields; a number for varints, else bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise DataError(f"byte {place}: no protocol buffer (wire type {wire})")
        if place + size > len(data):
            raise DataError(f"byte {place}: a field of {size} bytes, {len(data) - place} are left")
        yield key >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first; and the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise DataError(f"byte {place}: ends inside a number")
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (1 << 64) - 1, place
    raise DataError(f"byte {place}: a number of more than 64 bits")


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise DataError("a number stands where text should")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise DataError("text stands where a number should")
    return value - (1 << 64) if value >> 63 and value > 0 else value
