"""A mixture of experts: many feed-forward parts, of which each token passes through a few.

Shapes: B batch, T tokens, N = B T, D width, F inner width, E experts, C chosen ones.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.config import ExpertsConfig, StackConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.feedforward import ACTIVATIONS


class Experts(nn.Module):
    """sum over the chosen e of share_e * down_e(act(gate_e(x)) * up_e(x)).

    (Shazeer et al. 2017, arXiv:1701.06538; Mixtral, arXiv:2401.04088.) `gate_up` holds the
    rows of gate then up of expert after expert, `down` those of expert after expert.
    """

    def __init__(self, config: StackConfig, experts: ExpertsConfig) -> None:
        super().__init__()
        c, self.config = config, experts
        self.act = ACTIVATIONS[c.act]
        self.router = nn.Linear(c.dim, experts.count, bias=False)
        self.gate_up = nn.Linear(c.dim, experts.count * 2 * c.hidden, bias=False)
        self.down = nn.Linear(c.hidden, experts.count * c.dim, bias=False)
        self.drop = Dropout(c.dropout_hidden)

    def forward(self, x_BTD: Tensor, routes: list[Tensor] | None = None) -> Tensor:
        """(B, T, D) to (B, T, D); the router's probabilities (N, E) are added to `routes`."""
        x_ND = x_BTD.flatten(0, 1)
        scores_NE = self.router(x_ND).float().softmax(dim=-1)
        if routes is not None:
            routes.append(scores_NE)
        shares_NC, chosen_NC = scores_NE.topk(self.config.chosen, dim=-1)
        if self.config.normalised:
            shares_NC = shares_NC / shares_NC.sum(dim=-1, keepdim=True)
        gates = self.gate_up.weight.chunk(self.config.count)
        downs = self.down.weight.chunk(self.config.count)
        y_ND = torch.zeros_like(x_ND)
        for expert, (gate_up, down) in enumerate(zip(gates, downs, strict=True)):
            rows, places = (chosen_NC == expert).nonzero(as_tuple=True)
            out = self._expert(x_ND[rows], gate_up, down) * shares_NC[rows, places, None]
            y_ND = y_ND.index_add(0, rows, out.to(y_ND.dtype))
        return y_ND.view_as(x_BTD)

    def _expert(self, x_MD: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        gate_MF, up_MF = F.linear(x_MD, gate_up).chunk(2, dim=-1)
        return F.linear(self.drop(self.act(gate_MF) * up_MF), down)


def imbalance(routes: Sequence[Tensor], chosen: int, mask_BT: Tensor | None = None) -> Tensor:
    """E * sum over e of (choices of e a token) * (mean probability of e), at least `chosen`.

    The balancing loss of the Switch Transformer (Fedus et al. 2021, arXiv:2101.03961, eq. 4-6),
    over all layers at once; padding (0 in the mask) does not count.
    """
    scores_LNE = torch.stack(tuple(routes))
    choices_LNE = torch.zeros_like(scores_LNE).scatter(-1, scores_LNE.topk(chosen).indices, 1.0)
    real_N = scores_LNE.new_ones(scores_LNE.shape[1])
    if mask_BT is not None:
        real_N = (mask_BT > 0).flatten().to(scores_LNE.dtype)
    weight_N1 = (real_N / (len(routes) * real_N.sum()))[:, None]
    often_E, likely_E = ((x * weight_N1).sum(dim=(0, 1)) for x in (choices_LNE, scores_LNE))
    return len(often_E) * (often_E * likely_E).sum()
