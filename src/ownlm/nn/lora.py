"""Low-rank additions to frozen linear layers: LoRA, and DoRA's lengths of rows.

LoRA (Hu et al. 2021, arXiv:2106.09685):    y = x W^T + b + s (x A^T) B^T,  s = alpha / rank
DoRA (Liu et al. 2024, arXiv:2402.09353):   y = (m / |W + s B A|) (x W^T + s (x A^T) B^T) + b

where |.| are the lengths of rows, which the gradient takes as constants (section 4.3). The rows
of one layer may be several matrices, each with an A and a B of its own:

    h = x A^T    A_q, A_k, A_v stacked, one product
    y  q rows  += s h[:, 0:R]   B_q^T
       k rows  += s h[:, R:2R]  B_k^T     as one product with the B's on a diagonal of blocks
       v rows  += s h[:, 2R:3R] B_v^T

Shapes: N tokens, I inputs, O outputs, R rank, P parts, W = P R, S rows of all parts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ownlm.nn.dropout import Dropout
from ownlm.nn.linear import (
    Linear,
    frozen,
    linear,
    pays,
    product,
    product_of_pairs,
    weight_gradient,
)
from ownlm.nn.quantize import QuantizedLinear


class Part(NamedTuple):
    """Rows of a layer that are one matrix."""

    begin: int
    end: int


class Lora(nn.Module):
    """A and B of each part; zero until filled.

    `a` stacks the A's, `b` the B's: rows of a part that has none are not there.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        parts: Sequence[Part],
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        *,
        dora: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.parts, self.rank, self.alpha = outputs, tuple(parts), rank, alpha
        rows = sum(part.end - part.begin for part in parts)
        self.a = nn.Parameter(torch.zeros(len(self.parts) * rank, inputs))
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.magnitude = nn.Parameter(torch.zeros(rows)) if dora else None
        self.drop = Dropout(dropout)

    @property
    def scale(self) -> float:
        """Factor of what is added."""
        return self.alpha / self.rank

    def blocks(self) -> Tensor:
        """The scaled B's on a diagonal, (O, W)."""
        scaled_SR = self.b * self.scale
        if len(self.parts) == 1 and len(self.b) == self.outputs:
            return scaled_SR
        pieces, row = [], 0
        for part, b in zip(self.parts, scaled_SR.split(self.sizes), strict=True):
            pieces += [b.new_zeros(part.begin - row, 0), b]
            row = part.end
        blocks_OW: Tensor = torch.block_diag(*pieces, self.b.new_zeros(self.outputs - row, 0))
        return blocks_OW

    @property
    def sizes(self) -> list[int]:
        """Rows of each part."""
        return [part.end - part.begin for part in self.parts]

    def rows(self, x_O: Tensor) -> Tensor:
        """Of numbers a row, those of the parts, (S, ...)."""
        return torch.cat([x_O[part.begin : part.end] for part in self.parts])

    def delta(self) -> Tensor:
        """s B A in float32, (O, I)."""
        return self.blocks().float() @ self.a.float()

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"rank={self.rank}, alpha={self.alpha:g}, parts={[tuple(p) for p in self.parts]}"


class Adapted(nn.Module):
    """A frozen linear layer with an addition of low rank."""

    def __init__(self, base: Linear | QuantizedLinear, lora: Lora) -> None:
        super().__init__()
        self.base, self.lora = base, lora

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O), in the format of the addition."""
        lora, x = self.lora, x.to(self.lora.a.dtype)
        if lora.magnitude is None:
            return self._sum(x, self.base.bias)
        y = self._sum(x, None) * self.stretch().to(x.dtype)
        return y if self.base.bias is None else y + self.base.bias

    def _sum(self, x: Tensor, bias_O: Tensor | None) -> Tensor:
        """x W^T + b + s (x A^T) B^T."""
        base, lora, b_OW = self.base, self.lora, self.lora.blocks()
        kept = lora.drop(x)
        if isinstance(base, QuantizedLinear):
            return base.product(x, bias_O) + linear(linear(kept, lora.a), b_OW)
        if kept is x:
            return adapted(x, base.weight, bias_O, lora.a, b_OW)
        return linear(x, base.weight, bias_O) + linear(linear(kept, lora.a), b_OW)

    def stretch(self) -> Tensor:
        """DoRA's m / |W + s B A|, (O,), float32; 1 for rows without an addition."""
        lora = self.lora
        assert lora.magnitude is not None, "of DoRA only"
        wanted_S = lora.magnitude.float() / lora.rows(self.lengths())
        pieces, row = [], 0
        for part, wanted in zip(lora.parts, wanted_S.split(lora.sizes), strict=True):
            pieces += [wanted.new_ones(part.begin - row), wanted]
            row = part.end
        return torch.cat([*pieces, wanted_S.new_ones(lora.outputs - row)])

    @torch.no_grad()
    def lengths(self) -> Tensor:
        """|W + s B A| of each row, (O,), float32, without making that matrix:
        |w|^2 + 2 s w . (b A) + s^2 |b A|^2."""
        weight_OI, a_WI, b_OW = self.base.weight, self.lora.a, self.lora.blocks().float()
        squares_O = torch.linalg.vector_norm(weight_OI, dim=1, dtype=torch.float32).square()
        across_OW = linear(weight_OI, a_WI).float()
        gram_WW = a_WI.float() @ a_WI.float().T
        added_O = ((2 * across_OW + b_OW @ gram_WW) * b_OW).sum(dim=1)
        return torch.sqrt(squares_O + added_O)

    @torch.no_grad()
    def merged(self) -> Linear:
        """A plain layer that answers the same, its weight summed in float32."""
        weight_OI = self.base.weight.float() + self.lora.delta()
        if self.lora.magnitude is not None:
            weight_OI *= self.stretch()[:, None]
        return frozen(weight_OI.to(self.lora.a.dtype), self.base.bias)


def adapted(
    x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, a_WI: Tensor, b_OW: Tensor
) -> Tensor:
    """x W^T + b + (x A^T) B^T with W and b frozen, in fewer passes where the kernel can."""
    alike = all(t is None or t.dtype == x.dtype for t in (bias_O, a_WI, b_OW))
    if not (alike and pays(x, weight_OI)):
        return linear(x, weight_OI, bias_O) + linear(linear(x, a_WI), b_OW)
    rows_NI = x.reshape(-1, x.shape[-1])
    y_NO: Tensor = _Adapted.apply(rows_NI, weight_OI, bias_O, a_WI, b_OW)  # type: ignore[no-untyped-call]
    return y_NO.view(*x.shape[:-1], len(weight_OI))


class _Adapted(torch.autograd.Function):
    """y = x W^T + h B^T + b with h = x A^T; with g = dy B it is dx = dy W + g A, dA = g^T x and
    dB = dy^T h."""

    @staticmethod
    def forward(
        ctx: Any,
        x_NI: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        a_WI: Tensor,
        b_OW: Tensor,
    ) -> Tensor:
        h_NW = product(x_NI, a_WI.T)
        ctx.save_for_backward(x_NI, weight_OI, a_WI, b_OW, h_NW)
        y_NO: Tensor = product_of_pairs(x_NI, weight_OI.T, h_NW, b_OW.T, bias_O)
        return y_NO

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        x_NI, weight_OI, a_WI, b_OW, h_NW = ctx.saved_tensors
        g_NW = product(grad_NO, b_OW)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = product_of_pairs(grad_NO, weight_OI, g_NW, a_WI)
        return for_x, None, None, weight_gradient(g_NW, x_NI), weight_gradient(grad_NO, h_NW)
