"""What objectives need of the text and of its tokenizer."""

from collections.abc import Sequence
from typing import Any

from ownlm.data.config import DataConfig
from ownlm.data.shards import PreparedData
from ownlm.errors import ConfigError, DataError
from ownlm.objectives.make import CONTROLS, SENTINELS
from ownlm.recipes.config import RunConfig
from ownlm.tokenization.config import TokenizerConfig

HOLDS = {"codes": "codes", "seq2seq": "pairs"}
"""What the documents of prepared data must be, by the objective; else plain text will do."""
FEW = 2_000
"""Below so many ids a vocabulary has room for a few of T5's hundred sentinels only."""


def data_for(data: DataConfig, kind: str) -> dict[str, Any]:
    """What an objective asks of raw text; ConfigError for what it cannot use."""
    if data.codes and kind != "codes":
        raise ConfigError(
            f"the objective {kind!r} uses no control codes",
            where="data.codes",
            next_command="--objective.kind codes, or leave out --data.codes",
        )
    if data.pairs and kind != "seq2seq":
        raise ConfigError(
            f"the objective {kind!r} learns from text, not from pairs",
            where="data.pairs",
            next_command="--objective.kind seq2seq, or leave out --data.pairs",
        )
    return {"codes": data.codes or "auto"} if kind == "codes" else {"pairs": kind == "seq2seq"}


def controls(tokenizer: TokenizerConfig, kinds: Sequence[str]) -> tuple[str, ...]:
    """Control tokens of the tokenizer: the user's, then those of the objectives."""
    needed = [name for kind in kinds for name in CONTROLS.get(kind, ())]
    if tokenizer.kind == "wordpiece":
        needed = [name for name in needed if name in SENTINELS]  # BERT's own do for the rest
    if tokenizer.vocab_size < FEW:
        needed = [name for name in needed if name not in SENTINELS[20:]]
    return tuple(dict.fromkeys((*tokenizer.controls, *needed)))


def kinds_of(config: RunConfig) -> list[str]:
    """The kinds of objectives of a settled run."""
    return [task.objective.kind for task in config.mixture.tasks] or [config.objective.kind]


def require_held(config: RunConfig, data: PreparedData) -> None:
    """DataError for prepared data whose documents are not what the run learns from."""
    kinds = kinds_of(config)
    needed = " + ".join(HOLDS.get(kind, "text") for kind in kinds)
    if data.holds == needed or (needed == "text" and data.holds == "codes"):
        return
    options = {"codes": " --data.codes folder", "pairs": " --data.pairs"}.get(needed, "")
    raise DataError(
        f"holds {data.holds}, and the objective {' + '.join(map(repr, kinds))} learns from "
        f"{needed}",
        where=str(data.folder),
        next_command=f"ownlm prepare TEXT --out DATA{options}",
    )
