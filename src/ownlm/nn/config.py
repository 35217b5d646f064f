"""What a Transformer is made of, as data: each field is a value on an axis that families share.

A field enters here when two families need it. What one family needs alone is a part that the
family's file puts in place. No torch here: option parsing reads these classes.
"""

from dataclasses import dataclass
from typing import Literal

NormKind = Literal["rms", "rms_offset", "layer", "layer_no_bias"]
Activation = Literal["relu", "gelu", "gelu_tanh", "silu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """How rotary frequencies are stretched beyond the length of pretraining."""

    kind: Literal["linear", "llama3", "yarn", "longrope"]
    factor: float
    """New length divided by the original one."""
    original: int = 0
    """Positions of pretraining (llama3, yarn, longrope)."""
    low: float = 1.0
    """llama3: wavelengths above original / low are divided by the factor in full."""
    high: float = 4.0
    """llama3: wavelengths below original / high stay as they are."""
    fast: float = 32.0
    """yarn: dimensions that turn more often than this over the original length stay."""
    slow: float = 1.0
    """yarn: dimensions that turn less often than this are divided by the factor in full."""
    amplitude: float = 1.0
    """yarn, longrope: multiplies cosine and sine, which sharpens attention over long inputs."""
    rounded: bool = True
    """yarn: border dimensions are rounded outwards to whole ones."""
    short_factors: tuple[float, ...] = ()
    """longrope: what divides each frequency while no position is beyond `original`."""
    long_factors: tuple[float, ...] = ()
    """longrope: and from then on. Keys cached before that point keep the short ones."""


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864)."""

    theta: float = 10_000.0
    """Base of the geometric series of wavelengths."""
    share: float = 1.0
    """Part of each head that is rotated; the rest carries no position."""
    scaling: RopeScaling | None = None


@dataclass(frozen=True, kw_only=True)
class PatternConfig:
    """A sparse pattern of attention (nn/pattern.py): a query reaches the union of what is set."""

    block: int = 1
    """Tokens of a block, counted from the beginning of the document."""
    near: int = 0
    """Blocks to each side of the query's own."""
    stride: int = 0
    """Keys at multiples of so many tokens away (Child et al. 2019, arXiv:1904.10509)."""
    summary: int = 0
    """The last tokens of every block (the same paper's fixed pattern)."""
    first: int = 0
    """Blocks at the beginning that see all and are seen by all (arXiv:2004.05150)."""
    last: int = 0
    """Blocks at the end that do; for encoders only, a decoder does not know the end."""
    random: int = 0
    """Further blocks, drawn for each block of queries (arXiv:2007.14062)."""
    seed: int = 0
    """Decides the draw."""


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """What may differ from layer to layer: how far attention looks and how positions enter."""

    window: int = 0
    """Tokens that a query sees, itself included; 0 means all."""
    pattern: PatternConfig | None = None
    """Which of them it sees; None: each."""
    rope: RopeConfig | None = None
    """Rotary positions of this layer; None leaves queries and keys unrotated."""

    @property
    def sight(self) -> tuple[int, PatternConfig | None]:
        """What decides the mask: layers that agree in it share one."""
        return self.window, self.pattern


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig:
    """A mixture of experts in place of the feed-forward part (Shazeer et al. 2017)."""

    count: int
    chosen: int
    """Experts that each token passes through."""
    normalised: bool = True
    """The shares of the chosen ones add up to one."""
    balance: float = 0.0
    """Weight of the balancing loss, in nats a token."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """A stack of equal blocks: attention, perhaps cross attention, feed-forward."""

    layers: int
    dim: int
    heads: int
    hidden: int
    """Inner width of the feed-forward part."""
    kv_heads: int
    """Key and value heads; fewer than `heads` is grouped-query attention (arXiv:2305.13245)."""
    head_dim: int
    causal: bool
    cross: bool = False
    """A second attention that reads the encoder."""
    norm: NormKind
    norm_at: Literal["pre", "post", "both", "branch"] = "pre"
    """Before each branch, after the sum, on both sides of the branch, or after the branch."""
    norm_eps: float = 1e-5
    act: Activation
    gated: bool
    """act(gate(x)) * up(x), as in GLU variants (Shazeer 2020, arXiv:2002.05202)."""
    experts: ExpertsConfig | None = None
    """Each expert is a feed-forward part of width `hidden`; None: there is one for all."""
    parallel: bool = False
    """Attention and feed-forward read the same input and are summed (GPT-J, GPT-NeoX)."""
    bias_qkv: bool = False
    bias_out: bool = False
    """Bias of the attention's output projection."""
    bias_ffn: bool = False
    qk_norm: Literal["", "head", "full"] = ""
    """Normalise queries and keys head by head or over the whole width."""
    kinds: tuple[LayerKind, ...] = (LayerKind(),)
    """Repeated over the layers."""
    scale: float | None = None
    """Factor of the scores; None means head_dim ** -0.5."""
    buckets: tuple[int, int] | None = None
    """Relative position bias: (buckets, farthest distance) (T5, arXiv:1910.10683)."""
    dropout: float = 0.0
    """Of each branch before it is added to the stream."""
    dropout_attention: float = 0.0
    """Of attention probabilities."""
    dropout_hidden: float = 0.0
    """Of the feed-forward part's inner activations."""
    dropout_last: float = 0.0
    """Of what leaves the stack, after the last norm (T5, Transformer-XL, XLNet)."""

    @property
    def windows(self) -> tuple[int, ...]:
        """How far each layer sees."""
        return tuple(self.kind(layer).window for layer in range(self.layers))

    @property
    def qkv(self) -> tuple[int, int, int]:
        """Rows of query, key and value heads in the fused projection."""
        width = self.kv_heads * self.head_dim
        return self.heads * self.head_dim, width, width

    def kind(self, layer: int) -> LayerKind:
        """The kind of one layer."""
        return self.kinds[layer % len(self.kinds)]


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Tokens, positions and segment types to vectors."""

    vocab: int
    dim: int
    width: int = 0
    """Width of the table when narrower than the stack; 0 means `dim`."""
    positions: Literal["none", "learned", "sinusoidal"] = "none"
    max_len: int = 0
    """Rows of the position table."""
    offset: int = 0
    """First row of the position table that is used (BART and RoBERTa skip two)."""
    types: int = 0
    """Segment types (BERT's sentence A and B)."""
    norm: NormKind | None = None
    norm_eps: float = 1e-5
    scale: float = 1.0
    """Multiplies token vectors."""
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Hidden states to logits over the vocabulary."""

    vocab: int
    """0: the model says nothing about the vocabulary."""
    dim: int
    tied: bool
    """Use the token table as the output matrix."""
    width: int = 0
    """Width of the output matrix when narrower than `dim`."""
    bias: bool = False
    transform: Activation | None = None
    """Dense, activation and norm before the output matrix (BERT)."""
    transform_bias: bool = True
    norm: NormKind = "layer"
    norm_eps: float = 1e-12
    scale: float = 1.0
    """Multiplies hidden states before the output matrix."""
    softcap: float = 0.0
    """Logits are squashed into (-softcap, softcap) by tanh; 0 leaves them."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """Hidden states to scores of classes: of the sequence, of each token, of each choice."""

    dim: int
    outputs: int = 0
    """Classes; 0 leaves the pooled vector as it is (BERT's pooler)."""
    bias: bool = True
    """Of the matrix that the classes are read off."""
    pool: Literal["token", "first", "mean", "last"] = "token"
    """No pooling, the first or last real token, or the mean of all real ones."""
    transform: Activation | None = None
    """Dense and activation between the pooled vector and the classes."""
    transform_bias: bool = True
    norm: NormKind | None = None
    """After the activation."""
    norm_eps: float = 1e-5
    dropout_pooled: float = 0.0
    """Of the pooled vector before the dense layer."""
    dropout: float = 0.0
    """Of what the classes are read from."""


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Which table of `initialise.POLICIES` fills a new model, and its scale."""

    policy: Literal["scaled", "plain", "unscaled", "recurrent"] = "scaled"
    std: float = 0.02
