"""What a user chooses about a model; everything else follows from the family."""

from pydantic import Field, model_validator

from ownlm.config import Config
from ownlm.errors import ConfigError


class ModelConfig(Config):
    """The architecture of a model to be trained from scratch."""

    family: str = "gpt2"
    """Architecture: a name in the table of models/families.py, such as gpt2 or llama."""
    layers: int = Field(default=6, ge=1, le=1_000)
    """Blocks."""
    dim: int = Field(default=384, ge=1, le=131_072)
    """Width of the residual stream."""
    heads: int = Field(default=6, ge=1, le=1_024)
    """Query heads."""
    kv_heads: int = Field(default=0, ge=0, le=1_024)
    """Key and value heads; 0: as many as query heads."""
    head_dim: int = Field(default=0, ge=0, le=4_096)
    """Width of a head; 0: dim / heads."""
    hidden: int = Field(default=0, ge=0, le=1_048_576)
    """Inner width of the feed-forward part; 0: the family's ratio to dim."""
    context: int = Field(default=256, ge=1, le=16_777_216)
    """Tokens the model can see at once."""
    vocab: int = Field(default=0, ge=0, le=16_777_216)
    """Size of the vocabulary; 0: the tokenizer's."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of activations dropped in training."""
    tied: bool = True
    """Use one matrix for the token table and the output."""
    bias: bool = False
    """Give linear layers (and GPT-2's norms) a bias."""
    act: str = Field(default="", pattern="^(|gelu|gelu_new|relu|silu)$")
    """Activation of the feed-forward part, by its Hugging Face name; empty: the family's. On a CPU
    the erf form `gelu` takes a third of the time of GPT-2's tanh form `gelu_new`."""
    norm_eps: float = Field(default=1e-5, gt=0.0, lt=1.0)
    """Added to the variance in norms."""
    rope_theta: float = Field(default=10_000.0, gt=1.0)
    """Base of rotary wavelengths (families with rotary positions)."""
    window: int = Field(default=0, ge=0, le=16_777_216)
    """Tokens that layers with a sliding window see; 0: what the family usually has."""
    experts: int = Field(default=0, ge=0, le=1_024)
    """Feed-forward parts to choose from; 0: the family's number (mixtral, qwen3-moe)."""
    experts_chosen: int = Field(default=0, ge=0, le=1_024)
    """Experts that each token passes through; 0: the family's number."""
    memory: int = Field(default=0, ge=0, le=16_777_216)
    """Tokens of earlier segments that are remembered; 0: as many as the context (transformer-xl,
    xlnet)."""
    pattern: str = Field(default="", pattern="^(|window|strided|fixed|longformer|bigbird)$")
    """Sparse attention in every layer, whatever the family (models/patterns.py): window, strided,
    fixed, longformer or bigbird; empty: what the family has."""
    pattern_size: int = Field(default=0, ge=0, le=16_777_216)
    """window and longformer: keys less than so many tokens away are seen; strided: the stride;
    fixed and bigbird: tokens of a block. 0: derived from the context."""
    pattern_globals: int = Field(default=0, ge=0, le=16_777_216)
    """longformer: tokens at the beginning that see and are seen by all; fixed: tokens at the end
    of each block that all later ones see. 0: a sixteenth of the size."""
    pattern_random: int = Field(default=0, ge=0, le=1_024)
    """bigbird: random blocks that each block sees; 0: three."""

    decoder_layers: int = Field(default=0, ge=0, le=1_000)
    """Blocks of the decoder of an encoder-decoder; 0: as many as `layers`."""
    head: str = ""
    """What the model answers where a family has several heads, named as in Hugging Face class
    names: ForMaskedLM, ForSequenceClassification, ...; empty: what it is pretrained with."""
    labels: int = Field(default=2, ge=1, le=65_536)
    """Classes of a classification head; 1: regression."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "ModelConfig":
        if not self.head_dim and self.dim % self.heads:
            raise ConfigError(
                f"dim {self.dim} is not a multiple of heads {self.heads}",
                where="model.heads",
                next_command=f"choose heads among {_divisors(self.dim)}, or set head_dim",
            )
        if self.kv_heads and self.heads % self.kv_heads:
            raise ConfigError(
                f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}",
                where="model.kv_heads",
                next_command=f"choose kv_heads among {_divisors(self.heads)}",
            )
        return self


class Word2VecConfig(Config):
    """How vectors of tokens are trained (models/word2vec.py); the paper's values."""

    dim: int = Field(default=100, ge=1, le=131_072)
    """Width of a vector."""
    window: int = Field(default=5, ge=1, le=1_000)
    """Tokens to each side that may count as neighbours."""
    negatives: int = Field(default=5, ge=1, le=1_000)
    """Random tokens that each neighbour is told from."""
    subsample: float = Field(default=1e-3, ge=0.0, le=1.0)
    """Tokens more frequent than this are left out at random; 0: none is."""
    epochs: int = Field(default=5, ge=1)
    """Passes over the text."""
    rate: float = Field(default=0.025, gt=0.0)
    """Step size at the beginning."""
    batch: int = Field(default=256, ge=1)
    """Pairs that are learned from at once."""
    seed: int = Field(default=1, ge=0)
    """Decides the first vectors and all that is drawn."""


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, min(number, 128) + 1) if number % n == 0)
