"""How the next token is chosen, and how many texts an engine writes at once. No torch here: option
parsing reads this."""

from pydantic import Field

from ownlm.config import Config


class SamplingConfig(Config):
    """Which tokens may come next, and how one of them is drawn."""

    temperature: float = Field(default=0.0, ge=0.0, le=100.0)
    """0 always takes the likeliest token; 1 samples as the model predicts; more is wilder."""
    top_k: int = Field(default=0, ge=0)
    """Sample among this many likeliest tokens; 0: all."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Sample among the fewest tokens whose probabilities reach this sum."""
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)
    """Drop tokens less likely than this share of the likeliest one's probability."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The same seed gives the same text."""
    repetition_penalty: float = Field(default=1.0, gt=0.0, le=100.0)
    """Logits of tokens that were read or written are divided by this where they are positive, and
    multiplied where not (CTRL, arXiv:1909.05858, 4.1); 1: none."""
    presence_penalty: float = Field(default=0.0, ge=-100.0, le=100.0)
    """Taken from the logit of each token that was written; negative favours them."""
    frequency_penalty: float = Field(default=0.0, ge=-100.0, le=100.0)
    """The same as many times as the token was written."""
    logit_bias: dict[int, float] = Field(default_factory=dict)
    """Added to the logits of tokens, by their ids."""


class WritingConfig(Config):
    """How texts are written in batches: greedily, or by beam search."""

    beams: int = Field(default=1, ge=1, le=64)
    """Beginnings of a text that are kept at once; 1 always takes the likeliest token."""
    length_penalty: float = Field(default=1.0, ge=-10.0, le=10.0)
    """A text's log-probability is divided by its length to this power (with several beams): more
    favours longer texts, 0 the likeliest one."""
    max_tokens: int = Field(default=200, ge=0)
    """Tokens to write at most."""
    min_tokens: int = Field(default=0, ge=0)
    """Tokens to write at least, before the end."""
    no_repeat: int = Field(default=0, ge=0)
    """No so many tokens in a row come twice in a text; 0: they may."""


class EngineConfig(Config):
    """How many texts are written at once, and what they may take."""

    rows: int = Field(default=32, ge=1, le=4096)
    """Texts that are read or written at once, each beam counted as one; others wait."""
    block: int = Field(default=16, ge=1, le=1024)
    """Tokens whose keys and values are kept together, and shared by texts that begin alike."""
    memory_bytes: int = Field(default=0, ge=0)
    """What keys and values may take; 0: what all texts at full length need, or half of the
    memory that is free."""
    chunk: int = Field(default=256, ge=1)
    """Tokens of prompts and sources that are read in one step: more reads them faster, less lets
    those who are writing wait less. A source is read at once."""
    prefix_cache: bool = True
    """Whether the beginning of a prompt that was read before is not read again."""
    lookup: int = Field(default=0, ge=0, le=64)
    """Tokens that are guessed at once from what the text says already, and kept where the model
    agrees: the same text in fewer steps. 0: none."""
