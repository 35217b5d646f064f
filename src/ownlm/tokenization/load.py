"""Reading a tokenizer from disk, with every fault named before the library sees the file."""

from pathlib import Path
from typing import Any

from ownlm.errors import DataError
from ownlm.files import readable
from ownlm.tokenization.check import check, parse_object
from ownlm.tokenization.tokenizer import FILE, SETTINGS_FILE, Tokenizer

LARGEST = 256 << 20
"""Bytes; the largest tokenizer.json in use (262,144 tokens) has 33 MB."""
_PLACES = ("", "tokenizer", "model")
"""Where below a folder: a model, prepared data, a run."""


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json or of a folder that holds one.

    Raises DataError for a file that is missing, is no tokenizer, or contradicts itself.
    """
    file = _find(path)
    settings = _settings(file.with_name(SETTINGS_FILE))
    try:
        text = _read(file)
        check(text)
        return Tokenizer(text, settings)
    except DataError as error:
        raise DataError(
            error.what,
            where=error.where or str(file),
            next_command=error.next_command
            or "take another tokenizer, or train one: ownlm tokenizer train PATH --out FOLDER",
        ) from None


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for place in _PLACES:
        if (path / place / FILE).is_file():
            return path / place / FILE
    raise DataError(
        f"no {FILE} here",
        where=str(path),
        next_command="ownlm tokenizer train PATH --out FOLDER makes one",
    )


def _read(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise DataError(f"{readable(size)} is no tokenizer; {readable(LARGEST)} is the limit")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(file)) from None


def _settings(file: Path) -> dict[str, Any]:
    """The values of tokenizer_config.json; none when there is no such file."""
    if not file.exists():
        return {}
    try:
        return parse_object(_read(file))
    except DataError as error:
        raise DataError(error.what, where=str(file)) from None
