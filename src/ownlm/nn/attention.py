"""Attention: one fused projection, grouped heads, one replaceable kernel.

Shapes: B batch, T query tokens, S key tokens, D width, H query heads, G key/value heads,
K head width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn import fused
from ownlm.nn.cache import LayerCache
from ownlm.nn.config import StackConfig
from ownlm.nn.dropout import draw_seed, kept, mix
from ownlm.nn.head import cap
from ownlm.nn.linear import Linear
from ownlm.nn.mask import Mask
from ownlm.nn.norm import make_norm
from ownlm.nn.position import Rotation, rotate


def attend(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Mask, scale: float, dropout: float = 0.0
) -> Tensor:
    """softmax(q k^T scale + mask) v, (B, H, T, K): the only place that calls a kernel."""
    if fused.usable(q_BHTK, k_BGSK) and (ranges := mask.ranges) is not None:
        seed = draw_seed() if dropout else torch.tensor(0)
        q, k, v = (x.transpose(1, 2) for x in (q_BHTK, k_BGSK, v_BGSK))
        lo, hi = (bound.expand(q.shape[:2]) for bound in ranges)
        return fused.attention(q, k, v, lo, hi, scale, dropout, seed, mask.bias).transpose(1, 2)
    return F.scaled_dot_product_attention(
        q_BHTK,
        k_BGSK,
        v_BGSK,
        attn_mask=_alike(mask.tensor, q_BHTK),
        dropout_p=dropout,
        is_causal=mask.triangle,
        scale=scale,
        enable_gqa=q_BHTK.shape[1] != k_BGSK.shape[1],
    )


def _alike(mask: Tensor | None, q_BHTK: Tensor) -> Tensor | None:
    """What is added to scores, in their format; a mask of what is seen stays as it is."""
    return mask if mask is None or mask.dtype == torch.bool else mask.to(q_BHTK.dtype)


def attend_plainly(
    q_BHTK: Tensor,
    k_BGSK: Tensor,
    v_BGSK: Tensor,
    mask: Mask,
    scale: float,
    dropout: float = 0.0,
    seed: Tensor | None = None,
    softcap: float = 0.0,
) -> Tensor:
    """The same, step by step (Vaswani et al. 2017, arXiv:1706.03762, eq. 1): the reference.

    `seed` names the dropout mask that the native kernel computes from it; `softcap` squashes
    scores into (-softcap, softcap), which no fused kernel here can.
    """
    weights_BHTS = weigh(q_BHTK, k_BGSK, mask, scale, softcap)
    v_BHSK = each_head(v_BGSK, q_BHTK)
    if dropout and seed is not None:
        weights_BHTS = weights_BHTS * kept_weights(weights_BHTS, seed, dropout)
    else:
        weights_BHTS = F.dropout(weights_BHTS, dropout)
    return weights_BHTS.to(v_BHSK.dtype) @ v_BHSK


def weigh(q_BHTK: Tensor, k_BGSK: Tensor, mask: Mask, scale: float, softcap: float = 0.0) -> Tensor:
    """softmax(q k^T scale + mask), (B, H, T, S) in float32: how much each query reads of each key,
    which the kernels never hold as a whole."""
    scores_BHTS = cap((q_BHTK @ each_head(k_BGSK, q_BHTK).mT).float() * scale, softcap)
    if mask.triangle:
        seen = torch.ones(scores_BHTS.shape[-2:], dtype=torch.bool, device=scores_BHTS.device)
        scores_BHTS = scores_BHTS.masked_fill(~seen.tril(), -torch.inf)
    elif mask.tensor is not None and mask.tensor.dtype == torch.bool:
        scores_BHTS = scores_BHTS.masked_fill(~mask.tensor, -torch.inf)
    elif mask.tensor is not None:
        scores_BHTS = scores_BHTS + mask.tensor
    return scores_BHTS.softmax(dim=-1)


def each_head(x_BGSK: Tensor, q_BHTK: Tensor) -> Tensor:
    """Keys or values for every query head, (B, H, S, K)."""
    return x_BGSK.repeat_interleave(q_BHTK.shape[1] // x_BGSK.shape[1], dim=1)


def kept_weights(weights_BHTS: Tensor, seed: Tensor, p: float) -> Tensor:
    """The factors 0 or 1 / (1 - p) that kernels/attention.cpp gives the weights."""
    B, H, T, S = weights_BHTS.shape
    heads = mix((seed + torch.arange(B * H)) & 0xFFFFFFFF).view(B, H, 1, 1)
    places = torch.arange(T)[:, None] * S + torch.arange(S)
    return kept(places, heads, p) / (1 - p)


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself.

    `qkv` holds the rows of all query heads, then key heads, then value heads: one product
    instead of three. `o` returns to the stream.
    """

    softcap = 0.0
    """Scores are squashed into (-softcap, softcap) where a family does so; 0: they are not."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        c = config
        self.head_dim, self.dropout = c.head_dim, c.dropout_attention
        self.scale = c.head_dim**-0.5 if c.scale is None else c.scale
        self.widths = c.qkv
        self.qkv = Linear(c.dim, sum(self.widths), bias=c.bias_qkv)
        self.o = Linear(self.widths[0], c.dim, bias=c.bias_out)
        self.whole = c.qk_norm == "full"
        self.q_norm, self.k_norm = (self._make_qk_norm(c, heads) for heads in (c.heads, c.kv_heads))

    def forward(
        self,
        x_BTD: Tensor,
        mask: Mask,
        table: Rotation | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) to (B, T, D); a cache adds the keys and values of earlier tokens."""
        q_BHTK, k_BGTK, v_BGTK = self.project(x_BTD, table)
        dropout = self.dropout if self.training else 0.0
        if cache is None:
            y_BHTK = self.attend(q_BHTK, k_BGTK, v_BGTK, mask, dropout)
        else:
            y_BHTK = cache.attend(self.attend, q_BHTK, k_BGTK, v_BGTK, mask, dropout)
        y_BTD: Tensor = self.o(y_BHTK.transpose(1, 2).flatten(2))
        return y_BTD

    def attend(
        self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Mask, dropout: float
    ) -> Tensor:
        """What queries read, (B, H, T, K); a family that scores otherwise replaces this."""
        return attend(q_BHTK, k_BGSK, v_BGSK, mask, self.scale, dropout)

    def project(
        self, x_BTD: Tensor, table: Rotation | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, K), keys and values (B, G, T, K), in their places."""
        q, k, v = self.qkv(x_BTD).split(self.widths, dim=-1)
        q_BHTK, k_BGTK = self._normed(q, self.q_norm), self._normed(k, self.k_norm)
        if table is not None:
            q_BHTK, k_BGTK = rotate(q_BHTK, table), rotate(k_BGTK, table)
        return q_BHTK, k_BGTK, to_heads(v, self.head_dim)

    def weights(self, x_BTD: Tensor, mask: Mask, table: Rotation | None = None) -> Tensor:
        """How much each token reads of each, (B, H, T, T), whichever kernel `forward` takes."""
        q_BHTK, k_BGTK, _ = self.project(x_BTD, table)
        return weigh(q_BHTK, k_BGTK, mask, self.scale, self.softcap)

    @staticmethod
    def _make_qk_norm(config: StackConfig, heads: int) -> nn.Module:
        if not config.qk_norm:
            return nn.Identity()
        width = config.head_dim * (heads if config.qk_norm == "full" else 1)
        return make_norm(config.norm, width, config.norm_eps)

    def _normed(self, x_BTW: Tensor, norm: nn.Module) -> Tensor:
        if self.whole:
            return to_heads(norm(x_BTW), self.head_dim).to(x_BTW.dtype)
        x_BHTK: Tensor = norm(to_heads(x_BTW, self.head_dim))
        return x_BHTK.to(x_BTW.dtype)


class CrossAttention(nn.Module):
    """Multi-head attention of a decoder to the encoder's output.

    `kv` holds the rows of all key heads, then those of all value heads.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        c = config
        self.head_dim, self.dropout = c.head_dim, c.dropout_attention
        self.scale = c.head_dim**-0.5 if c.scale is None else c.scale
        queries, *keys_values = c.qkv
        self.q = Linear(c.dim, queries, bias=c.bias_qkv)
        self.kv = Linear(c.dim, sum(keys_values), bias=c.bias_qkv)
        self.o = Linear(queries, c.dim, bias=c.bias_out)

    def forward(
        self,
        x_BTD: Tensor,
        mask: Mask | None,
        memory_BSD: Tensor | None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) to (B, T, D), reading the encoder's output (B, S, D), or what a cache has kept
        of it.

        With a cache the output may have less rows: each then serves several of `x_BTD`.
        """
        q_BHTK = to_heads(self.q(x_BTD), self.head_dim)
        dropout = self.dropout if self.training else 0.0
        if cache is None:
            assert memory_BSD is not None and mask is not None, "there is something to read"
            y_BHTK = self.attend(q_BHTK, *self.read(memory_BSD), mask, dropout)
        else:
            new_BSD = memory_BSD if cache.memory is None else None
            made = None if new_BSD is None else self.read(new_BSD)
            y_BHTK = cache.attend_memory(self.attend, q_BHTK, made, mask, dropout)
        y_BTD: Tensor = self.o(y_BHTK.transpose(1, 2).flatten(2))
        return y_BTD

    def attend(
        self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Mask, dropout: float
    ) -> Tensor:
        """What queries read, (B, H, T, K)."""
        return attend(q_BHTK, k_BGSK, v_BGSK, mask, self.scale, dropout)

    def read(self, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's output, (B, G, S, K)."""
        k, v = self.kv(memory_BSD).chunk(2, dim=-1)
        return to_heads(k, self.head_dim), to_heads(v, self.head_dim)

    def weights(self, x_BTD: Tensor, mask: Mask, memory_BSD: Tensor) -> Tensor:
        """How much each token reads of each one of the encoder's output, (B, H, T, S)."""
        q_BHTK = to_heads(self.q(x_BTD), self.head_dim)
        return weigh(q_BHTK, self.read(memory_BSD)[0], mask, self.scale)


def to_heads(x_BTW: Tensor, head_dim: int) -> Tensor:
    """(B, T, H K) to (B, H, T, K)."""
    x_BTHK: Tensor = x_BTW.unflatten(-1, (-1, head_dim))
    return x_BTHK.transpose(1, 2)
