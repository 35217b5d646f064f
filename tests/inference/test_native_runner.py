"""The native decoder computes what the PyTorch modules do, for every family that it covers.

The reference is the model in float32 with the same rounded weights, whose layers round what they
read as the native side does (`rounding_model`). What then differs are keys, values, queries and
weights of attention in bf16 (8 bits of mantissa), the order of sums, and through them the neighbour
that 8 bits round to: `TIGHT`, root mean square, of the logits' standard deviation. Measured are
0.001 to 0.009 in bf16, up to 0.036 in 8 and 0.031 in 4 bits (most for the deepest model).
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.inference import native_runner
from ownlm.inference.native_runner import NativeRunner
from ownlm.inference.native_weights import KINDS, Kind, rounded
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.models.model import PREFIX_LM, Model

TIGHT: dict[Kind, float] = {"bf16": 0.015, "int8": 0.05, "int4": 0.05}
SIZE = 16
PLAIN = ("-DOWNLM_PLAIN",)
AVX2 = ("-mno-avx512f", "-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")

pytestmark = pytest.mark.skipif(native_runner.library() is None, reason="no native code here")

# Widths that are no multiples of 16 or 64, several layers of unlike kinds, few key heads.
SHAPE = {"vocab": 101, "dim": 72, "heads": 6, "layers": 3, "context": 120}
COVERED: dict[str, dict[str, Any]] = {
    "gpt2": {"family": "gpt2", "bias": True},
    "gpt2-relu": {"family": "gpt2", "bias": False, "act": "relu", "tied": False},
    "gpt1": {"family": "gpt1", "bias": True},
    "ctrl": {"family": "ctrl", "bias": True},
    "llama": {"family": "llama", "kv_heads": 2, "hidden": 100},
    "llama-biases": {"family": "llama", "bias": True, "tied": False, "head_dim": 20},
    "mistral": {"family": "mistral", "kv_heads": 3, "window": 21},
    "qwen2": {"family": "qwen2", "kv_heads": 1, "window": 30, "tied": True},
    "qwen3": {"family": "qwen3", "kv_heads": 2, "head_dim": 32, "tied": True},
    "olmo2": {"family": "olmo2", "kv_heads": 2, "tied": False},
    "smollm3": {"family": "smollm3", "layers": 5, "kv_heads": 2},
    "gemma": {"family": "gemma", "kv_heads": 1, "head_dim": 24},
    "gemma2": {"family": "gemma2", "kv_heads": 2, "window": 17, "head_dim": 24},
    "gemma3": {"family": "gemma3", "kv_heads": 2, "window": 18, "layers": 7, "head_dim": 24},
    "phi3": {"family": "phi3", "kv_heads": 2, "window": 40, "tied": False},
    "gpt-neox": {"family": "gpt-neox", "bias": True, "tied": False, "heads": 3, "dim": 72},
}


class Work(NamedTuple):
    ids: Sequence[int]
    start: int
    blocks: Sequence[int]
    every: bool = False


def make(name: str) -> Model:
    """A small model whose logits depend on all that it read."""
    shape = SHAPE | COVERED[name]
    model = build_model(ModelConfig(**shape), seed=3).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0) if parameter.ndim == 2 else parameter.add_(
                torch.randn_like(parameter) * 0.3
            )
    return model


def round_groups(x: Tensor, size: int) -> Tensor:
    """What 8 bits keep of a row, group by group."""
    groups = F.pad(x, (0, -x.shape[-1] % size)).unflatten(-1, (-1, size))
    most = groups.abs().amax(dim=-1, keepdim=True)
    codes = torch.where(most > 0, groups * (127 / most), 0.0).round()
    return (codes * (most / 127)).flatten(-2)[..., : x.shape[-1]]


def round_inputs(kind: Kind, x: Tensor) -> Tensor:
    return x.bfloat16().float() if kind == "bf16" else round_groups(x, 64 if kind == "int8" else 32)


def rounding_model(model: Model, kind: Kind) -> Model:
    """The model as the native side has it: weights rounded, layers round what they read."""
    made = copy.deepcopy(model)
    for layer in made.stack.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data = rounded(layer.weight.data, kind)
            layer.register_forward_pre_hook(lambda _, given: (round_inputs(kind, given[0]),))
    own = made.embed.tokens.weight if made.head.weight is None else made.head.weight
    made.head.weight = nn.Parameter(rounded(own.data, kind))
    return made


@torch.no_grad()
def expected(model: Model, ids: Sequence[int], kind: Kind = "bf16") -> Tensor:
    """Logits (T, V) of a text, whole."""
    output = model(torch.tensor([list(ids)]))
    features = output.features
    output = output._replace(features=round_inputs(kind, features))
    return output.logits[0]


def text(count: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 101, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def runner_of(model: Model, kind: Kind = "bf16", **more: Any) -> NativeRunner:
    runner = NativeRunner(model, kind, **more)
    runner.reserve(40, SIZE)
    return runner


def distance(got: Tensor, wanted: Tensor) -> float:
    """Root mean square of the differences, in standard deviations of what is wanted."""
    return ((got - wanted).square().mean().sqrt() / wanted.std()).item()


BLOCKS = (7, 2, 39, 11, 0, 25, 30)


def one_by_one(runner: NativeRunner, ids: Sequence[int], blocks: Sequence[int] = BLOCKS) -> Tensor:
    steps = [runner.read([Work([id], n, blocks)]) for n, id in enumerate(ids)]
    return torch.cat(steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COVERED)
def test_equals_the_model_whole_and_token_by_token(name: str, kind: Kind) -> None:
    model, ids = make(name), text(70)
    assert native_runner.usable(model) == ""
    wanted = expected(rounding_model(model, kind), ids, kind)
    runner = runner_of(model, kind)
    single = one_by_one(runner, ids)
    whole = runner.read([Work(ids, 0, BLOCKS, every=True)])
    assert distance(single, wanted) < TIGHT[kind]
    assert distance(whole, wanted) < TIGHT[kind]
    if kind == "int8":
        assert torch.equal(single, whole)  # sums of 8 bits are exact, by vectors and by tiles


@pytest.mark.parametrize("name", ["gpt2", "gemma3"])
def test_bf16_is_near_the_model_in_float32(name: str) -> None:
    model, ids = make(name), text(70)
    got = runner_of(model).read([Work(ids, 0, BLOCKS, every=True)])
    wanted = model(torch.tensor([ids])).logits[0].detach()
    assert distance(got, wanted) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_scales_blocks_and_positions_are_noticed(kind: Kind) -> None:
    """The control: the same check fails for what a slip would compute."""
    model, ids = make("llama"), text(70)
    wanted = expected(rounding_model(model, kind), ids, kind)[-1:]
    runner = runner_of(model, kind)
    runner.read([Work(ids[:-1], 0, BLOCKS)])

    def last(**changes: Any) -> float:
        return distance(runner.read([Work(ids[-1:], 69, BLOCKS)._replace(**changes)]), wanted)

    right = last()
    scaled = copy.deepcopy(model)
    scaled.stack.blocks[1].ffn.body.down.weight.data *= 1.3
    wrong = {
        "two blocks exchanged, one of them not full": last(blocks=(0, 2, 39, 11, 7)),
        "a block that holds something else": last(blocks=(8, *BLOCKS[1:])),
        "another position": last(start=50),
        "another scale": distance(runner_of(scaled, kind).read([Work(ids, 0, BLOCKS)]), wanted),
    }
    assert right < TIGHT[kind]
    assert min(wrong.values()) > max(TIGHT[kind], 4 * right), wrong


@pytest.mark.parametrize("kind", KINDS)
def test_company_changes_nothing(kind: Kind) -> None:
    """Eleven texts of unlike length a token at a time, one of them read in pieces."""
    model = make("qwen2")
    runner = runner_of(model, kind)
    texts = [text(20 + n, seed=n) for n in range(11)]
    blocks = [range(3 * n, 3 * n + 3) for n in range(11)]
    alone = [runner.read([Work(t, 0, b)]) for t, b in zip(texts, blocks)]
    runner.read([Work(t[:13], 0, b) for t, b in zip(texts, blocks)])
    runner.read([Work(t[13:-1], 13, b) for t, b in zip(texts, blocks)])
    together = runner.read([Work(t[-1:], len(t) - 1, b) for t, b in zip(texts, blocks)])
    assert together.shape == (11, 101)
    assert torch.equal(together, torch.cat(alone))


def test_long_prompts_come_in_several_calls() -> None:
    model = make("llama")
    runner = runner_of(model, "int8")
    texts = [text(118, seed=n) for n in range(4)]
    work = [Work(t, 0, range(8 * n, 8 * n + 8), every=True) for n, t in enumerate(texts)]
    assert sum(len(t) for t in texts) > native_runner.MOST
    got = runner.read(work).view(4, 118, -1)
    for one, w in zip(got, work):
        assert torch.equal(one, runner.read([w]))


@pytest.mark.parametrize("size", [1, 5, 40])
def test_blocks_of_any_size(size: int) -> None:
    model, ids = make("mistral"), text(70)
    wanted = expected(rounding_model(model, "bf16"), ids)
    runner = NativeRunner(model, "bf16")
    runner.reserve(120, size)
    blocks = torch.randperm(120, generator=torch.Generator().manual_seed(5)).tolist()
    assert distance(runner.read([Work(ids, 0, blocks, every=True)]), wanted) < TIGHT["bf16"]
    assert distance(one_by_one(runner, ids, blocks), wanted) < TIGHT["bf16"]


def test_blocks_are_copied() -> None:
    model, ids = make("llama"), text(40)
    runner = runner_of(model)
    before = runner.read([Work(ids, 0, (1, 2, 3))])
    runner.copy([(1, 11), (2, 12), (3, 13)])
    runner.read([Work(text(40, seed=9), 0, (1, 2, 3))])
    again = runner.read([Work(ids[-1:], 39, (11, 12, 13))])
    assert distance(again, before) < TIGHT["bf16"]
    assert distance(runner.read([Work(ids[-1:], 39, (1, 2, 3))]), before) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("flags", [PLAIN, AVX2])
@pytest.mark.parametrize("kind", KINDS)
def test_other_instruction_sets_compute_the_same(flags: tuple[str, ...], kind: Kind) -> None:
    if native_runner.library(flags) is None:
        pytest.skip("this compiler has no such flags")
    model, ids = make("llama"), text(70)
    other = runner_of(model, kind, extra_flags=flags)
    wanted = one_by_one(runner_of(model, kind), ids)
    assert distance(one_by_one(other, ids), wanted) < TIGHT[kind]
    whole = other.read([Work(ids, 0, BLOCKS, every=True)])
    assert distance(whole, wanted) < TIGHT[kind]


def test_threads_change_nothing() -> None:
    model, ids = make("gemma2"), text(70)
    runner, before = runner_of(model, "int8"), torch.get_num_threads()
    try:
        got = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            got.append(runner.read([Work(ids, 0, BLOCKS, every=True)]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*got)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"family": "mixtral", "experts": 3}, "experts"),
        ({"family": "gpt2", "pattern": "strided"}, "pattern"),
        ({"family": "transformer-xl"}, "single stack"),
        ({"family": "bert"}, "continue"),
    ],
)
def test_what_is_not_covered_is_said(values: dict[str, Any], why: str) -> None:
    model = build_model(ModelConfig(**SHAPE | values), seed=1)
    assert why in native_runner.usable(model)


def test_prompts_that_are_read_both_ways_are_not_covered() -> None:
    model = make("llama")
    model.config[PREFIX_LM] = True
    assert "both ways" in native_runner.usable(model)


def test_an_adapted_layer_is_not_covered() -> None:
    model = make("llama")
    body = model.stack.blocks[2].ffn.body
    body.down = nn.Sequential(body.down)
    assert "ffn.body.down is adapted" in native_runner.usable(model)


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_stays_within_its_step(kind: Kind) -> None:
    weight = torch.randn(30, 150, generator=torch.Generator().manual_seed(0))
    weight[3], weight[4, 32:64] = 0, 0
    off = (rounded(weight, kind) - weight).abs()
    most = F.pad(weight.abs(), (0, 10)).unflatten(1, (-1, 32)).amax(dim=2)
    bound = {
        "bf16": weight.abs() / 256,
        "int8": weight.abs().amax(dim=1, keepdim=True) / 254,
        "int4": most.repeat_interleave(32, dim=1)[:, :150] / 8,  # the largest lies at -8
    }[kind]
    assert (off <= bound * 1.01).all()
    assert (off > bound * 0.3).any()
