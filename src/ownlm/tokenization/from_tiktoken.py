"""tiktoken rank files: a byte string in base64 and its rank, a line each (GPT-4, LLaMA 3, Qwen).

A file has neither the expression that cuts words nor the control tokens. Both follow from how
many ranks there are, where the files beside it do not name the tokens.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tokenizers import decoders, models, normalizers

from ownlm.errors import DataError
from ownlm.tokenization.assemble import Parts, assemble, model_of
from ownlm.tokenization.joins import joins
from ownlm.tokenization.patterns import CL100K, O200K, QWEN, bytes_by, gpt2_words
from ownlm.tokenization.settings import Settings, numbered_lines
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.words import byte_alphabet

Ranks = dict[bytes, int]
_FILL = {"prefix": 100_258, "middle": 100_259, "suffix": 100_260}
_END = "<|endoftext|>"


class Encoding(NamedTuple):
    """What a rank file does not say."""

    pattern: str
    """"": GPT-2's words."""
    controls: Mapping[str, int]
    roles: Mapping[str, str] = {"eos": _END}
    composed: bool = False
    """Text is brought to NFC first."""


def _llama3() -> dict[str, int]:
    named = {
        0: "begin_of_text", 1: "end_of_text", 6: "start_header_id", 7: "end_header_id", 9: "eot_id",
    }  # fmt: skip
    free = (f"reserved_special_token_{number}" for number in range(256))
    return {f"<|{named.get(place) or next(free)}|>": 128_000 + place for place in range(256)}


def _qwen() -> dict[str, int]:
    names = ["endoftext", "im_start", "im_end", *(f"extra_{number}" for number in range(205))]
    return {f"<|{name}|>": 151_643 + place for place, name in enumerate(names)}


def known_encoding(ranks: int) -> Encoding:
    """The published encoding with so many ranks; GPT-4's words where none has."""
    known = {
        50_256: lambda: Encoding("", {_END: 50_256}),
        50_280: lambda: Encoding("", {_END: 50_256}),
        100_256: lambda: Encoding(
            CL100K,
            {_END: 100_257, "<|endofprompt|>": 100_276}
            | {f"<|fim_{name}|>": id for name, id in _FILL.items()},
        ),
        199_998: lambda: Encoding(O200K, {_END: 199_999, "<|endofprompt|>": 200_018}),
        128_000: lambda: Encoding(
            CL100K, _llama3(), {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>"}
        ),
        151_643: lambda: Encoding(QWEN, _qwen(), composed=True),
    }
    return known.get(ranks, lambda: Encoding(CL100K, {}))()


def is_tiktoken(data: bytes) -> bool:
    """Whether a file's first line is base64, a space, and a number."""
    token, _, rank = data[:4096].partition(b"\n")[0].rstrip(b"\r").partition(b" ")
    return bool(token) and rank.isdigit() and _decoded(token) is not None


def from_tiktoken(file: Path, settings: Settings) -> Tokenizer:
    """The tokenizer of a rank file; DataError names the line."""
    ranks = _read(file)
    encoding = known_encoding(len(ranks))
    beyond = {t.content: id for id, t in settings.added.items() if id >= len(ranks)}
    controls = _without_gaps(ranks, beyond or dict(encoding.controls))
    spelled = {_spell(token): rank for token, rank in ranks.items()}
    merges = [(_spell(left), _spell(right)) for left, right in joins(ranks, ranks)]
    words = bytes_by(encoding.pattern) if encoding.pattern else gpt2_words()
    parts = Parts(
        # A word that is a token is that token, whether or not merges lead to it.
        model=model_of(models.BPE, vocab=spelled, merges=merges, ignore_merges=True),
        normalizer=normalizers.NFC() if encoding.composed else None,
        pre_tokenizer=words,
        decoder=decoders.ByteLevel(),
        controls=controls,
        roles=encoding.roles,
    )
    adds = {"add_bos_token": True} if "bos" in encoding.roles else {}
    # The class name says little: LLaMA 3 has LLaMA 2's.
    settings = replace(settings, values=adds | dict(settings.values), kind="")
    return assemble(parts, settings, str(file))


def _read(file: Path) -> Ranks:
    ranks: Ranks = {}
    lines: dict[int, str] = {}
    for where, line in numbered_lines(file):
        if not line:
            continue
        text, _, number = line.partition(" ")
        token = _decoded(text.encode())
        if not token or not (number.isascii() and number.isdigit() and len(number) < 12):
            raise DataError(f"{line!r:.60}: expected base64, a space and a rank", where=where)
        rank = int(number)
        if token in ranks:
            raise DataError(f"{token!r:.60} already has rank {ranks[token]}", where=where)
        if rank in lines:
            raise DataError(f"rank {rank} is also in {lines[rank]}", where=where)
        ranks[token], lines[rank] = rank, where
    if not ranks:
        raise DataError("no ranks here", where=str(file))
    absent = next((byte for byte in range(256) if bytes([byte]) not in ranks), None)
    if absent is not None:
        raise DataError(f"the byte {absent} has no rank, so not every text can be written",
                        where=str(file))  # fmt: skip
    return ranks


def _decoded(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _without_gaps(ranks: Ranks, controls: Mapping[str, int]) -> dict[str, int]:
    """Control tokens, and names for the ids below the last that nobody uses."""
    last = max((*ranks.values(), *controls.values()))
    if last > 2 * len(ranks) + 4096:
        raise DataError(f"id {last} is far beyond {len(ranks)} ranks")
    used = {*ranks.values(), *controls.values()}
    reserved = {f"<|reserved_token_{id}|>": id for id in range(last) if id not in used}
    return dict(controls) | reserved


_ALPHABET = byte_alphabet()


def _spell(token: bytes) -> str:
    return "".join([_ALPHABET[byte] for byte in token])
