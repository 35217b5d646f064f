"""What a run learns: the objective that its model can have, and the tokens that this needs."""

from typing import Any

from torch import nn

from ownlm.data.loader import Loader
from ownlm.data.shards import PreparedData, TokenStream
from ownlm.errors import ConfigError
from ownlm.inspection.architecture import sketch
from ownlm.models.config import ModelConfig
from ownlm.models.generator import WithGenerator, build_pair
from ownlm.models.load import build_any, decoder_start, hf_values
from ownlm.models.model import PREFIX_LM, Model
from ownlm.nn.stack import recompute
from ownlm.objectives.make import FOR, make_objective, settled
from ownlm.objectives.mixture import Mixture, order
from ownlm.objectives.objective import Objective
from ownlm.objectives.room import require_room
from ownlm.recipes.config import RunConfig
from ownlm.recipes.mixed import mixture_of, settled_mixture
from ownlm.recipes.needs import controls, data_for, kinds_of
from ownlm.tokenization.tokenizer import Tokenizer


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
    if config.mixture.tasks:
        return config.with_values(settled_mixture(config, model.architecture), "the mixture")
    objective = settled(config.objective, model.architecture, config.model.family)
    require_room(objective, config.model.context)
    values: dict[str, Any] = {"objective": objective.model_dump()}
    values["data"] = data_for(config.data, objective.kind)
    values["train"] = {"documents": config.train.documents or objective.kind == "seq2seq"}
    if not config.tokenizer.path:
        values["tokenizer"] = {"controls": controls(config.tokenizer, [objective.kind])}
    return config.with_values(values, "the objective")


def writes(config: RunConfig) -> bool:
    """Whether what is trained continues a text."""
    return FOR[kinds_of(config)[0]] == "decoder"


def objective_of(config: RunConfig, tokenizer: Tokenizer) -> Objective:
    """The objective of a settled configuration."""
    start = decoder_start(hf_values(_sized(config.model)))
    if config.mixture.tasks:
        return mixture_of(config, tokenizer, start)
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
        order=order(objective, data.train, length, train.seed),
    )


def text_of_a_row(objective: Objective, stream: TokenStream, context: int) -> int:
    """Tokens of text that a sequence is made from; of a mixture the mean of its tasks'."""
    if isinstance(objective, Mixture):
        return objective.reads(stream, context)
    return objective.window(context)


def fresh_model(config: RunConfig) -> nn.Module:
    """What is trained: the model, and the generator beside it where the objective has one."""
    seed = config.train.seed
    if config.objective.kind == "replaced":
        return build_pair(config.model, seed=seed)
    model = build_any(config.model, seed=seed)
    if kinds_of(config) == ["prefix"]:
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
