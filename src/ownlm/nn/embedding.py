"""Token ids to the vectors that enter the stack.

Shapes: B batch, T tokens, D width.
"""

import torch
from torch import Tensor, nn

from ownlm.nn.config import EmbedConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.norm import make_norm
from ownlm.nn.position import sinusoids


class Embedding(nn.Module):
    """Token vectors, plus positions and segment types where the family has them."""

    def __init__(self, config: EmbedConfig) -> None:
        super().__init__()
        c = self.config = config
        width = c.width or c.dim
        self.tokens = table(c.vocab, width)
        self.positions = table(c.max_len, width) if c.positions == "learned" else None
        self.types = table(c.types, width) if c.types else None
        self.norm = make_norm(c.norm, width, c.norm_eps) if c.norm else nn.Identity()
        self.drop = Dropout(c.dropout)
        self.project = nn.Linear(width, c.dim) if width != c.dim else nn.Identity()

    def forward(self, ids_BT: Tensor, positions: Tensor, types_BT: Tensor | None = None) -> Tensor:
        """Ids and positions ((T,) or (B, T)) to (B, T, D); types default to the first."""
        c = self.config
        x_BTD: Tensor = self.tokens(ids_BT)
        if c.scale != 1.0:
            x_BTD = x_BTD * x_BTD.new_tensor(c.scale)
        if self.positions is not None:
            x_BTD = x_BTD + self.positions(positions + c.offset)
        elif c.positions == "sinusoidal":
            x_BTD = x_BTD + sinusoids(positions + c.offset, x_BTD.shape[-1]).to(x_BTD.dtype)
        if self.types is not None:
            x_BTD = x_BTD + (self.types.weight[0] if types_BT is None else self.types(types_BT))
        y_BTD: Tensor = self.project(self.drop(self.norm(x_BTD)))
        return y_BTD


def table(rows: int, width: int) -> nn.Embedding:
    """Vectors by number, zero until `initialise` or a file fills them.

    (nn.Embedding draws random numbers, which on the meta device costs 2 s of imports.)
    """
    made: nn.Embedding = nn.Embedding.from_pretrained(torch.zeros(rows, width), freeze=False)
    return made
