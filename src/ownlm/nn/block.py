"""A block: residual branches around attention and the feed-forward part.

Shapes: B batch, T tokens, D width.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn

from ownlm.nn.attention import CrossAttention, SelfAttention
from ownlm.nn.cache import LayerCache
from ownlm.nn.config import StackConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.experts import Experts
from ownlm.nn.feedforward import FeedForward
from ownlm.nn.mask import Mask
from ownlm.nn.norm import make_norm
from ownlm.nn.position import Rotation


class Sublayer(nn.Module):
    """A residual branch; where its norms stand decides the architecture.

    pre     x + body(norm(x))           GPT-2, LLaMA, T5
    post    norm(x + body(x))           the 2017 Transformer, BERT, GPT-1
    both    x + norm(body(norm(x)))     Gemma 2 and 3
    branch  x + norm(body(x))           OLMo 2
    """

    def __init__(self, config: StackConfig, body: nn.Module) -> None:
        super().__init__()
        c = config
        self.body, self.post = body, c.norm_at == "post"
        self.norm_in, self.norm_out = (
            make_norm(c.norm, c.dim, c.norm_eps) if c.norm_at in places else nn.Identity()
            for places in (("pre", "both"), ("post", "both", "branch"))
        )
        self.drop = Dropout(c.dropout)

    def forward(self, x_BTD: Tensor, *context: Any) -> Tensor:
        """(B, T, D) to (B, T, D); `context` goes to the body."""
        y_BTD = self.branch(x_BTD, *context)
        out_BTD: Tensor = (
            self.norm_out(x_BTD + y_BTD) if self.post else x_BTD + self.norm_out(y_BTD)
        )
        return out_BTD

    def branch(self, x_BTD: Tensor, *context: Any) -> Tensor:
        """What is added to the stream, before a norm that follows it."""
        y_BTD: Tensor = self.drop(self.body(self.norm_in(x_BTD), *context))
        return y_BTD


class Context(NamedTuple):
    """What one layer needs besides the stream."""

    mask: Mask
    table: Rotation | None = None
    cache: LayerCache | None = None
    memory_BSD: Tensor | None = None
    """The encoder's output, for cross attention."""
    memory_mask: Mask | None = None
    routes: list[Tensor] | None = None
    """Where routers of experts write their probabilities, (B T, E) a layer."""


class Block(nn.Module):
    """Attention, cross attention where there is an encoder to read, feed-forward."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.attn = Sublayer(config, SelfAttention(config))
        self.cross = Sublayer(config, CrossAttention(config)) if config.cross else None
        self.ffn = Sublayer(config, FeedForward(config))

    def forward(self, x_BTD: Tensor, c: Context) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x_BTD = self.attn(x_BTD, c.mask, c.table, c.cache)
        if self.cross is not None:
            x_BTD = self.cross(x_BTD, c.memory_mask, c.memory_BSD, c.cache)
        y_BTD: Tensor = self.ffn(x_BTD)
        return y_BTD


class ExpertBlock(Block):
    """A block whose feed-forward part is a mixture of experts."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config)
        assert config.experts is not None, "a stack without experts has plain blocks"
        self.ffn = Sublayer(config, Experts(config, config.experts))

    def forward(self, x_BTD: Tensor, c: Context) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x_BTD = self.attn(x_BTD, c.mask, c.table, c.cache)
        y_BTD: Tensor = self.ffn(x_BTD, c.routes)
        return y_BTD


class ParallelBlock(Block):
    """Attention and feed-forward side by side: x + attn(norm(x)) + ffn(norm'(x))."""

    def forward(self, x_BTD: Tensor, c: Context) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return x_BTD + self.attn.branch(x_BTD, c.mask, c.table, c.cache) + self.ffn.branch(x_BTD)
