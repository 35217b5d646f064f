"""A block: residual branches around attention and the feed-forward part.

Shapes: B batch, T tokens, D width.
"""

from typing import Any

from torch import Tensor, nn

from ownlm.nn.attention import SelfAttention
from ownlm.nn.cache import LayerCache
from ownlm.nn.config import StackConfig
from ownlm.nn.dropout import Dropout
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
        y_BTD: Tensor = self.drop(self.body(self.norm_in(x_BTD), *context))
        out_BTD: Tensor = (
            self.norm_out(x_BTD + y_BTD) if self.post else x_BTD + self.norm_out(y_BTD)
        )
        return out_BTD


class Block(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.attn = Sublayer(config, SelfAttention(config))
        self.ffn = Sublayer(config, FeedForward(config))

    def forward(
        self,
        x_BTD: Tensor,
        mask: Mask,
        table: Rotation | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        y_BTD: Tensor = self.ffn(self.attn(x_BTD, mask, table, cache))
        return y_BTD
