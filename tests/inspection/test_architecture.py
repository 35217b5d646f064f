"""Counts and bytes of models, against published sizes and against what torch really keeps."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ownlm.inspection.architecture import _cached, activations, describe, sketch
from ownlm.models.config import ModelConfig
from ownlm.models.families import FAMILIES, family_named, size_named
from ownlm.models.hf_config import Reader
from ownlm.models.load import count_parameters, hf_values
from ownlm.models.model import SingleStack
from ownlm.nn.config import LayerKind


def model(config: ModelConfig, device: str = "meta") -> SingleStack:
    family = family_named(config.family)
    values = family.to_hf(config)
    with torch.device(device):
        return SingleStack(family.from_hf(Reader(values)), family, values)


def tiny(family: str = "gpt2", **values: Any) -> ModelConfig:
    defaults = {"layers": 3, "dim": 32, "heads": 4, "context": 64, "vocab": 100}
    return ModelConfig.parse({"family": family, **defaults, **values})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gpt2-124m", 124_439_808),  # torch.nn modules of transformers' GPT2LMHeadModel
        ("llama-15m", 15_191_712),  # stories15M of llama2.c
        ("llama3-8b", 8_030_261_248),  # meta-llama/Meta-Llama-3-8B
    ],
)
def test_published_sizes_without_weights(name: str, parameters: int) -> None:
    found = describe(model(size_named(name)))
    assert found.parameters == found.tree.parameters == parameters


def test_equal_blocks_are_one_part_and_an_odd_one_stands_alone() -> None:
    whole = model(tiny())
    stack = next(p for p in describe(whole).tree.parts if p.name == "stack")
    (blocks,) = stack.parts[0].parts
    assert (blocks.name, blocks.repeats, blocks.kind) == ("0-2", 3, "Block")
    whole.stack.blocks[2].ffn.body.up = torch.nn.Linear(32, 64, device="meta")
    stack = next(p for p in describe(whole).tree.parts if p.name == "stack")
    assert [(p.name, p.repeats) for p in stack.parts[0].parts] == [("0-1", 2), ("2", 1)]
    assert stack.parameters == count_parameters(whole.stack)


def test_a_tied_matrix_counts_once_and_an_own_one_too() -> None:
    tied, own = (describe(model(tiny(tied=tied))) for tied in (True, False))
    assert own.parameters - tied.parameters == 32 * 100
    assert tied.tree.parts[-1].name == "head" and tied.tree.parts[-1].parameters == 0


def test_memory_follows_the_precision_table() -> None:
    found = describe(model(tiny("llama", kv_heads=2)))
    n = found.parameters
    fp32, bf16 = found.memory["fp32"], found.memory["bf16"]
    assert (fp32.weights, fp32.gradients, fp32.optimizer) == (4 * n, 4 * n, 8 * n)
    assert (bf16.weights, bf16.gradients, bf16.optimizer) == (2 * n, 6 * n, 12 * n)
    assert bf16.cache_1k == 2 * 3 * 2 * 8 * 1024 * 2  # k and v, layers, heads, width, tokens, bytes


def test_the_cache_is_what_generation_really_keeps() -> None:
    real = model(tiny("llama", kv_heads=2), "cpu")
    cache = real.new_cache(1, 1024)
    with torch.no_grad():
        real(torch.zeros(1, 8, dtype=torch.long), cache=cache)
    held = 0
    for layer in cache.layers:
        assert layer._keys is not None and layer._values is not None
        held += layer._keys.nbytes + layer._values.nbytes
    assert describe(real).memory["fp32"].cache_1k == held


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_activations_are_near_what_autograd_saves(family: str) -> None:
    real = model(tiny(family, dim=64, context=128), "cpu")
    own = {p.untyped_storage().data_ptr() for p in real.parameters()}
    saved: dict[int, int] = {}
    alive = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.is_floating_point():
            alive.append(tensor)
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        real(torch.zeros(1, 128, dtype=torch.long))
    assert 0.6 < 4 * activations(real, real.context) / sum(saved.values()) < 1.4


def test_numbers_are_plain_json() -> None:
    values = json.loads(json.dumps(describe(model(tiny())).as_dict()))
    assert values["memory"]["bf16"]["training"] > values["memory"]["bf16"]["weights"]
    assert values["tree"]["parts"]


def test_a_window_bounds_the_cache_and_an_encoder_has_none() -> None:
    wide = model(tiny("llama"))
    kinds = (replace(wide.architecture.stack.kinds[0], window=256), LayerKind())
    stack = replace(wide.architecture.stack, kinds=kinds, layers=2)
    both = 2 * stack.kv_heads * stack.head_dim
    assert _cached(stack, 1024) == both * (256 + 1024)
    assert _cached(replace(stack, cross=True), 1024) == both * (256 + 1024 + 2 * 1024)
    assert _cached(replace(stack, causal=False), 1024) == 0


SMALLEST_OF_FAMILY = {
    family.name: min(family.sizes.values(), key=lambda size: size.layers * size.dim**2)
    for family in FAMILIES.values()
    if family.sizes
}


@pytest.mark.parametrize("name", SMALLEST_OF_FAMILY)
def test_every_family_can_be_described(name: str) -> None:
    found = describe(sketch(hf_values(SMALLEST_OF_FAMILY[name])))
    assert found.parameters == found.tree.parameters > 0
    assert found.memory["bf16"].activations > 0
