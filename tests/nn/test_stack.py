"""Stacks of every kind: windows and caches, an encoder's memory, relative bias, side by side."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.nn.block import Context
from ownlm.nn.cache import Cache, WindowCache
from ownlm.nn.config import LayerKind, RopeConfig, StackConfig
from ownlm.nn.mask import Mask, MemoryMask, first_span
from ownlm.nn.relative import bucket
from ownlm.nn.stack import Memory, Stack, recompute

CONFIG = StackConfig(
    layers=3, dim=16, heads=4, kv_heads=2, head_dim=4, hidden=24, causal=True, norm="rms",
    act="silu", gated=True,
)  # fmt: skip
ROPE = RopeConfig(theta=100.0)
KINDS = {
    "full": (LayerKind(rope=ROPE),),
    "windows": (LayerKind(window=4, rope=ROPE), LayerKind(window=1), LayerKind(rope=ROPE)),
    "wide window": (LayerKind(window=100, rope=ROPE),),
}


def stack_of(**values: object) -> Stack:
    torch.manual_seed(1)
    made = Stack(replace(CONFIG, **values))  # type: ignore[arg-type]
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.4)
    return made.eval()


def stream(length: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("bias", [None, (8, 10)])
@pytest.mark.parametrize("pieces", [[1] * 15, [6, 1, 1, 5, 2], [14, 1], [2, 13]])
@pytest.mark.parametrize("padded", [True, False])
def test_cached_pieces_equal_one_pass(
    kinds: str, bias: tuple[int, int] | None, pieces: list[int], padded: bool
) -> None:
    stack, x = stack_of(kinds=KINDS[kinds], buckets=bias), stream(15)
    segments = torch.tensor([[1] * 15, [0] * 5 + [1] * 10]) if padded else None
    whole = stack(x, first_span(x[..., 0], segments))
    cache, parts, at = Cache(stack.config.windows), [], 0
    for n in pieces:
        part = None if segments is None else segments[:, at : at + n]
        parts.append(stack(x[:, at : at + n], cache.advance(x[:, at : at + n, 0], part), cache))
        at += n
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-4)
    for layer in cache.layers:
        if isinstance(layer, WindowCache):
            assert len(layer) == min(15, layer.window - 1)


@torch.no_grad()
def test_control_windows_are_felt() -> None:
    x = stream(15)
    span = first_span(x[..., 0], None)
    narrow, full = stack_of(kinds=KINDS["windows"]), stack_of(kinds=KINDS["full"])
    wide = stack_of(kinds=KINDS["wide window"])
    assert torch.allclose(wide(x, span), full(x, span), atol=1e-5)
    assert not torch.allclose(narrow(x, span), full(x, span), atol=1e-1)


@torch.no_grad()
def test_a_decoder_reads_the_memory_of_its_own_segment() -> None:
    """Two packed pairs give what each pair gives alone; padding of the memory changes nothing."""
    stack = stack_of(cross=True)
    pairs = [(stream(4, 1), stream(6, 1) + 1), (stream(5, 1) - 1, stream(3, 1) * 2)]
    alone = [stack(x, first_span(x[..., 0], None), memory=Memory(memory)) for x, memory in pairs]
    targets = torch.tensor([[1] * 4 + [2] * 5 + [0]])
    sources = torch.tensor([[1] * 6 + [2] * 3 + [0, 0]])
    x = torch.cat([pairs[0][0], pairs[1][0], stream(1, 1)], dim=1)
    memory = torch.cat([pairs[0][1], pairs[1][1], stream(2, 1)], dim=1)
    together = stack(x, first_span(targets, targets), memory=Memory(memory, sources))
    assert torch.allclose(together[:, :4], alone[0], atol=1e-4)
    assert torch.allclose(together[:, 4:9], alone[1], atol=1e-4)
    assert bool(together.isfinite().all())
    leak = stack(x, first_span(targets, targets), memory=Memory(memory))
    assert not torch.allclose(leak[:, :4], alone[0], atol=1e-2)


@torch.no_grad()
def test_memory_is_projected_once_and_follows_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, x, memory = stack_of(cross=True), stream(6), Memory(stream(7) + 1)
    whole = stack(x, first_span(x[..., 0], None), memory=memory)
    cache = Cache(stack.config.windows)
    first = stack(x[:, :3], cache.advance(x[:, :3, 0], None), cache, memory)
    for block in stack.blocks:
        monkeypatch.setattr(block.cross.body.kv, "weight", None)  # a second use would fail
    cache.reorder(torch.tensor([1, 0]))
    after = stack(x[[1, 0], 3:], cache.advance(x[:, 3:, 0], None), cache, memory)
    assert torch.allclose(first, whole[:, :3], atol=1e-4)
    assert torch.allclose(after, whole[[1, 0], 3:], atol=1e-4)


def test_memory_masks_by_their_definition() -> None:
    targets, sources = torch.tensor([[1, 2, 0]]), torch.tensor([[1, 1, 2, 0]])
    tensor = MemoryMask(first_span(targets, targets), sources).tensor
    assert tensor is not None
    assert tensor[0, 0].int().tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1]]
    plain = MemoryMask(first_span(targets, None), sources > 0).tensor
    assert plain is not None
    assert plain[0, 0].int().tolist() == [[1, 1, 1, 0]]
    assert MemoryMask(first_span(targets, targets), None).tensor is None


def test_memory_ranges_say_what_the_mask_says() -> None:
    targets = torch.tensor([[1, 1, 2, 2, 0], [1, 2, 3, 3, 3]])
    sources = torch.tensor([[1, 1, 1, 2, 0, 0], [1, 1, 3, 3, 3, 0]])
    mask = MemoryMask(first_span(targets, targets), sources)
    assert mask.tensor is not None and mask.ranges is not None
    lo, hi = (bound[..., None] for bound in mask.ranges)
    keys = torch.arange(6)
    assert torch.equal(mask.tensor[:, 0], (lo <= keys) & (keys < hi))
    gap = torch.tensor([[1, 2, 1, 2, 0, 0]] * 2)
    assert MemoryMask(first_span(targets, targets), gap).ranges is None
    free = MemoryMask(first_span(targets, None), None, 6).ranges
    assert free is not None
    assert [bound.unique().tolist() for bound in free] == [[0], [6]]


@pytest.mark.parametrize("causal", [True, False])
def test_buckets_are_those_of_t5(causal: bool) -> None:
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = torch.arange(400)[None, :] - torch.arange(400)[:, None]
    theirs = t5.T5Attention._relative_position_bucket(distance, not causal, 32, 128)
    assert torch.equal(bucket(distance, 32, 128, causal), theirs)
    assert not torch.equal(bucket(distance, 32, 127, causal), theirs)


@torch.no_grad()
def test_blocks_side_by_side_add_both_branches_to_the_same_input() -> None:
    stack, x = stack_of(parallel=True, layers=1), stream(5)
    context = Context(Mask(first_span(x[..., 0], None), causal=True))
    block = stack.blocks[0]
    attention = block.attn.body(block.attn.norm_in(x), context.mask)
    expected = x + attention + block.ffn.body(block.ffn.norm_in(x))
    assert torch.allclose(block(x, context), expected, atol=1e-5)
    serial = stack_of(layers=1)
    serial.load_state_dict(stack.state_dict())
    assert not torch.allclose(serial.blocks[0](x, context), expected, atol=1e-2)


def test_last_norm_stands_after_all_but_post_norm_blocks() -> None:
    x = stream(5)
    for place, normed in (("pre", True), ("post", False), ("both", True), ("branch", True)):
        stack = stack_of(norm_at=place)
        assert bool(list(stack.norm.parameters())) == normed
    pre = stack_of()
    out = pre(x, first_span(x[..., 0], None))
    hidden = pre.norm.weight
    assert torch.allclose(F.rms_norm(out / hidden, (16,)), out / hidden, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cross", [False, True])
def test_blocks_computed_again_give_the_same_gradients(dtype: torch.dtype, cross: bool) -> None:
    """Dropout included: the second pass draws the seeds of the first."""
    stack = stack_of(dropout=0.3, dropout_attention=0.3, cross=cross, layers=3).to(dtype).train()
    memory = Memory(stream(7).to(dtype)) if cross else None

    def gradients(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        stack.zero_grad()
        x = stream(20).to(dtype).requires_grad_()
        stack(x, first_span(x[..., 0], None), memory=memory).float().square().sum().backward()
        return [x.grad, *(p.grad.clone() for p in stack.parameters())]  # type: ignore[list-item,union-attr]

    def kept_bytes() -> int:
        seen: set[int] = set()
        total = [0]

        def pack(tensor: Tensor) -> Tensor:
            new = tensor.untyped_storage().data_ptr() not in seen
            seen.add(tensor.untyped_storage().data_ptr())
            total[0] += new * tensor.untyped_storage().nbytes()
            return tensor

        x = stream(64).to(dtype).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            kept.append(stack(x, first_span(x[..., 0], None), memory=memory))
        return total[0]

    kept: list[Tensor] = []  # alive, so that no address comes twice
    expected, held = gradients(5), kept_bytes()
    assert recompute(torch.nn.Sequential(stack))
    assert all(map(torch.equal, gradients(5), expected))
    assert not all(map(torch.equal, gradients(6), expected))
    assert kept_bytes() < held / 3
