"""What the files beside a vocabulary say: roles, control tokens, options.

tokenizer_config.json wins over special_tokens_map.json. Tokens beyond the vocabulary come from
`added_tokens_decoder` in the former, or from added_tokens.json in older folders.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic

from ownlm.errors import DataError
from ownlm.files import readable
from ownlm.tokenization.check import parse_object, validated
from ownlm.tokenization.kinds import KINDS, Kind, kind_of

LARGEST = 256 << 20
"""Bytes; the largest tokenizer.json in use (262,144 tokens) has 33 MB."""
SETTINGS_FILE = "tokenizer_config.json"
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_KEPT = ("chat_template", "model_max_length", "padding_side", "truncation_side")
"""Keys of tokenizer_config.json that a converted tokenizer keeps."""


class Added(pydantic.BaseModel):
    """A token and how it is found in a text, as `added_tokens_decoder` writes it."""

    content: Annotated[str, pydantic.Field(min_length=1)]
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


class _Ids(pydantic.BaseModel):
    """Tokens beyond the vocabulary in both of their forms."""

    decoder: dict[Annotated[int, pydantic.Field(ge=0)], Added] = {}
    added: dict[Annotated[str, pydantic.Field(min_length=1)], Annotated[int, pydantic.Field(ge=0)]]


@dataclass(frozen=True)
class Settings:
    """The files beside a vocabulary, read and checked."""

    values: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[int, Added] = field(default_factory=dict)
    kind: str = ""
    """A key of KINDS, or "" where no file tells."""
    model_type: str = ""
    where: str = SETTINGS_FILE

    @property
    def unsaid(self) -> Kind:
        """What the kind implies where the files are silent."""
        return KINDS.get(self.kind, Kind({}))

    def flag(self, key: str, default: bool) -> bool:
        """true or false; null and an absent key say `default`."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise DataError(f"{key}: expected true or false, found {value!r:.60}", where=self.where)
        return value

    def count(self, key: str, default: int) -> int:
        """A whole number from 0 to a million."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**6:
            raise DataError(
                f"{key}: expected 0 to 1,000,000, found {value!r:.60}", where=self.where
            )
        return value

    def role(self, role: str) -> Added | None:
        """The token that plays a role, by the files, else by the kind."""
        key = f"{role}_token"
        found = self.values[key] if key in self.values else self.unsaid.roles.get(role)
        return _token(found, f"{self.where}: {key}")

    def controls(self) -> dict[str, Added]:
        """All control tokens that the files or the kind name, roles first."""
        tokens = [self.role(role) for role in ROLES]
        tokens += [_token(name, self.where) for name in self.unsaid.others]
        for key in _LISTS:
            listed = self.values.get(key) or []
            entries = listed.values() if isinstance(listed, dict) else listed
            if not isinstance(listed, dict | list):
                raise DataError(f"{key}: expected a list, found {listed!r:.60}", where=self.where)
            tokens += [_token(entry, f"{self.where}: {key}") for entry in entries]
        return {token.content: token for token in tokens if token}

    def kept(self) -> dict[str, Any]:
        """What a converted tokenizer's tokenizer_config.json takes over."""
        return {key: self.values[key] for key in _KEPT if self.values.get(key) is not None}


def read_settings(folder: Path) -> Settings:
    """The settings of a folder; DataError names the file and key that cannot be."""
    files = (SETTINGS_FILE, "special_tokens_map.json", "added_tokens.json", "config.json")
    own, roles, added, model = (_mapping(folder / name) for name in files)
    own |= _templates(folder)
    named, model_type = own.get("tokenizer_class"), model.get("model_type")
    where = str(folder / SETTINGS_FILE)
    ids = {"decoder": own.get("added_tokens_decoder") or {}, "added": added}
    try:
        both = validated(_Ids, ids)
    except DataError as error:
        raise DataError(f"added tokens: {error.what}", where=where) from None
    settings = Settings(
        roles | own,
        {},
        kind_of(str(named or ""), str(model_type or "")),
        str(model_type or ""),
        where,
    )
    return Settings(
        settings.values, _added(both, settings), settings.kind, settings.model_type, where
    )


def _templates(folder: Path) -> dict[str, Any]:
    """Chat templates in files of their own, which go before what tokenizer_config.json says."""
    found = {}
    if (file := folder / "chat_template.jinja").is_file():
        found["default"] = read_text(file)
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found[file.stem] = read_text(file)
    return (
        {"chat_template": found["default"] if [*found] == ["default"] else found} if found else {}
    )


def _added(ids: _Ids, settings: Settings) -> dict[int, Added]:
    controls = settings.controls()
    older = {
        id: Added(content=name, special=name in controls)
        for name, id in ids.added.items()
        if id not in ids.decoder
    }
    return older | ids.decoder


def _token(value: Any, where: str) -> Added | None:
    """A token written as a string or as an object; null is none."""
    if value is None:
        return None
    value = {"content": value} if isinstance(value, str) else value
    try:
        return validated(Added, value).model_copy(update={"special": True})
    except DataError as error:
        raise DataError(error.what, where=where) from None


def _mapping(file: Path) -> dict[str, Any]:
    """A JSON file that may be missing."""
    if not file.is_file():
        return {}
    try:
        return parse_object(read_text(file))
    except DataError as error:
        raise DataError(error.what, where=str(file)) from None


def read_bytes(file: Path) -> bytes:
    """A file of a tokenizer; DataError when it is too large to be one or cannot be read."""
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise DataError(f"{readable(size)} is no tokenizer; {readable(LARGEST)} is the limit")
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(file)) from None


def read_text(file: Path) -> str:
    """The same as UTF-8 text; DataError names the byte that is none."""
    try:
        return read_bytes(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason} at byte {error.start}") from None


def numbered_lines(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file, each with its place for messages ("vocab.txt:7").

    Only a line feed ends a line, with or without a carriage return before it: Unicode's other
    separators are tokens in some vocabularies.
    """
    try:
        lines = read_text(file).split("\n")
    except DataError as error:
        raise DataError(error.what, where=str(file)) from None
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, 1):
        yield f"{file}:{number}", line.removesuffix("\r")
