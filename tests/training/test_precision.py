"""A mixed run: narrow products in blocks, a wide stream, for every family that has blocks."""

from typing import Any

import pytest
import torch
from tiny import tiny_model
from torch import Tensor, nn

from ownlm.models.adapt import adapt
from ownlm.models.adapt_config import AdaptConfig
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any, hf_values
from ownlm.models.model import EncoderDecoder
from ownlm.training.config import Precision
from ownlm.training.precision import Weights, narrowed

FAMILIES = (
    "gpt2", "llama", "qwen3", "olmo2", "gemma3", "bert", "roberta", "modernbert", "t5", "bart"
)  # fmt: skip
IDS = torch.randint(0, 97, (4, 96), generator=torch.Generator().manual_seed(1))


def made(family: str) -> nn.Module:
    config = ModelConfig(family=family, layers=3, dim=64, heads=2, context=128, vocab=97)
    model = build_any(hf_values(config), seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and ".blocks." in name:
                parameter.mul_(1 if family == "t5" else 3)  # T5's scores are not scaled down
    return model.eval()


def learned(family: str, precision: Precision) -> tuple[float, Tensor]:
    """Loss, and the direction of all gradients."""
    model: Any = made(family)
    weights = Weights(model, precision)
    output = model(IDS, IDS) if isinstance(model, EncoderDecoder) else model(IDS)
    targets = IDS.roll(1, dims=1)
    total, count = output.cross_entropy(targets)
    total.backward()
    weights.collect(first=True)
    gradient = torch.cat([g.flatten().double() for g in weights.gradients().values()])
    return float(total.detach() / count), gradient / gradient.norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixed_run_is_nearer_to_float32_than_one_in_bfloat16(family: str) -> None:
    exact, direction = learned(family, "fp32")
    mixed, there = learned(family, "mixed")
    narrow, elsewhere = learned(family, "bf16")
    assert mixed == pytest.approx(exact, rel=5e-3)
    assert float(direction @ there) > 0.999
    # Of OLMo 2, whose sublayers end in norms, both err alike, and roundings differ by processor.
    near = 1.1 if family == "olmo2" else 1.0
    assert 1 - float(direction @ there) < near * (1 - float(direction @ elsewhere))
    assert mixed != exact and narrow != mixed


def test_products_of_blocks_are_narrow_and_all_else_is_wide() -> None:
    model = made("qwen3")
    weights = Weights(model, "mixed")
    kinds = {name: p.dtype for name, p in model.named_parameters()}
    narrow = {name for name, kind in kinds.items() if kind == torch.bfloat16}
    assert (
        narrow
        == narrowed(model, "mixed")
        == {n for n in kinds if ".blocks." in n} - {n for n in kinds if "norm" in n}
    )
    assert len(narrow) == 3 * 4 < len(kinds)
    assert {tensor.dtype for tensor in weights.master.values()} == {torch.float32}
    wide = next(name for name in kinds if name not in narrow)
    assert weights.live[wide].data_ptr() == weights.master[wide].data_ptr()


def test_what_an_update_moves_is_published() -> None:
    model = tiny_model()
    weights = Weights(model, "mixed")
    for master in weights.master.values():
        master.add_(1.0)
    before = {name: p.detach().float().clone() for name, p in weights.live.items()}
    weights.publish()
    for name, parameter in weights.live.items():
        assert torch.equal(parameter.detach(), weights.master[name].to(parameter.dtype))
        narrow = parameter.dtype == torch.bfloat16
        assert torch.equal(parameter.detach().float(), before[name]) is not narrow


@pytest.mark.parametrize("kind", ["lora", "dora", "qlora"])
def test_adapters_are_products_too(kind: Any) -> None:
    model = tiny_model()
    adapt(model, AdaptConfig(kind=kind, rank=4), seed=1)
    weights = Weights(model, "mixed")
    assert {p.dtype for p in weights.live.values()} == {torch.bfloat16}
    assert model(IDS[:, :10] % model.vocab).hidden.dtype == torch.float32
