"""What a run learns from: prepared data and the tokenizer that made it, opened or made."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ownlm import files
from ownlm.config import read_yaml
from ownlm.data.prepare import prepare_all
from ownlm.data.report import counted
from ownlm.data.shards import PreparedData, is_prepared, open_prepared
from ownlm.errors import ConfigError, DataError
from ownlm.log import say
from ownlm.recipes.config import RunConfig
from ownlm.recipes.mixed import corpora
from ownlm.recipes.needs import require_held
from ownlm.recipes.stages import shown_stages
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer

RECIPE = "recipe.yaml"
OWN, OTHER = "data", ".data.other"


class Material(NamedTuple):
    """Tokens and their tokenizer."""

    data: PreparedData
    tokenizer: Tokenizer

    @property
    def identity(self) -> dict[str, str]:
        """The digests that a run is bound to."""
        return {"data": self.data.digest, "tokenizer": self.tokenizer.digest}

    @property
    def tokens_per_byte(self) -> float | None:
        """Of the text for training; turns nats a token into bits a byte."""
        stream = self.data.train
        return stream.tokens / stream.text_bytes if stream.text_bytes else None


@contextlib.contextmanager
def opened(config: RunConfig, *, begun: bool) -> Iterator[Material]:
    """The material of a run: a prepared folder as it is, raw text prepared into the run's data/.

    A run that has `begun` goes on with its own data/. Where its configuration now names other
    text, that is prepared beside it, for the trainer to compare digests, and removed again.
    Raises ConfigError when no text is named, and all of `data.prepare`.
    """
    path, own, other = config.data.path, config.folder / OWN, config.folder / OTHER
    if path and is_prepared(Path(path)):
        yield _checked(open_prepared(Path(path)), config)
    elif not (begun and is_prepared(own)):
        yield _checked(_prepared(config, own), config)
    elif not _changed(config):
        yield _checked(open_prepared(own), config)
    else:
        try:
            yield _checked(_prepared(config, other), config)
        finally:
            if other.exists():
                files.remove_folder(other)


def _prepared(config: RunConfig, out: Path) -> PreparedData:
    if not all(data.path for data in corpora(config).values()):
        raise ConfigError(
            "no text to learn from",
            where="data.path",
            next_command="--data FILE_OR_FOLDER",
        )
    with shown_stages() as tell:
        data = prepare_all(corpora(config), out, config.tokenizer, tell)
    say(f"data: {summary(data)}")
    return data


def summary(data: PreparedData) -> str:
    """Documents and tokens, in a line."""
    return (
        f"{counted(data.report['documents'], 'document')}, "
        f"{counted(data.train.tokens, 'token')} to train on, "
        f"{data.validation.tokens:,} to validate, {data.manifest['vocab_size']:,} token ids"
    )


def _checked(data: PreparedData, config: RunConfig) -> Material:
    """DataError unless shards, the tokenizer beside them, and the one asked for are of a kind."""
    require_held(config, data)
    tokenizer = load_tokenizer(data.tokenizer_folder)
    found = {data.tokenizer_folder: tokenizer.digest}
    if config.tokenizer.path:
        asked = Path(config.tokenizer.path)
        found[asked] = load_tokenizer(asked).digest
    for place, digest in found.items():
        if digest != data.tokenizer_digest:
            raise DataError(
                f"not the tokenizer that made the shards in {data.folder}: digest "
                f"{digest[:16]}, expected {data.tokenizer_digest[:16]}",
                where=str(place),
                next_command=f"prepare the text again: ownlm prepare TEXT --out {data.folder}",
            )
    return Material(data, tokenizer)


def _changed(config: RunConfig) -> bool:
    """Whether text or tokenizer are described otherwise than when the run began."""
    path = config.folder / RECIPE
    before: dict[str, Any] = read_yaml(path) if path.is_file() else {}
    now = config.model_dump(mode="json")
    return any(now[part] != before.get(part) for part in ("data", "tokenizer", "mixture"))
