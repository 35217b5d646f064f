"""How the next token is chosen. No torch here: option parsing reads this."""

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
