"""Hidden states to logits over the vocabulary, and the loss that never needs all of them.

Shapes: B batch, T tokens, D width, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.config import HeadConfig
from ownlm.nn.feedforward import ACTIVATIONS
from ownlm.nn.linear import Linear
from ownlm.nn.loss import cross_entropy
from ownlm.nn.norm import make_norm


class Output(NamedTuple):
    """What a model returns: hidden states, and the means to turn them into logits on demand."""

    hidden: Tensor
    """(B, T, D): the stack's output, after the last norm."""
    features: Tensor
    """(B, T, D'): what multiplies the output matrix; `hidden` unless the head transforms it."""
    weight: Tensor
    """(V, D')."""
    bias: Tensor | None = None
    softcap: float = 0.0
    task: "Output | None" = None
    """What a second head says of the same hidden states (BERT's next sentence)."""
    balance: Tensor | None = None
    """In training, nats a token to add to the loss so that experts are used evenly."""

    @property
    def logits(self) -> Tensor:
        """(B, T, V), computed at each access."""
        return cap(F.linear(self.features, self.weight, self.bias), self.softcap)

    @property
    def last_logits(self) -> Tensor:
        """(B, V): of the last token only, which is all that generation needs."""
        return self._replace(features=self.features[:, -1]).logits

    def cross_entropy(
        self, targets_BT: Tensor, *, ignore: int = -100, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """(sum of nats, number of targets) over targets that are not `ignore`.

        With a large vocabulary the logits exist only piece by piece. `smoothing` spreads so much
        of each target's probability over all of the vocabulary.
        """
        features_ND, targets_N = self.features.flatten(0, -2), targets_BT.flatten()
        return cross_entropy(
            features_ND,
            self.weight,
            self.bias,
            targets_N,
            ignore=ignore,
            softcap=self.softcap,
            smoothing=smoothing,
        )


class Head(nn.Module):
    """The output matrix (its own, or the token table when tied) and what stands before it."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        c = self.config = config
        width = c.width or c.dim
        if c.transform is not None:
            self.dense = Linear(c.dim, width, bias=c.transform_bias)
            self.norm = make_norm(c.norm, width, c.norm_eps)
        self.weight = None if c.tied else nn.Parameter(torch.zeros(c.vocab, width))
        self.bias = nn.Parameter(torch.zeros(c.vocab)) if c.bias else None

    def forward(self, hidden_BTD: Tensor, tokens_VD: Tensor) -> Output:
        """The output for the hidden states; `tokens_VD` is the token table."""
        c, features = self.config, hidden_BTD
        if not c.vocab:
            return Output(features, features, features.new_empty(0, c.dim))
        if c.transform is not None:
            features = self.norm(ACTIVATIONS[c.transform](self.dense(features)))
        if c.scale != 1.0:
            features = features * c.scale
        weight = tokens_VD if self.weight is None else self.weight
        return Output(hidden_BTD, features, weight, self.bias, c.softcap)


def cap(logits: Tensor, softcap: float) -> Tensor:
    """Squash logits smoothly into (-softcap, softcap) (Gemma 2, arXiv:2408.00118)."""
    return softcap * torch.tanh(logits / softcap) if softcap else logits
