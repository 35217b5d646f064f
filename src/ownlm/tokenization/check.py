"""Is a tokenizer.json sound? Checked by entry before the library sees it.

The library accepts two tokens with one id, ids without a token and an added token whose id is
another's; what follows is an embedding looked up in the wrong row, or out of range. Every fault
here is a DataError that names the entry.
"""

import json
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import pydantic

from ownlm.errors import DataError

T = TypeVar("T", bound=pydantic.BaseModel)
_Id = Annotated[int, pydantic.Field(strict=True, ge=0)]
_SHOWN = 60


class _Added(pydantic.BaseModel):
    """An entry of `added_tokens`."""

    id: _Id
    content: Annotated[str, pydantic.Field(min_length=1)]
    special: pydantic.StrictBool


class _Head(pydantic.BaseModel):
    """The sections that ids come from; the library judges the others itself."""

    model: dict[str, Any]
    added_tokens: list[_Added] | None = None


class _Mapped(pydantic.BaseModel):
    """BPE, WordPiece or WordLevel."""

    type: Literal["BPE", "WordPiece", "WordLevel", None] = None  # files of 2020 do not say
    vocab: dict[str, _Id]
    merges: list[str | tuple[str, str]] = []
    unk_token: str | None = None
    continuing_subword_prefix: str | None = None
    dropout: float | None = None


class _Scored(pydantic.BaseModel):
    """Unigram: pieces whose ids are their places, with log probabilities."""

    type: Literal["Unigram", None] = None
    vocab: list[tuple[str, pydantic.FiniteFloat]]
    unk_id: _Id | None = None


def check(text: str) -> None:
    """Raises DataError, without `where`, unless `text` is a sound tokenizer.json."""
    head = validated(_Head, parse_object(text))
    if isinstance(head.model.get("vocab"), list):
        tokens = _pieces(validated(_Scored, head.model, "model."))
    else:
        mapped = validated(_Mapped, head.model, "model.")
        tokens = dict(mapped.vocab)
        _check_merges(mapped)
        if mapped.dropout:
            raise DataError("model.dropout: would make the ids of a text random; set it to null")
    _add(head.added_tokens or [], tokens)
    _check_ids(tokens)


def parse_object(text: str) -> dict[str, Any]:
    """The values of a JSON file that must be one mapping and have no key twice."""
    try:
        values = json.loads(text, object_pairs_hook=_unique, parse_constant=_not_finite)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} (line {error.lineno})") from None
    except RecursionError:
        raise DataError("nested too deeply") from None
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise DataError(f"expected a mapping, found {_short(values)}")
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DataError(f"the key {_short(key)} is there twice")
            seen.add(key)
    return values


def _not_finite(name: str) -> NoReturn:
    raise DataError(f"{name} is no JSON number")


def validated(kind: type[T], values: Any, prefix: str = "") -> T:
    """`values` as a pydantic model; DataError, without `where`, names the first wrong entry."""
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        first, *others = error.errors(include_url=False)
        name = prefix + ".".join(str(part) for part in first["loc"])
        more = f" (and {len(others)} more)" if others else ""
        raise DataError(f"{name}: {first['msg']}, found {_short(first['input'])}{more}") from None


def _pieces(model: _Scored) -> dict[str, int]:
    tokens: dict[str, int] = {}
    for index, (piece, _) in enumerate(model.vocab):
        if piece in tokens:
            raise DataError(f"model.vocab[{index}]: {_short(piece)} is also piece {tokens[piece]}")
        tokens[piece] = index
    if model.unk_id is not None and model.unk_id >= len(tokens):
        raise DataError(f"model.unk_id: {model.unk_id} is none of {len(tokens)} pieces")
    return tokens


def _check_merges(model: _Mapped) -> None:
    if model.unk_token is not None and model.unk_token not in model.vocab:
        raise DataError(f"model.unk_token: {_short(model.unk_token)} is not in the vocabulary")
    cut = len(model.continuing_subword_prefix or "")
    for index, merge in enumerate(model.merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2:
            raise DataError(f"model.merges[{index}]: {_short(merge)} is not a pair of tokens")
        for token in (*pair, pair[0] + pair[1][cut:]):
            if token not in model.vocab:
                raise DataError(
                    f"model.merges[{index}]: {_short(merge)} needs {_short(token)}, "
                    "which is not in the vocabulary"
                )


def _add(added: list[_Added], tokens: dict[str, int]) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(added):
        name, shown = f"added_tokens[{index}]", _short(entry.content)
        if entry.content in seen:
            raise DataError(f"{name}: {shown} is there twice")
        if tokens.get(entry.content, entry.id) != entry.id:
            found = tokens[entry.content]
            raise DataError(f"{name}: {shown} has id {entry.id}, but {found} in the model")
        seen.add(entry.content)
        tokens[entry.content] = entry.id


def _check_ids(tokens: dict[str, int]) -> None:
    """Every id from 0 on belongs to exactly one token."""
    by_id: dict[int, str] = {}
    for token, id in tokens.items():
        if id in by_id:
            raise DataError(f"id {id} belongs to {_short(by_id[id])} and to {_short(token)}")
        by_id[id] = token
    if not by_id:
        raise DataError("model.vocab: is empty")
    missing = next((id for id in range(len(by_id)) if id not in by_id), None)
    if missing is not None:
        above = min(id for id in by_id if id > missing)
        raise DataError(f"no token has id {missing}, but {_short(by_id[above])} has id {above}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
