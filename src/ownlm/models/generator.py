"""ELECTRA's two networks in one module: a small masked LM that shares the other's embeddings."""

from typing import Any

from torch import nn

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any, hf_values
from ownlm.models.model import SingleStack

SHARE = 4
"""The generator's width and heads as a part of the model's (a quarter is best, section 3.2)."""


class WithGenerator(nn.Module):
    """The model that is wanted, and the generator that it is trained beside.

    Tables of tokens, positions and sentences are shared (section 3.1). Only the model is written
    to a model folder; checkpoints hold both.
    """

    def __init__(self, model: SingleStack, generator: SingleStack) -> None:
        super().__init__()
        self.model, self.generator = model, generator
        for name in ("tokens", "positions", "types"):
            setattr(generator.embed, name, getattr(model.embed, name))

    @property
    def vocab(self) -> int:
        """Rows of the token table."""
        return self.model.vocab


def build_pair(config: ModelConfig, *, seed: int) -> WithGenerator:
    """An ELECTRA of the size that `config` names, with its generator."""
    values = hf_values(config)
    model = build_any(values, seed=seed)
    generator = build_any(generator_values(config, values), seed=seed + 1)
    assert isinstance(model, SingleStack) and isinstance(generator, SingleStack)
    return WithGenerator(model, generator)


def generator_values(config: ModelConfig, values: dict[str, Any]) -> dict[str, Any]:
    """config.json of the generator: narrower, as deep, with token vectors of the same width."""
    heads = max(1, config.heads // SHARE)
    small = {"dim": config.dim // config.heads * heads, "heads": heads, "head": "ForMaskedLM"}
    narrow = config.model_copy(update=small | {"hidden": config.hidden // SHARE})
    return hf_values(narrow) | {"embedding_size": values["embedding_size"]}
