"""Recipes by family and size: `bert-tiny`, `llama-small`, `t5-base`, ...

Shapes are those of the BERT miniatures (Turc et al. 2019, arXiv:1908.08962). All learn with Muon,
which was better than AdamW in each family compared, though not at as many rates. Rates of `tiny`
and `mini` are the best of those compared in benchmarks/RESULTS.md, or a lower one that is safer in
longer runs. Those of `small` and `base` follow a rule and were not measured.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ownlm.data.config import DataConfig
from ownlm.models.config import ModelConfig
from ownlm.recipes.config import RunConfig
from ownlm.tokenization.config import TokenizerConfig
from ownlm.training.config import OptimizerConfig, ScheduleConfig, TrainConfig


class Size(NamedTuple):
    """How large a model is, and what goes with that."""

    layers: int
    """Blocks; of an encoder-decoder on each side."""
    dim: int
    heads: int
    context: int
    """Tokens; of a family with a memory those of one segment."""
    vocab: int
    batch: int
    """Contexts an update."""
    meant: str


class Learner(NamedTuple):
    """What is a family's own in its recipes."""

    family: str
    tokenizer: str
    rate: float
    """Of Muon at size tiny."""
    learns: str
    model: Mapping[str, Any] = MappingProxyType({})
    segments: int = 1
    """Contexts of a window, where a memory joins them: a batch has so many times fewer windows."""
    tokens: int = 0
    """Of an update at least: one token in seven is hidden and teaches something, and with few of
    them a model stays long at the level of guessing by frequency."""
    grouped: bool = False
    """Two query heads share a key head."""
    rate_of_mini: float = 6e-3
    """Of Muon at size mini."""


# fmt: off
SIZES = {
    "tiny":  Size(2, 128, 2, 128, 4096, 16, "seconds to minutes on one core"),
    "mini":  Size(4, 256, 4, 256, 8192, 32, "some minutes for a few megabytes of text"),
    "small": Size(4, 512, 8, 512, 16_384, 64, "tens of megabytes: a night, or a GPU"),
    "base":  Size(12, 768, 12, 512, 32_000, 256, "gigabytes, and a GPU"),
}

BIASED = {"bias": True}
LEARNERS = {
    "gpt":             Learner("gpt2", "bpe", 6e-3, "GPT-2: the next token."),
    "llama":           Learner("llama", "bpe", 6e-3, "LLaMA: the next token."),
    "ctrl":            Learner("ctrl", "bpe", 6e-3,
                               "CTRL: the next token, under control codes.", BIASED),
    "qwen":            Learner("qwen3", "bpe", 6e-3, "Qwen 3: the next token.", grouped=True),
    "transformer_xl":  Learner("transformer-xl", "bpe", 6e-3,
                               "Transformer-XL: the next token, with memory.", segments=4),
    "bert":            Learner("bert", "wordpiece", 3e-3,
                               "BERT: hidden tokens, next sentence.", BIASED, tokens=8192,
                               rate_of_mini=3e-3),
    "roberta":         Learner("roberta", "bpe", 6e-3, "RoBERTa: hidden tokens.", BIASED),
    "modernbert":      Learner("modernbert", "bpe", 6e-3, "ModernBERT: hidden tokens."),
    "electra":         Learner("electra", "wordpiece", 3e-3,
                               "ELECTRA: which tokens were replaced.", BIASED, tokens=8192,
                               rate_of_mini=1.5e-3),
    "xlnet":           Learner("xlnet", "unigram", 1.2e-2,
                               "XLNet: tokens in random order, with memory.", segments=4),
    "t5":              Learner("t5", "unigram", 6e-3, "T5: hidden spans."),
    "bart":            Learner("bart", "bpe", 6e-3,
                               "BART: text put in order and filled in.", BIASED),
    "transformer":     Learner("marian", "bpe", 6e-3,
                               "The 2017 Transformer: hidden spans.", BIASED),
}
# fmt: on

USUAL = "mini"
"""The size of a family's recipe that names none: `bert` is `bert-mini`."""


def rate_at(learner: Learner, dim: int) -> float:
    """The rate for a width: measured for tiny and mini, beyond as 1 / width, which is the rule of
    maximal update parametrisation (Yang et al. 2022, arXiv:2203.03466), not a measurement. (From
    tiny to mini the best rates fell less than that.)"""
    mini = SIZES["mini"].dim
    return learner.rate if dim < mini else float(f"{learner.rate_of_mini * mini / dim:.2g}")


def sized(name: str, size: str) -> Callable[[], RunConfig]:
    """The recipe of a family at a size."""
    learner, s = LEARNERS[name], SIZES[size]

    def make() -> RunConfig:
        shape = {"layers": s.layers, "dim": s.dim, "heads": s.heads, "context": s.context}
        shared = {"kv_heads": s.heads // 2} if learner.grouped else {}
        return RunConfig(
            recipe=f"{name}-{size}",
            epochs=4.0,
            data=DataConfig(),
            tokenizer=TokenizerConfig.model_validate(
                {"kind": learner.tokenizer, "vocab_size": s.vocab}
            ),
            model=ModelConfig.model_validate(
                {"family": learner.family, **shape, **shared, **learner.model}
            ),
            optimizer=OptimizerConfig(kind="muon", lr=rate_at(learner, s.dim)),
            schedule=ScheduleConfig(kind="cosine", warmup=100),
            train=TrainConfig(
                steps=0, batch=max(s.batch, learner.tokens // s.context) // learner.segments
            ),
        )

    make.__doc__ = learner.learns
    return make
