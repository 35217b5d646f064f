"""Which number format holds what: the whole policy of a training in one table.

                    fp32 run     mixed run              bf16 run
    forward         float32      bfloat16 / float32     bfloat16     what the model computes with
    backward        float32      as forward             bfloat16     gradients of a micro-batch
    accumulation    float32      float32                float32      their sum in an update
    master          (forward)    float32                float32      what the optimizer moves
    moments         float32      float32                float32

A mixed run has the products of its blocks in bfloat16 and the rest, which is the residual stream,
norms, embeddings and heads, in float32: what a small head on a pretrained model needs (measured:
benchmarks/RESULTS.md, Finetuning).

Of a bf16 run every parameter that trains follows it, norms and biases too; a frozen one is there
once, in the forward format, and costs neither gradient, master nor moments. torch's products and
its fused RMS norm take one format only, and a gain near 1 in bfloat16 costs nothing while its
master is float32 (Micikevicius et al., arXiv:1710.03740). Losses, norm statistics and softmax are
float32 inside their kernels. Buffers (rotary tables, quantized weights) keep the format they have.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from ownlm.nn.linear import Linear
from ownlm.nn.lora import Lora
from ownlm.nn.quantize import QuantizedLinear
from ownlm.training import fused
from ownlm.training.config import Precision

BLOCKS = ".blocks."
"""In the names of what a stack repeats."""


class Weights:
    """A model's parameters in the two formats of the table; what is float32 in both is one."""

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        narrow = narrowed(model, precision)
        self.live = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.split = bool(narrow)
        self.master: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            if name in self.live:
                self.master[name] = parameter.detach().float()
                parameter.data = self.master[name]
            dtype = torch.bfloat16 if name in narrow else torch.float32
            parameter.data = parameter.data.to(dtype)
        self._new: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        device = next(model.parameters()).device
        self.fused = precision == "bf16" and fused.available(device)
        """Norm and update by kernels that read bf16 gradients and write what the model reads."""

    def collect(self, first: bool) -> None:
        """Add the gradients of a micro-batch to the float32 sums; `first` begins a new sum.

        The first ones are kept as they are until there is something to add, or the update.
        """
        new = {name: _gradient(parameter) for name, parameter in self.live.items()}
        if not self.split:
            return  # autograd itself adds to float32 gradients
        for parameter in self.live.values():
            parameter.grad = None
        if first:
            self._new = new
            return
        sums = self._begin_sums() if self._new else list(self._sums.values())
        torch._foreach_add_(sums, list(new.values()))

    def _begin_sums(self) -> list[Tensor]:
        """The first micro-batch's gradients, in float32."""
        self._sums = self._sums or {n: torch.empty_like(p) for n, p in self.master.items()}
        sums = list(self._sums.values())
        torch._foreach_copy_(sums, list(self._new.values()))
        self._new = {}
        return sums

    def gradients(self) -> dict[str, Tensor]:
        """The sums over the micro-batches so far: float32, or, where the kernels read them and
        there was one micro-batch only, bfloat16."""
        if not self.split:
            return {name: _gradient(parameter) for name, parameter in self.live.items()}
        if self._new and not self.fused:
            self._begin_sums()
        return self._new or self._sums

    def rounded(self) -> dict[str, Tensor]:
        """What an update may round the masters into on its way; the rest is for `publish`."""
        return {n: p.data for n, p in self.live.items()} if self.fused else {}

    def publish(self, done: Collection[str] = ()) -> None:
        """After an update: round the masters into what the model computes with, but for those
        that are `done`; drop gradients."""
        if self.split:
            self._new = {}
            narrow = (n for n, p in self.live.items() if p.dtype != torch.float32)
            if names := [name for name in narrow if name not in done]:
                live = [self.live[name].data for name in names]
                torch._foreach_copy_(live, [self.master[name] for name in names])
        for parameter in self.live.values():
            parameter.grad = None


def narrowed(model: nn.Module, precision: Precision) -> set[str]:
    """Names of the parameters that the model has in bfloat16."""
    names = {name for name, _ in model.named_parameters()}
    if precision != "mixed":
        return names if precision == "bf16" else set()
    kinds = (Linear, Lora, QuantizedLinear)
    products = (name for name, part in model.named_modules() if isinstance(part, kinds))
    inside = tuple(f"{name}." for name in products if BLOCKS in f".{name}.")
    return {name for name in names if name.startswith(inside)}


def _gradient(parameter: nn.Parameter) -> Tensor:
    """The gradient; zeros where the loss did not reach the parameter."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
