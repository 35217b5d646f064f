"""The native decoder computes what the PyTorch modules do, for every family that it covers.

The reference is the model in float32 with the same rounded weights, whose layers round what they
read as the native side does (`rounding_model`). What then differs are keys, values, queries and
weights of attention in bf16 (8 bits of mantissa) and the order of sums: `TIGHT`, of the logits'
standard deviation.
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
from ownlm.models.load import build_model, empty_model
from ownlm.models.families import FAMILIES
from ownlm.models.model import Model

TIGHT = 0.02
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
    print("single", distance(single, wanted))
    whole = runner.read([Work(ids, 0, BLOCKS, every=True)])
    print("whole", distance(whole, wanted))
    assert distance(single, wanted) < TIGHT
    assert distance(whole, wanted) < (TIGHT if kind != "int4" else 0.1)
