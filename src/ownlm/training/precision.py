"""Which number format holds what: the whole policy of a training in one table.

                    fp32 run     bf16 run
    forward         float32      bfloat16     parameters the model computes with
    backward        float32      bfloat16     gradients of one micro-batch
    accumulation    float32      float32      sum over the micro-batches of an update
    master          (forward)    float32      parameters the optimizer moves
    moments         float32      float32

Every parameter follows it, norms and biases too: torch's products and its fused RMS norm take
one format only, and a gain near 1 in bfloat16 costs nothing while its master is float32
(Micikevicius et al., arXiv:1710.03740). Losses, norm statistics and softmax are float32 inside
their kernels. Buffers (rotary tables) keep the format the model gave them.
"""

from typing import Literal

import torch
from torch import Tensor, nn

FORWARD = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Weights:
    """A model's parameters in the two formats of the table; in an fp32 run both are the same."""

    def __init__(self, model: nn.Module, precision: Literal["fp32", "bf16"]) -> None:
        dtype = FORWARD[precision]
        self.live = {name: p for name, p in model.named_parameters() if p.requires_grad}
        for parameter in model.parameters():
            parameter.data = parameter.data.float()
        self.split = dtype != torch.float32
        self.master: dict[str, Tensor] = {n: p.detach() for n, p in self.live.items()}
        if self.split:
            self._sums = {n: torch.empty_like(p) for n, p in self.master.items()}
            for parameter in model.parameters():
                parameter.data = parameter.data.to(dtype)

    def collect(self, first: bool) -> None:
        """Add the gradients of a micro-batch to the float32 sums; `first` begins a new sum."""
        new = [_gradient(parameter) for parameter in self.live.values()]
        if not self.split:
            return  # autograd itself adds to float32 gradients
        sums = list(self._sums.values())
        if first:
            torch._foreach_copy_(sums, new)
        else:
            torch._foreach_add_(sums, new)
        for parameter in self.live.values():
            parameter.grad = None

    def gradients(self) -> dict[str, Tensor]:
        """The float32 sums over the micro-batches so far."""
        if self.split:
            return self._sums
        return {name: _gradient(parameter) for name, parameter in self.live.items()}

    def publish(self) -> None:
        """After an update: round the masters into what the model computes with; drop gradients."""
        if self.split:
            live = [p.data for p in self.live.values()]
            torch._foreach_copy_(live, list(self.master.values()))
        for parameter in self.live.values():
            parameter.grad = None


def _gradient(parameter: nn.Parameter) -> Tensor:
    """The gradient; zeros where the loss did not reach the parameter."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
