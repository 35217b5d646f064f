"""The table of families: one line each."""

from collections.abc import Mapping
from typing import Any

from ownlm.config import nearest
from ownlm.errors import CheckpointError, ConfigError
from ownlm.models.bart import BART
from ownlm.models.bert import BERT
from ownlm.models.config import ModelConfig
from ownlm.models.ctrl import CTRL
from ownlm.models.distilbert import DISTILBERT
from ownlm.models.electra import ELECTRA
from ownlm.models.family import Family
from ownlm.models.gemma import GEMMA, GEMMA2
from ownlm.models.gemma3 import GEMMA3
from ownlm.models.gpt import GPT2
from ownlm.models.gpt1 import GPT1
from ownlm.models.gpt3 import GPT3
from ownlm.models.llama import LLAMA
from ownlm.models.lstm import LSTM
from ownlm.models.mistral import MISTRAL
from ownlm.models.mixtral import MIXTRAL, QWEN3_MOE
from ownlm.models.modernbert import MODERNBERT
from ownlm.models.neox import GPT_NEOX
from ownlm.models.olmo import OLMO2
from ownlm.models.patterns import PREFIX
from ownlm.models.phi import PHI3
from ownlm.models.qwen import QWEN2, QWEN3
from ownlm.models.roberta import ROBERTA
from ownlm.models.smollm import SMOLLM3
from ownlm.models.t5 import MT5, T5
from ownlm.models.transformer import MARIAN
from ownlm.models.transformer_xl import TRANSFORMER_XL
from ownlm.models.xlnet import XLNET

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        GPT1,
        GPT2,
        GPT3,
        CTRL,
        GPT_NEOX,
        LLAMA,
        MISTRAL,
        QWEN2,
        QWEN3,
        OLMO2,
        SMOLLM3,
        GEMMA,
        GEMMA2,
        GEMMA3,
        PHI3,
        MIXTRAL,
        QWEN3_MOE,
        BERT,
        ROBERTA,
        MODERNBERT,
        DISTILBERT,
        ELECTRA,
        T5,
        MT5,
        BART,
        MARIAN,
        TRANSFORMER_XL,
        XLNET,
        LSTM,
    )
}

SIZES: dict[str, ModelConfig] = {
    name: size for family in FAMILIES.values() for name, size in family.sizes.items()
}
"""All named sizes."""


def family_named(name: str) -> Family:
    """The family a configuration asks for; ConfigError names the nearest."""
    if name in FAMILIES:
        return FAMILIES[name]
    raise ConfigError(_unknown(name, list(FAMILIES)), where="model.family")


def family_of(values: Mapping[str, Any], where: str = "config.json") -> Family:
    """The family of a config.json by its `model_type`, sparse or not.

    CheckpointError tells what is known and what is nearest: by the spelling, or else by the
    keys that both have.
    """
    kind = values.get("model_type")
    known = {family.model_type: family for family in FAMILIES.values()}
    if isinstance(kind, str) and kind.removeprefix(PREFIX) in known:
        return known[kind.removeprefix(PREFIX)]
    close = nearest(str(kind), list(known)) if kind is not None else ""
    hint = close or f"by its keys {_alike(values)}"
    what = "missing" if kind is None else f"{str(kind)[:80]!r} is unknown"
    raise CheckpointError(
        f"model_type: {what}, nearest is {hint}; known: {', '.join(known)}", where=where
    )


def _alike(values: Mapping[str, Any]) -> str:
    """The family whose config.json shares most of its keys with this one."""

    def share(family: Family) -> float:
        keys = family.to_hf(family.typical).keys()
        return len(keys & values.keys()) / len(keys | values.keys())

    return max(FAMILIES.values(), key=share).model_type


def size_named(name: str) -> ModelConfig:
    """A named size; ConfigError names the nearest."""
    if name in SIZES:
        return SIZES[name]
    raise ConfigError(_unknown(name, list(SIZES)), where="model")


def _unknown(name: str, known: list[str]) -> str:
    close = nearest(name, known)
    hint = f", nearest is {close}" if close else ""
    return f"{name[:80]!r} is unknown{hint}; known: {', '.join(known)}"
