"""The position-wise part of a block.

Shapes: B batch, T tokens, D width, F inner width.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.config import Activation, StackConfig
from ownlm.nn.dropout import Dropout
from ownlm.nn.linear import Linear

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "tanh": F.tanh,
}


class FeedForward(nn.Module):
    """down(act(up(x))), or down(act(gate(x)) * up(x)) with gate and up in one product.

    The rows of `gate_up` are those of gate, then those of up.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        c = config
        self.act, self.gated = ACTIVATIONS[c.act], c.gated
        if c.gated:
            self.gate_up = Linear(c.dim, 2 * c.hidden, bias=c.bias_ffn)
        else:
            self.up = Linear(c.dim, c.hidden, bias=c.bias_ffn)
        self.down = Linear(c.hidden, c.dim, bias=c.bias_ffn)
        self.drop = Dropout(c.dropout_hidden)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        y_BTD: Tensor = self.down(self.drop(self.inner(x_BTD)))
        return y_BTD

    def inner(self, x_BTD: Tensor) -> Tensor:
        """The inner activations, (B, T, F)."""
        if not self.gated:
            return self.act(self.up(x_BTD))
        gate_BTF, up_BTF = self.gate_up(x_BTD).chunk(2, dim=-1)
        y_BTF: Tensor = self.act(gate_BTF) * up_BTF
        return y_BTF
