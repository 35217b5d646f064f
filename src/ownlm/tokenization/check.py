"""Is a tokenizer.json sound? Checked by entry before the library sees it.

The library accepts two tokens with one id, ids without a token and an added token whose id is
another's; what follows is an embedding looked up in the wrong row, or out of range. Every fault
here is a DataError that names the entry.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from ownlm.errors import DataError

_SHOWN = 60


def parse(text: str) -> dict[str, Any]:
    """The values of a tokenizer.json after all checks; DataError without `where` otherwise."""
    spec = parse_object(text)
    model = _object(spec.get("model"), "model")
    tokens = dict(_vocab(model))
    _added(spec.get("added_tokens") or [], tokens)
    by_id = _by_id(tokens)
    _require_contiguous(by_id)
    _check_merges(model, tokens)
    unknown = model.get("unk_token")
    if unknown is not None and unknown not in tokens:
        _fail("model.unk_token", unknown, "is not in the vocabulary")
    if model.get("dropout"):
        _fail("model.dropout", model["dropout"], "would make the ids of a text random; set it null")
    return spec


def parse_object(text: str) -> dict[str, Any]:
    """The values of any JSON file that must be one mapping without a key twice."""
    return _object(_json(text), "the file")


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_not_finite)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} (line {error.lineno})") from None
    except RecursionError:
        raise DataError("not a tokenizer: nested too deeply") from None
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"not a tokenizer: {error}") from None


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
    raise DataError(f"{name} is not a number that JSON knows")


def _vocab(model: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """(token, id) of the model's vocabulary: a mapping, or a list of [piece, score]."""
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        for token, id in vocab.items():
            yield token, _id(f"model.vocab[{_short(token)}]", id)
    elif isinstance(vocab, list):
        yield from _pieces(vocab)
        unknown = model.get("unk_id")
        if unknown is not None and not (_is_int(unknown) and 0 <= unknown < len(vocab)):
            _fail("model.unk_id", unknown, f"is no index of {len(vocab)} pieces")
    else:
        _fail("model.vocab", vocab, "is neither a mapping nor a list")


def _pieces(vocab: list[Any]) -> Iterator[tuple[str, int]]:
    seen: dict[str, int] = {}
    for index, entry in enumerate(vocab):
        name = f"model.vocab[{index}]"
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            _fail(name, entry, "is not [piece, score]")
        piece, score = entry
        if isinstance(score, bool) or not isinstance(score, int | float) or not _finite(score):
            _fail(name, score, "is no score")
        if piece in seen:
            _fail(name, piece, f"is already the piece {seen[piece]}")
        seen[piece] = index
        yield piece, index


def _added(entries: Any, tokens: dict[str, int]) -> None:
    """Check `added_tokens` and put them among the `tokens`."""
    if not isinstance(entries, list):
        _fail("added_tokens", entries, "is not a list")
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = f"added_tokens[{index}]"
        content = _object(entry, name).get("content")
        if not isinstance(content, str) or not content:
            _fail(f"{name}.content", content, "is no token")
        if not isinstance(entry.get("special"), bool):
            _fail(f"{name}.special", entry.get("special"), "is neither true nor false")
        id = _id(f"{name}.id", entry.get("id"))
        if content in seen:
            _fail(name, content, "is there twice")
        if tokens.get(content, id) != id:
            _fail(f"{name}.id", id, f"but {_short(content)} has id {tokens[content]} in the model")
        seen.add(content)
        tokens[content] = id


def _by_id(tokens: dict[str, int]) -> dict[int, str]:
    by_id: dict[int, str] = {}
    for token, id in tokens.items():
        if id in by_id:
            raise DataError(f"id {id} belongs to {_short(by_id[id])} and to {_short(token)}")
        by_id[id] = token
    return by_id


def _require_contiguous(by_id: dict[int, str]) -> None:
    if not by_id:
        raise DataError("model.vocab: is empty")
    missing = next((id for id in range(len(by_id)) if id not in by_id), None)
    if missing is not None:
        above = min(id for id in by_id if id > missing)
        raise DataError(f"no token has id {missing}, but {_short(by_id[above])} has id {above}")


def _check_merges(model: dict[str, Any], tokens: dict[str, int]) -> None:
    merges = model.get("merges", [])
    if not isinstance(merges, list):
        _fail("model.merges", merges, "is not a list")
    prefix = model.get("continuing_subword_prefix") or ""
    if not isinstance(prefix, str):
        _fail("model.continuing_subword_prefix", prefix, "is no text")
    for index, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        name = f"model.merges[{index}]"
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)):
            _fail(name, merge, "is not a pair of tokens")
        for token in (*pair, pair[0] + pair[1][len(prefix) :]):
            if token not in tokens:
                _fail(name, merge, f"needs the token {_short(token)}, which is not in the vocabulary")


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _fail(name, value, "is not a mapping")
    return value


def _id(name: str, value: Any) -> int:
    if not _is_int(value) or value < 0:
        _fail(name, value, "is no id")
    return int(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(score: float) -> bool:
    try:
        return math.isfinite(score)
    except OverflowError:
        return False


def _fail(name: str, value: Any, fault: str) -> NoReturn:
    raise DataError(f"{name}: {_short(value)} {fault}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
