"""The chunked cross entropy equals the plain one, gradients too, and holds few logits."""

import pytest
import torch
from torch import Tensor

from ownlm.nn import loss
from ownlm.nn.loss import Loss, chunked, cross_entropy, entropy_, plain


def case(dtype: torch.dtype, bias: bool, tokens: int = 53) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype).requires_grad_()

    targets = torch.randint(0, 31, (tokens,), generator=generator)
    targets[::5] = -100
    return [draw(tokens, 12), draw(31, 12), *([draw(31)] if bias else []), targets]


def run(
    compute: Loss, given: list[Tensor], softcap: float, scale: float, smoothing: float = 0.0
) -> list[Tensor]:
    hidden, weight, *bias, targets = given
    inputs = (hidden, weight, bias[0] if bias else None, targets, -100, softcap, smoothing)
    total, count = compute(*inputs)
    grads = torch.autograd.grad(scale * total, [hidden, weight, *bias])
    return [total, count, *grads]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK", 31 * 7)
    monkeypatch.setattr(loss, "ROWS", {"cpu": 1})


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunked_equals_plain(
    bias: bool, softcap: float, smoothing: float, dtype: torch.dtype
) -> None:
    given = case(dtype, bias)
    ours, theirs = (run(compute, given, softcap, 0.3, smoothing) for compute in (chunked, plain))
    precision = 1e-5 if dtype == torch.float32 else 2e-2
    assert ours[0].dtype == torch.float32
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).float().norm() <= precision * b.float().norm()


@pytest.mark.skipif(loss.kernel() is None, reason="no processor for it or no compiler")
@pytest.mark.parametrize("chunk", [1 << 26, 300 * 300])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_native_path_equals_the_plain_one(
    chunk: int, bias: bool, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "NATIVE_CHUNK", chunk)
    monkeypatch.setattr(loss.linear, "DEEP", 128)
    torch.manual_seed(0)
    hidden, weight, offset = (torch.randn(s) / 4 for s in ((700, 96), (333, 96), (333,)))
    targets = torch.randint(333, (700,))
    targets[::7] = -100

    def given(dtype: torch.dtype) -> list[Tensor]:
        leaves = [hidden, weight, offset] if bias else [hidden, weight]
        return [*(x.bfloat16().to(dtype).requires_grad_() for x in leaves), targets]

    made: list[Tensor] = []
    monkeypatch.setattr(loss, "entropy_", lambda *z: made.append(z[0]) or entropy_(*z))
    ours = run(chunked, given(torch.bfloat16), 0.0, scale)
    theirs = run(plain, given(torch.float32), 0.0, scale)
    assert len(made) == (1 if chunk == 1 << 26 else 3)
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).float().norm() <= 1e-2 * b.float().norm()


@pytest.mark.usefixtures("small_chunks")
def test_control_a_wrong_target_is_seen() -> None:
    given = case(torch.float32, True)
    right = run(plain, given, 0.0, 1.0)
    given[-1][1] = (given[-1][1] + 1) % 31
    wrong = run(chunked, given, 0.0, 1.0)
    assert all((a - b).norm() > 1e-3 * b.norm() for a, b in zip(wrong[2:], right[2:], strict=True))


@torch.no_grad()
def test_smoothing_by_its_definition() -> None:
    """Of each target 0.8 of its own probability, and 0.2 / V of every word's, its own too."""
    hidden, weight, targets = case(torch.float32, False)
    logs = (hidden @ weight.T).log_softmax(dim=-1)
    wanted = torch.full_like(logs, 0.2 / 31)
    kept = targets != -100
    wanted[kept, targets[kept]] += 0.8
    total, count = cross_entropy(hidden, weight, None, targets, smoothing=0.2)
    assert torch.allclose(total, -(wanted * logs)[kept].sum(), rtol=1e-5)
    assert int(count) == int(kept.sum())


@pytest.mark.parametrize("compute", [plain, chunked])
def test_all_targets_ignored(compute: Loss) -> None:
    given = case(torch.float32, False)
    given[-1][:] = -100
    total, count, *grads = run(compute, given, 0.0, 1.0)
    assert total == 0
    assert count == 0
    assert not any(g.any() for g in grads)


def test_only_a_few_logits_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    linear = torch.nn.functional.linear

    def watched(*given: Tensor) -> Tensor:
        nonlocal largest
        made = linear(*given)
        largest = max(largest, made.numel())
        return made

    monkeypatch.setattr(loss, "LARGE", 31 * 52)
    monkeypatch.setattr(loss, "CHUNK", 31 * 7)
    monkeypatch.setattr(loss, "ROWS", {"cpu": 1})
    monkeypatch.setattr(loss.F, "linear", watched)
    hidden, weight, targets = case(torch.float32, False)
    cross_entropy(hidden, weight, None, targets)[0].backward()
    assert largest == 31 * 7
    assert weight.grad is not None
    cross_entropy(hidden[:52], weight, None, targets[:52])
    assert largest == 31 * 52


def test_without_gradients_none_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "_Gradients", None)
    given = case(torch.float32, False)
    with torch.no_grad():
        total, _ = chunked(given[0], given[1], None, given[2], -100, 0.0)
    assert torch.allclose(total, plain(given[0], given[1], None, given[2], -100, 0.0)[0])


@pytest.mark.skipif(not loss.available(), reason="no processor for it or no compiler")
@pytest.mark.parametrize("target", [30_000, -1])
def test_a_target_that_is_no_id_is_refused_by_the_native_path_too(target: int) -> None:
    hidden = torch.randn(64, 64).bfloat16().requires_grad_()
    weight = torch.randn(30_000, 64).bfloat16()
    targets = torch.randint(30_000, (64,))
    targets[5] = target
    with pytest.raises(IndexError, match="out of bounds"):
        loss.cross_entropy(hidden, weight, None, targets)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_no_gradient_and_the_rest_is_the_same(frozen: int) -> None:
    given = case(torch.float32, bias=True)
    _, _, *theirs = run(plain, given, 0.0, 0.3)
    given[frozen].requires_grad_(False)
    hidden, weight, bias, targets = given
    total, _ = chunked(hidden, weight, bias, targets, -100, 0.0)
    (0.3 * total).backward()
    for number, (tensor, expected) in enumerate(zip((hidden, weight, bias), theirs, strict=True)):
        assert (tensor.grad is None) == (number == frozen)
        assert number == frozen or torch.allclose(tensor.grad, expected, atol=1e-5)


@pytest.mark.skipif(loss.kernel() is None, reason="no processor for it or no compiler")
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_nor_on_the_native_path(frozen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "NATIVE_CHUNK", 300 * 300)
    torch.manual_seed(0)
    given = [torch.randn(700, 96), torch.randn(300, 96), torch.randn(300)]
    given = [tensor.bfloat16().requires_grad_() for tensor in given]
    targets = torch.randint(300, (700,))
    whole, _ = chunked(*given, targets, -100, 0.0)
    theirs = torch.autograd.grad(whole, given)
    given[frozen].requires_grad_(False)
    total, _ = chunked(*given, targets, -100, 0.0)
    total.backward()
    assert torch.equal(total, whole)
    for number, (tensor, expected) in enumerate(zip(given, theirs, strict=True)):
        assert (tensor.grad is None) == (number == frozen)
        assert number == frozen or torch.equal(tensor.grad, expected)
