"""Cross entropy as (sum, count): the division happens once, at the optimizer step.

Shapes: N tokens, D width, V vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    *,
    ignore: int = -100,
    softcap: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Summed cross entropy in nats (float32), and how many targets were not `ignore`."""
    logits_NV = F.linear(hidden_ND, weight_VD, bias_V).float()
    if softcap:
        logits_NV = softcap * torch.tanh(logits_NV / softcap)
    total = F.cross_entropy(logits_NV, targets_N, ignore_index=ignore, reduction="sum")
    return total, (targets_N != ignore).sum()
