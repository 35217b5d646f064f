"""From the parts of a foreign tokenizer to a Tokenizer: tokenizer.json, built and then checked.

Whatever files a tokenizer came in, here it becomes the one form that everything else reads,
that `transformers` opens, and that a model folder is saved with.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ownlm.errors import DataError
from ownlm.tokenization.around import template
from ownlm.tokenization.check import check
from ownlm.tokenization.controls import refusals
from ownlm.tokenization.settings import ROLES, Added, Settings
from ownlm.tokenization.tokenizer import PASSING, Tokenizer


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The sections of a tokenizer.json, and which of its tokens are more than pieces of text."""

    model: dict[str, Any]
    """The `model` section, with its vocabulary."""
    normalizer: Any = None
    pre_tokenizer: Any = None
    decoder: Any = None
    """Components of the `tokenizers` library."""
    controls: Mapping[str, int] = field(default_factory=dict)
    """Control tokens that the vocabulary itself marks, or that follow it."""
    texts: Iterable[str] = ()
    """Tokens of the vocabulary that are found whole in a text, before the model sees it."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Names that the vocabulary gives to roles, where the settings give none."""
    passing: int = 0
    """Ids at the end that merges pass through and that mean the unknown token in a text."""


def assemble(parts: Parts, settings: Settings, where: str) -> Tokenizer:
    """The tokenizer; DataError with `where` when it contradicts itself."""
    model = _renamed(parts.model, settings.added)
    ids = _ids(model)
    added = _added(parts, settings, ids)
    known = ids | {entry["content"]: id for id, entry in added.items()}
    roles = _roles(parts, settings, known)
    kind = settings.unsaid
    single, pair = (_ends(form, settings) for form in (kind.single, kind.pair))
    spec = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added[id] for id in sorted(added)],
        "normalizer": section(parts.normalizer),
        "pre_tokenizer": section(parts.pre_tokenizer),
        "post_processor": template(single, pair, roles, known),
        "decoder": section(parts.decoder),
        "model": model,
    }
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    values |= {f"{role}_token": name for role, name in roles.items()} | settings.kept()
    values |= {PASSING: parts.passing} if parts.passing else {}
    try:
        text = json.dumps(spec, ensure_ascii=False)
        check(text)
        return Tokenizer(text, values)
    except DataError as error:
        raise DataError(
            error.what, where=error.where or where, next_command=error.next_command
        ) from None


def section(component: Any) -> Any:
    """A component of the library as tokenizer.json writes it."""
    return None if component is None else json.loads(component.__getstate__())


def _renamed(model: dict[str, Any], added: Mapping[int, Added]) -> dict[str, Any]:
    """Reserved places of a vocabulary under the names that the settings gave them."""
    vocab = model["vocab"]
    if not isinstance(vocab, dict) or not added:
        return model
    places = {id: token for token, id in vocab.items()}
    names = {
        places[id]: entry.content
        for id, entry in added.items()
        if id in places and entry.special and entry.content not in vocab
    }
    if not names:
        return model
    return model | {"vocab": {names.get(token, token): id for token, id in vocab.items()}}


def _ids(model: Mapping[str, Any]) -> dict[str, int]:
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        return vocab
    return {token: id for id, (token, _) in enumerate(vocab)}


def _added(parts: Parts, settings: Settings, ids: Mapping[str, int]) -> dict[int, dict[str, Any]]:
    """Entries of `added_tokens` by id: what the settings add or name, and what the vocabulary
    marks. A name that has no id anywhere is no token."""
    entries = {id: _entry(id, token) for id, token in settings.added.items()}
    ids = dict(ids) | dict(parts.controls) | {entry["content"]: id for id, entry in entries.items()}
    for name in parts.texts:
        plain = Added(content=name, normalized="▁" in name)  # spaces are ▁ once normalised
        entries.setdefault(ids[name], _entry(ids[name], plain))
    named = {name: Added(content=name, special=True) for name in parts.controls}
    named |= {name: Added(content=name, special=True) for name in parts.roles.values()}
    for name, token in (named | settings.controls()).items():
        if name in ids:
            entries[ids[name]] = _entry(ids[name], token)
    return entries


def _entry(id: int, token: Added) -> dict[str, Any]:
    return {"id": id, **token.model_dump()}


def _roles(parts: Parts, settings: Settings, known: Mapping[str, int]) -> dict[str, str]:
    """Who plays which role, of tokens that exist: as the settings say, else the vocabulary, else
    the kind."""
    found = {}
    for role in ROLES:
        said = f"{role}_token" in settings.values
        token = settings.role(role)
        name = token.content if token else None
        if not said and role in parts.roles:
            name = parts.roles[role]
        if name in known:
            found[role] = str(name)
    return found


def _ends(form: str, settings: Settings) -> str:
    """A template with its beginning and end as `add_bos_token` and `add_eos_token` want them."""
    words = form.split()
    for role in ("bos", "eos"):
        wanted = settings.flag(f"add_{role}_token", role in words)
        if not wanted:
            words = [word for word in words if word != role]
        elif role not in words:
            words = [role, *words] if role == "bos" else [*words, role]
    return " ".join(words)


def model_of(make: Any, **values: Any) -> dict[str, Any]:
    """The `model` section of an empty model of the library, with `values` filled in."""
    with refusals():
        empty: dict[str, Any] = json.loads(make().__getstate__())
    return empty | values
