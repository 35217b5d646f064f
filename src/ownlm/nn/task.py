"""Heads over classes: of a sequence, of each token, of each choice; and pooling.

Shapes: B batch, T tokens, D width, C classes.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from ownlm.nn.config import TaskConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.feedforward import ACTIVATIONS
from ownlm.nn.head import Output
from ownlm.nn.norm import make_norm


class TaskHead(nn.Module):
    """Pool, perhaps transform, and read the classes off."""

    def __init__(self, config: TaskConfig) -> None:
        super().__init__()
        c = self.config = config
        if c.transform is not None:
            self.dense = nn.Linear(c.dim, c.dim, bias=c.transform_bias)
            self.norm = make_norm(c.norm, c.dim, c.norm_eps) if c.norm else nn.Identity()
        self.out = nn.Linear(c.dim, c.outputs, bias=c.bias) if c.outputs else None
        self.drop_pooled, self.drop = Dropout(c.dropout_pooled), Dropout(c.dropout)

    def forward(self, hidden_BTD: Tensor, mask_BT: Tensor | None = None) -> Output:
        """An output whose logits are (B, C), or (B, T, C) without pooling."""
        c, features = self.config, pool(hidden_BTD, mask_BT, self.config.pool)
        if c.transform is not None:
            dense = self.dense(self.drop_pooled(features))
            features = self.norm(ACTIVATIONS[c.transform](dense))
        if self.out is None:
            return Output(hidden_BTD, features, features.new_empty(0, c.dim))
        return Output(hidden_BTD, self.drop(features), self.out.weight, self.out.bias)

    def begin(self, prior_C: Tensor) -> None:
        """Let a head that has not learned yet, whose bias is zeros, answer `prior_C` at first."""
        if self.out is not None and self.out.bias is not None and not self.out.bias.any():
            with torch.no_grad():
                self.out.bias.copy_(prior_C)


def pool(
    hidden_BTD: Tensor,
    mask_BT: Tensor | None,
    kind: Literal["token", "first", "mean", "last"],
) -> Tensor:
    """(B, D) of the real tokens, wherever the padding stands; "token" leaves (B, T, D)."""
    if kind == "token":
        return hidden_BTD
    real_BT = hidden_BTD.new_ones(hidden_BTD.shape[:2]) if mask_BT is None else (mask_BT > 0)
    if kind == "mean":
        shares_BT = real_BT / real_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.einsum("btd,bt->bd", hidden_BTD, shares_BT.to(hidden_BTD.dtype))
    if kind == "first":
        place_B = real_BT.int().argmax(dim=1)
    else:
        place_B = real_BT.shape[1] - 1 - real_BT.int().flip(1).argmax(dim=1)
    rows_B = torch.arange(hidden_BTD.shape[0], device=place_B.device)
    return hidden_BTD[rows_B, place_B]
