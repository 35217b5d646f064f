"""What a run learns: the objective that its model can have, and the tokens that this needs."""

from typing import Any

from torch import nn

from ownlm.data.loader import Loader
from ownlm.data.shards import PreparedData
from ownlm.errors import ConfigError, DataError
from ownlm.inspection.architecture import sketch
from ownlm.models.config import ModelConfig
from ownlm.models.generator import WithGenerator, build_pair
from ownlm.models.load import build_any, decoder_start, hf_values
from ownlm.models.model import PREFIX_LM, Model
from ownlm.nn.stack import recompute
from ownlm.objectives.make import CONTROLS, SENTINELS, make_objective, settled
from ownlm.objectives.objective import Objective
from ownlm.recipes.config import RunConfig
from ownlm.tokenization.tokenizer import Tokenizer

HOLDS = {"codes": "codes", "seq2seq": "pairs"}
"""What the documents of prepared data must be, by the objective; else plain text will do."""
FEW = 2_000
"""Below so many ids a vocabulary has room for a few of T5's hundred sentinels only."""


def with_objective(config: RunConfig) -> RunConfig:
    """`config` with its objective settled, and with the control tokens that this needs for a
    tokenizer that is still to be trained. ConfigError, before any text is read, for a model that
    cannot be made or cannot learn it."""
    model = sketch(hf_values(_sized(config.model)))
    if config.train.recompute == "on" and not recompute(model):
        raise ConfigError(
            f"{config.model.family} carries a memory from segment to segment, which a second pass "
            "through its blocks would change",
            where="train.recompute",
            next_command="--train.recompute off with a smaller --train.micro-batch",
        )
    objective = settled(config.objective, model.architecture, config.model.family)
    values: dict[str, Any] = {"objective": objective.model_dump()}
    values["data"] = _data(config, objective.kind)
    values["train"] = {"documents": config.train.documents or objective.kind == "seq2seq"}
    if not config.tokenizer.path:
        values["tokenizer"] = {"controls": controls(config, objective.kind)}
    return config.with_values(values, "the objective")


def _data(config: RunConfig, kind: str) -> dict[str, Any]:
    """What the objective asks of raw text; ConfigError for codes that nothing would use."""
    codes = config.data.codes
    if codes and kind != "codes":
        raise ConfigError(
            f"the objective {kind!r} uses no control codes",
            where="data.codes",
            next_command="--objective.kind codes, or leave out --data.codes",
        )
    if config.data.pairs and kind != "seq2seq":
        raise ConfigError(
            f"the objective {kind!r} learns from text, not from pairs",
            where="data.pairs",
            next_command="--objective.kind seq2seq, or leave out --data.pairs",
        )
    return {"codes": codes or "auto"} if kind == "codes" else {"pairs": kind == "seq2seq"}


def require_held(config: RunConfig, data: PreparedData) -> None:
    """DataError for prepared data whose documents are not what the objective learns from."""
    needed = HOLDS.get(config.objective.kind, "text")
    if data.holds == needed or (needed == "text" and data.holds == "codes"):
        return
    options = {"codes": " --data.codes folder", "pairs": " --data.pairs"}.get(needed, "")
    raise DataError(
        f"holds {data.holds}, and the objective {config.objective.kind!r} learns from {needed}",
        where=str(data.folder),
        next_command=f"ownlm prepare TEXT --out DATA{options}",
    )


def controls(config: RunConfig, kind: str) -> tuple[str, ...]:
    """Control tokens of the tokenizer: the user's, then those of the objective."""
    tokenizer, needed = config.tokenizer, CONTROLS.get(kind, ())
    if tokenizer.kind == "wordpiece":
        needed = tuple(name for name in needed if name in SENTINELS)  # BERT's own do for the rest
    if tokenizer.vocab_size < FEW:
        needed = tuple(name for name in needed if name not in SENTINELS[20:])
    return tuple(dict.fromkeys((*tokenizer.controls, *needed)))


def objective_of(config: RunConfig, tokenizer: Tokenizer) -> Objective:
    """The objective of a settled configuration."""
    start = decoder_start(hf_values(_sized(config.model)))
    return make_objective(config.objective, tokenizer, start)


def loader(config: RunConfig, data: PreparedData, objective: Objective) -> Loader:
    """Training text in the order of the seed."""
    train, length = config.train, objective.window(config.model.context)
    return Loader(
        data.train,
        length,
        train.batch,
        train.seed,
        train.documents,
        partners=objective.partners,
        begins=objective.begins(data.train, length),
    )


def fresh_model(config: RunConfig) -> nn.Module:
    """What is trained: the model, and the generator beside it where the objective has one."""
    seed = config.train.seed
    if config.objective.kind == "replaced":
        return build_pair(config.model, seed=seed)
    model = build_any(config.model, seed=seed)
    if config.objective.kind == "prefix":
        model.config[PREFIX_LM] = True
    return model


def wanted(model: nn.Module) -> Model:
    """The model that a run is for, without what is trained beside it."""
    model = model.model if isinstance(model, WithGenerator) else model
    assert isinstance(model, Model)
    return model


def _sized(model: ModelConfig) -> ModelConfig:
    """With some vocabulary, where the tokenizer is still to decide it."""
    return model.model_copy(update={"vocab": model.vocab or 1_000})
