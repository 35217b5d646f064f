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
