"""Two-stream attention (XLNet, Yang et al. 2019, arXiv:1906.08237, section 2.3).

The content stream knows the token at its place, the query stream only the place: what it says
of a token can be compared with it. Both read the keys and values of the content stream.

Shapes: B batch, T tokens, S keys (remembered ones first), P predicted places, H heads,
K head width, R distances, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.cache import Cache
from ownlm.nn.config import StackConfig
from ownlm.nn.embedding import table
from ownlm.nn.mask import Mask, Span
from ownlm.nn.relative import RelativeScores, by_distance, waves
from ownlm.nn.segments import RelativeStack
from ownlm.nn.stack import Memory


class Order(NamedTuple):
    """In which order the tokens of a segment are predicted, and which."""

    blocked: Tensor
    """(B, T, T): query i may not see key j."""
    places: Tensor
    """(B, P): where the query stream stands."""


def factorise(steps_BT: Tensor, predicted_BT: Tensor) -> tuple[Order, Tensor]:
    """The masks of a factorisation order (section 2.2), and which of its places are real, (B, P).

    `steps_BT` says when each token is predicted; only where `predicted_BT` (booleans) is true
    does it matter. The other tokens are context: seen by all, and seeing nothing that is
    predicted. Rows that predict less than others are filled up with places that are not real.

        tokens      a  b  c  d         b sees a, d;  c sees a, b, d
        predicted   .  x  x  .
        steps       .  0  1  .
    """
    steps_BT = steps_BT.masked_fill(~predicted_BT, -1)
    later_BTT = steps_BT[:, :, None] <= steps_BT[:, None, :]
    most = int(predicted_BT.sum(dim=1).max())
    places = predicted_BT.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    return Order(later_BTT & predicted_BT[:, None], places), predicted_BT.gather(1, places)


class Sight(NamedTuple):
    """What the queries of a stream see, and from where."""

    mask: Mask
    index_BPS: Tensor | None = None
    """The distance of each query and key as a row of r; None: queries stand at the end."""
    other_BPS: Tensor | None = None
    """Query and key are in different sentences; None: sentences are not told apart."""


class StreamAttention(RelativeScores):
    """Scores of content, of distance, and of whether two tokens are in the same sentence (2.5)."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__(config)
        self.types = table(2, self.widths[0])
        self.types_bias = nn.Parameter(torch.zeros(config.heads, config.head_dim))

    def forward(
        self, x_BPD: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, r_HRK: Tensor, sight: Sight
    ) -> Tensor:
        """(B, P, D) to (B, P, D), from keys, values and distances that both streams share."""
        q_BHPK = self.ask(x_BPD)
        moved = self.distance_scores(q_BHPK, r_HRK)
        if sight.index_BPS is None:
            moved = by_distance(moved, k_BHSK.shape[2])
        else:
            moved = moved.gather(-1, sight.index_BPS[:, None].expand(*moved.shape[:3], -1))
        scores = self.content_scores(q_BHPK, k_BHSK) + moved
        if sight.other_BPS is not None:
            scores = scores + self.type_scores(q_BHPK, sight.other_BPS)
        return self.answer(scores, v_BHSK, sight.mask)

    def type_scores(self, q_BHPK: Tensor, other_BPS: Tensor) -> Tensor:
        """(q + s) times the vector of the same sentence or of another, (B, H, P, S)."""
        types_2HK = self.types.weight.unflatten(-1, (-1, self.head_dim))
        by_type = (q_BHPK + self.types_bias[:, None]) @ types_2HK.permute(1, 2, 0)
        same, other = by_type[..., :1], by_type[..., 1:]
        return torch.where(other_BPS[:, None], other, same)


class GivenMask(Mask):
    """A mask that was worked out elsewhere: booleans (B, T, S), True where seen."""

    def __init__(self, span: Span, seen_BTS: Tensor) -> None:
        super().__init__(span, causal=False)
        self._tensor = seen_BTS[:, None]


class TwoStreamStack(RelativeStack):
    """Blocks that carry a content stream and, when asked, a query stream beside it."""

    def __init__(self, config: StackConfig, memory: int, clamp: int = 0, reuse: int = 0) -> None:
        super().__init__(config, memory, clamp, reuse)
        for block in self.blocks:
            block.attn.body = StreamAttention(config)  # type: ignore[union-attr]
        self.mask = table(1, config.dim)

    def forward(
        self,
        x_BTD: Tensor,
        span: Span,
        cache: Cache | None = None,
        memory: Memory | None = None,
        routes: list[Tensor] | None = None,
        types_BT: Tensor | None = None,
    ) -> Tensor:
        """The content stream alone, (B, T, D): every token sees every other, and itself."""
        causal = self.config.causal
        sight = Sight(Mask(span, causal=causal), None, other_type(span, types_BT))
        return self.streams(x_BTD, self.waves(span, x_BTD, causal), sight, None, cache)[0]

    def predict(
        self,
        x_BTD: Tensor,
        span: Span,
        order: Order,
        cache: Cache | None = None,
        types_BT: Tensor | None = None,
    ) -> Tensor:
        """The query stream at `order.places`, (B, P, D)."""
        content, query = masks(span, order, self.config.causal)
        keys = torch.arange(span.past + span.length, device=x_BTD.device)
        index_BPS = keys + (span.length - 1 - order.places)[..., None]
        other_BTS = other_type(span, types_BT)
        other_BPS = None if other_BTS is None else at_places(other_BTS, order.places)
        sights = Sight(content, None, other_BTS), Sight(query, index_BPS, other_BPS)
        return self.streams(x_BTD, self.waves(span, x_BTD, causal=False), *sights, cache)[1]

    def following(self, x_BTD: Tensor, span: Span, cache: Cache | None = None) -> Tensor:
        """From left to right: the query stream one place after each token, (B, T, D)."""
        sight = Sight(Mask(span, causal=True))
        waves_RD = self.waves(span, x_BTD, causal=True, ahead=1)
        return self.streams(x_BTD, waves_RD, sight, sight, cache, ahead=1)[1]

    def streams(
        self,
        h_BTD: Tensor,
        waves_RD: Tensor,
        content: Sight,
        query: Sight | None,
        cache: Cache | None,
        ahead: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Both streams through all layers; the second is empty when nobody asks."""
        places = query.mask.built.shape[-2] if query is not None else 0
        g_BPD = self.drop(self.mask.weight.expand(len(h_BTD), places, -1))
        for layer, block in enumerate(self.blocks):
            body: StreamAttention = block.attn.body  # type: ignore[assignment,union-attr]
            k, v = body.read(h_BTD, None if cache is None else cache.layers[layer])
            r_HRK = body.distances(waves_RD)
            if query is not None:
                g_BPD = block.ffn(block.attn(g_BPD, k, v, r_HRK, query))  # type: ignore[operator]
            h_BTD = block.ffn(block.attn(h_BTD, k, v, r_HRK[:, ahead:], content))  # type: ignore[operator]
        return self.drop_last(h_BTD), self.drop_last(g_BPD)

    def waves(self, span: Span, like: Tensor, causal: bool, ahead: int = 0) -> Tensor:
        """Sinusoids (R, D) of all distances that occur."""
        made = waves(span, self.config.dim, causal=causal, clamp=self.clamp, ahead=ahead)
        dropped: Tensor = self.drop(made.to(like.dtype))
        return dropped


def masks(span: Span, order: Order, causal: bool) -> tuple[Mask, Mask]:
    """What the content stream sees, itself always included, and what the query stream sees."""
    seen = Mask(span, causal=causal).built
    seen_BTS = seen[:, 0] if seen.ndim == 4 else seen.expand(len(order.blocked), -1, -1)
    blocked_BTS = F.pad(order.blocked, (span.past, 0))
    own = F.pad(torch.eye(span.length, dtype=torch.bool, device=seen.device), (span.past, 0))
    query_BPS = at_places(seen_BTS & ~blocked_BTS, order.places)
    return GivenMask(span, seen_BTS & (~blocked_BTS | own)), GivenMask(span, query_BPS)


def at_places(x_BTS: Tensor, places_BP: Tensor) -> Tensor:
    """The rows of some queries, (B, P, S)."""
    return x_BTS.gather(1, places_BP[..., None].expand(-1, -1, x_BTS.shape[-1]))


def other_type(span: Span, types_BT: Tensor | None) -> Tensor | None:
    """Whether query and key are in different sentences, (B, T, S); memory is in the first."""
    if types_BT is None:
        return None
    return types_BT[:, :, None] != F.pad(types_BT, (span.past, 0))[:, None, :]
