"""The native RMS norm equals torch's, gradients too."""

import pytest
import torch
from torch.nn import functional as F

from ownlm import native
from ownlm.nn import norm

needs_compiler = pytest.mark.skipif(
    native.library(norm.SOURCE) is None, reason="no C++ compiler here"
)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 37, 100), (1, 1, 7), (130, 64)])
def test_the_native_norm_equals_torchs(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = norm.RMSNorm(shape[-1], 1e-5).to(dtype)
    torch.nn.init.normal_(layer.weight)
    x, grad = (torch.randn(shape).to(dtype) for _ in range(2))
    x.requires_grad_()
    assert norm.usable(x, layer.weight) is (dtype == torch.bfloat16)  # float32 is torch's
    y = layer(x)
    ours = (y, *torch.autograd.grad(y, (x, layer.weight), grad))
    exact, weight = (t.detach().double().requires_grad_() for t in (x, layer.weight))
    z = F.rms_norm(exact, weight.shape, weight, 1e-5)
    theirs = (z, *torch.autograd.grad(z, (exact, weight), grad.double()))
    bound = 1e-5 if dtype == torch.float32 else 5e-3
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype
        assert (a.double() - b).norm() < bound * b.norm()
    other = F.rms_norm(exact, weight.shape, weight, 0.1)  # the control: another eps is seen
    assert (y.double() - other).norm() > bound * other.norm()


@needs_compiler
def test_the_weights_gradient_does_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    layer, x = norm.RMSNorm(50, 1e-5).bfloat16(), torch.randn(700, 50).bfloat16().requires_grad_()
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(torch.autograd.grad(layer(x).square().sum(), layer.weight)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_without_gradients_torch_does_it() -> None:
    layer, x = norm.RMSNorm(8, 1e-5).bfloat16(), torch.randn(2, 8).bfloat16()
    assert not norm.usable(x, layer.weight)
    with torch.no_grad():
        assert not norm.usable(x.requires_grad_(), layer.weight)
