"""The tokenizer that a GGUF file carries in its metadata: tokens, scores, merges, types.

Two kinds: "gpt2", byte-level with merges, whose words `tokenizer.ggml.pre` names; and "llama",
a SentencePiece model's pieces without its file.
"""

from collections.abc import Mapping
from typing import Any

from tokenizers import decoders, models, normalizers

from ownlm.errors import DataError
from ownlm.tokenization.assemble import Parts, assemble, model_of
from ownlm.tokenization.from_sentencepiece import from_sentencepiece
from ownlm.tokenization.patterns import NAMES
from ownlm.tokenization.settings import Settings
from ownlm.tokenization.spm import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Piece,
    SpmModel,
    check_pieces,
)
from ownlm.tokenization.tokenizer import Tokenizer

KEY = "tokenizer.ggml."
WORDS = "ownlm.words"
"""Key of ours: how words are cut, where llama.cpp has no name for it; it wins over `pre`."""
ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
"""Our role -> its key, `tokenizer.ggml.X_token_id`."""
_BEGIN = ("llama-bpe", "llama3", "llama-v3")
"""Byte-level kinds that begin a text with a control token unless the file says otherwise."""


def from_gguf(metadata: Mapping[str, Any], where: str) -> Tokenizer:
    """The tokenizer of a file's metadata; DataError names the key."""
    own = {k.removeprefix(KEY): v for k, v in metadata.items() if k.startswith(KEY)}
    own |= {"pre": metadata[WORDS]} if WORDS in metadata else {}
    try:
        if own.get("model") not in _MAKERS:
            raise DataError(
                f"{KEY}model: {own.get('model')!r:.60} is not supported; known: gpt2, llama"
            )
        pieces = _pieces(own)
        template = metadata.get("tokenizer.chat_template")
        return _MAKERS[own["model"]](own, pieces, _settings(own, pieces, template), where)
    except DataError as error:
        raise DataError(error.what, where=error.where or where) from None


def _pieces(own: Mapping[str, Any]) -> list[Piece]:
    tokens = _list(own, "tokens", str)
    scores = _list(own, "scores", float, len(tokens)) or [0.0] * len(tokens)
    types = _list(own, "token_type", int, len(tokens)) or [NORMAL] * len(tokens)
    pieces = [Piece(*entry) for entry in zip(tokens, scores, types, strict=True)]
    check_pieces(pieces, f"{KEY}tokens")
    return [piece for id, piece in enumerate(pieces) if not _fills(piece, id)]


def _fills(piece: Piece, id: int) -> bool:
    """Whether it stands for a row of the model that no token has: converters name it so."""
    return piece.type == UNUSED and piece.text == f"[PAD{id}]"


def _list(own: Mapping[str, Any], key: str, kind: type, length: int | None = None) -> list[Any]:
    """A list of one kind of value; may be missing where its length is known."""
    values = own.get(key)
    if values is None and length is not None:
        return []
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise DataError(f"{KEY}{key}: expected a list of {kind.__name__} values")
    if length is not None and len(values) != length:
        raise DataError(f"{KEY}{key}: {len(values)} values for {length} tokens")
    return values


def _settings(own: Mapping[str, Any], pieces: list[Piece], template: Any) -> Settings:
    llama = own["model"] == "llama"
    values: dict[str, Any] = {}
    for role, name in ROLES.items():
        id = own.get(f"{name}_token_id")
        if id is not None and not (type(id) is int and 0 <= id < len(pieces)):
            raise DataError(f"{KEY}{name}_token_id: {id!r:.40} is none of {len(pieces)} tokens")
        if id is not None:
            values[f"{role}_token"] = pieces[id].text
        elif not llama and role != "eos":
            values[f"{role}_token"] = None
    begins = own.get("add_bos_token", llama or own.get("pre") in _BEGIN)
    values["add_bos_token"] = bool(begins) and values.get("bos_token", "") is not None
    values["add_eos_token"] = bool(own.get("add_eos_token", False))
    if isinstance(template, str):
        values["chat_template"] = template
    return Settings(values, {}, "llama" if llama else "gpt2", "", "")


def _gpt2(own: Mapping[str, Any], pieces: list[Piece], settings: Settings, where: str) -> Tokenizer:
    name = own.get("pre", "default")
    if not isinstance(name, str) or name not in NAMES:
        raise DataError(
            f"{KEY}pre: words of kind {name!r:.60} are unknown; known: {', '.join(NAMES)}"
        )
    normalizer, words, ignore_merges = byte_level(name)
    vocab = {piece.text: id for id, piece in enumerate(pieces)}
    parts = Parts(
        model=model_of(
            models.BPE,
            vocab=vocab,
            merges=_merges(_list(own, "merges", str), vocab),
            ignore_merges=ignore_merges,
        ),
        normalizer=normalizer,
        pre_tokenizer=words,
        decoder=decoders.ByteLevel(),
        controls={piece.text: id for id, piece in enumerate(pieces) if piece.type == CONTROL},
        texts=[piece.text for piece in pieces if piece.type == USER_DEFINED],
    )
    return assemble(parts, settings, where)


def byte_level(name: str) -> tuple[Any, Any, bool]:
    """What a name of NAMES means: the normaliser, the words, and whether a word that is a token
    needs no merges."""
    normalizer = normalizers.NFC() if name in ("qwen2", "deepseek-r1-qwen") else None
    return normalizer, NAMES[name](), name in _BEGIN


def _merges(merges: list[str], vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    pairs = []
    for index, merge in enumerate(merges):
        left, _, right = merge.partition(" ")
        for token in (left, right, left + right):
            if token not in vocab:
                raise DataError(
                    f"{KEY}merges[{index}]: {merge!r:.60} needs {token!r:.60}, which is no token"
                )
        pairs.append((left, right))
    return pairs


def _llama(
    own: Mapping[str, Any], pieces: list[Piece], settings: Settings, where: str
) -> Tokenizer:
    spelled = {piece.text for piece in pieces}
    unknown = next((id for id, piece in enumerate(pieces) if piece.type == UNKNOWN), 0)
    charsmap = _list(own, "precompiled_charsmap", int, len(own.get("precompiled_charsmap") or ()))
    model = SpmModel(
        pieces=[_escaped(piece, spelled) for piece in pieces],
        kind=BPE,
        charsmap=bytes(charsmap),
        prefix=bool(own.get("add_space_prefix", True)),
        squeeze=bool(own.get("remove_extra_whitespaces", False)),
        byte_fallback=any(piece.type == BYTE for piece in pieces),
        unk_id=own.get("unknown_token_id", unknown),
    )
    return from_sentencepiece(model, settings, where)


def _escaped(piece: Piece, spelled: set[str]) -> Piece:
    """Gemma's runs of spaces, which files hold as they are, as SentencePiece writes them."""
    text = piece.text.replace(" ", "▁")
    return piece if text == piece.text or text in spelled else piece._replace(text=text)


_MAKERS = {"gpt2": _gpt2, "llama": _llama}
