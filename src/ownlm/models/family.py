"""What a family file provides: sizes, both directions of config.json, and a table of names.

No torch here: the sizes are read by option parsing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.hf_config import Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, StackConfig, TaskConfig


@dataclass(frozen=True)
class Row:
    """One line of a table of names: their tensors and ours, `#` standing for the layer number.

    Several on their side are concatenated along the first axis into ours (q, k, v into qkv),
    and split again on the way back.
    """

    theirs: tuple[str, ...]
    ours: str
    transpose: bool = False
    """They keep (in, out), as GPT-2's Conv1D does."""
    sizes: tuple[int, ...] = ()
    """Rows of ours that each of several parts takes; empty: equal shares."""
    zeros: bool = False
    """Our model has no such tensor: written as zeros, and must be zeros when read."""
    lead: bool = False
    """They keep a first axis of one: (1, n) for our (n)."""
    heads: int = 0
    """They keep query, key and value of each of so many heads together (GPT-NeoX, BLOOM)."""
    spread: int = 0
    """They part the last axis into so many: (D, H, K) for (D, H K) (XLNet)."""


@dataclass(frozen=True)
class Names:
    """All rows of a family, and what else may stand in a file."""

    rows: tuple[Row, ...]
    prefix: str = ""
    """Left off by files of the model without its head: "transformer." for GPT-2."""
    ignored: tuple[str, ...] = ()
    """Names that carry nothing here (saved masks, a tied head written twice, heads that this
    model does not use): `#` stands for any number, `*` for anything."""
    copies: tuple[tuple[str, str], ...] = ()
    """A tensor that a file may lack, and the one that it then equals."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Endings that older files spell differently, and ours: (".gamma", ".weight")."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model as data, made from config.json alone."""

    embed: EmbedConfig
    stack: StackConfig
    head: HeadConfig
    form: str = ""
    """The rest of the reference's class name, which tells the head: "ForMaskedLM"."""
    task: TaskConfig | None = None
    """A head over classes, in place of the one over the vocabulary or beside it."""
    source: EmbedConfig | None = None
    encoder: StackConfig | None = None
    """Of an encoder-decoder; `embed` and `stack` then are the decoder's."""
    context: int
    """Tokens the model can see at once."""
    init: InitConfig = field(default_factory=InitConfig)


@dataclass(frozen=True)
class Paper:
    """Where a family is described."""

    title: str
    authors: str
    year: int
    arxiv: str = ""
    """Its number there, such as 2302.13971."""
    place: str = ""
    """Where it is found otherwise."""

    def __str__(self) -> str:
        found = f"arXiv:{self.arxiv}" if self.arxiv else self.place
        return f"{self.title} ({self.authors} {self.year}, {found})"


@dataclass(frozen=True)
class Family:
    """One family: a file in this folder makes it, a line in families.py lists it."""

    name: str
    model_type: str
    """Of config.json."""
    heads: Mapping[str, str]
    """What can stand on its stack, and the reference's class, which `architectures` of
    config.json names; the first is what it is pretrained with."""
    sizes: Mapping[str, ModelConfig]
    """Named complete sizes."""
    to_hf: Callable[[ModelConfig], dict[str, Any]]
    """config.json for a new model."""
    from_hf: Callable[[Reader], Architecture]
    """The architecture that a config.json describes."""
    names: Callable[[Architecture], Names]
    """Tensor names in model.safetensors."""
    papers: tuple[Paper, ...] = ()
    after: str = ""
    """The family that this one is told against; empty for the first."""
    example: str = ""
    """The size that stands for the family where families are compared; empty: the first."""
    adapt: Callable[[Any], None] | None = None
    """Puts parts that only this family has into a model just made (and imports torch itself)."""
    make: Callable[..., Any] | None = None
    """(architecture, family, config.json) to a model whose class or stack is not the usual one
    (and imports torch itself)."""

    @property
    def typical_name(self) -> str:
        """The size that stands for the family."""
        return self.example or next(iter(self.sizes))

    @property
    def typical(self) -> ModelConfig:
        """The same as a configuration."""
        return self.sizes[self.typical_name]


def both(
    theirs: str | tuple[str, ...],
    ours: str,
    *,
    bias: bool = True,
    zero_bias: bool = False,
    transpose: bool = False,
    sizes: tuple[int, ...] = (),
) -> tuple[Row, ...]:
    """Rows of a layer's weight and bias; `zero_bias`: they keep a bias even where we do not."""
    parts = (theirs,) if isinstance(theirs, str) else theirs
    weights, biases = (tuple(f"{part}.{leaf}" for part in parts) for leaf in ("weight", "bias"))
    weight = Row(weights, f"{ours}.weight", transpose, sizes)
    if not (bias or zero_bias):
        return (weight,)
    return weight, Row(biases, f"{ours}.bias", sizes=sizes, zeros=not bias)


def with_stack(a: Architecture, **changes: Any) -> Architecture:
    """The same architecture but for some fields of its stack."""
    return replace(a, stack=replace(a.stack, **changes))


def refuse(config: ModelConfig, *fields: str) -> None:
    """ConfigError for fields that were set although the family has no such choice."""
    for name in fields:
        if getattr(config, name):
            raise ConfigError(
                f"{config.family} has no choice of {name.replace('_', ' ')}",
                where=f"model.{name}",
                next_command=f"leave out model.{name}, or choose another family",
            )


def only_tied(c: ModelConfig) -> None:
    """ConfigError where an output matrix of its own is asked for and the family has none."""
    if not c.tied:
        raise ConfigError(
            f"{c.family} always uses the token table as output",
            where="model.tied",
            next_command="leave out model.tied",
        )


def sizes_to_hf(c: ModelConfig) -> dict[str, Any]:
    """The keys of config.json that most families spell alike."""
    return {
        "vocab_size": c.vocab,
        "max_position_embeddings": c.context,
        "hidden_size": c.dim,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "tie_word_embeddings": c.tied,
        "initializer_range": 0.02,
    }
