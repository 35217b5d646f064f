"""Whole models: packing, learning in float32 and bfloat16, dropout, families' tables."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.families import FAMILIES, SIZES, size_named
from ownlm.models.load import build_any, build_model
from ownlm.models.model import SingleStack
from ownlm.models.weights import plan

GPT = ModelConfig(vocab=40, dim=32, heads=4, layers=2, context=32)
LLAMA = GPT.with_values({"family": "llama", "kv_heads": 2})


@pytest.fixture(params=[GPT, LLAMA], ids=["gpt2", "llama"])
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return request.param  # type: ignore[no-any-return]


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_packed_documents_are_read_as_if_alone(config: ModelConfig) -> None:
    model = build_model(config, seed=1).eval()
    lengths = (9, 4, 12)
    ids = tokens(1, sum(lengths))
    numbers = torch.cat([torch.full((1, n), i + 1) for i, n in enumerate(lengths)], dim=1)
    packed = model(ids, numbers).logits
    for i, part in enumerate(ids.split(lengths, dim=1)):
        assert torch.allclose(packed[numbers == i + 1], model(part).logits[0], atol=1e-5)
    assert not torch.allclose(packed[:, -12:], model(ids).logits[:, -12:], atol=1e-3)


@torch.no_grad()
def test_a_boolean_mask_is_a_padding_mask(config: ModelConfig) -> None:
    model, ids = build_model(config, seed=1).eval(), tokens(2, 10)
    mask = torch.arange(10) >= torch.tensor([[0], [3]])
    assert torch.equal(model(ids, mask).logits, model(ids, mask.long()).logits)
    assert torch.allclose(model(ids, mask).logits[1, 3:], model(ids[1:, 3:]).logits[0], atol=1e-5)


def learn(model: SingleStack, steps: int = 60) -> float:
    ids = tokens(4, 17, seed=9)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        total, count = model(ids[:, :-1]).cross_entropy(ids[:, 1:])
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    return float(total.detach() / count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_every_family_learns_by_heart(
    config: ModelConfig, dtype: torch.dtype, dropout: float
) -> None:
    torch.manual_seed(0)
    model = build_model(config.with_values({"dropout": dropout}), seed=1, dtype=dtype).train()
    assert model(tokens(1, 4)).hidden.dtype == dtype
    assert learn(model) < 1.0  # from ln 40 = 3.7
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_dropout_is_on_in_training_only(config: ModelConfig) -> None:
    model, ids = build_model(config.with_values({"dropout": 0.5}), seed=1), tokens(2, 8)
    torch.manual_seed(1)
    first, second = model.train()(ids).logits, model(ids).logits
    torch.manual_seed(1)
    assert torch.equal(first, model(ids).logits)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_untied_head_has_its_own_matrix(config: ModelConfig) -> None:
    tied, own = (build_model(config.with_values({"tied": t}), seed=1) for t in (True, False))
    assert tied.head.weight is None
    assert own.head.weight is not None
    assert tied(tokens(1, 3)).weight is tied.embed.tokens.weight
    assert sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in tied.parameters()) == (
        40 * 32
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_a_table_names_every_tensor_once(name: str, bias: bool, tied: bool) -> None:
    try:
        model = build_any(GPT.with_values({"family": name, "bias": bias, "tied": tied}), seed=1)
    except ConfigError:  # families that leave no choice
        assert bias or not tied
        return
    items = plan(model, model.family.names(model.architecture))
    theirs = [piece.theirs for item in items for piece in item.pieces]
    assert len(theirs) == len(set(theirs))


def test_sizes_are_complete_and_found_by_name() -> None:
    assert all(size.vocab and size.family in FAMILIES for size in SIZES.values())
    assert size_named("gpt2-124m").layers == 12
    with pytest.raises(ConfigError, match="nearest is gpt2-124m"):
        size_named("gpt2-124")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dim": 30, "heads": 4}, "choose heads among 1, 2, 3, 5, 6, 10, 15, 30"),
        ({"kv_heads": 3}, "choose kv_heads among 1, 2, 4"),
        ({"layers": 0}, "layers"),
        ({"dropout": 1.0}, "dropout"),
        ({"vocab": 10**9}, "vocab"),
        ({"widht": 3}, "unknown key widht"),
    ],
)
def test_model_configurations_that_cannot_be(values: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GPT.with_values(values)


def test_a_head_of_odd_width_cannot_be_rotated() -> None:
    odd = LLAMA.with_values({"dim": 36})
    with pytest.raises(ConfigError, match="a head is 9 wide"):
        build_model(odd, seed=1)
    build_model(odd.with_values({"family": "gpt2", "kv_heads": 0}), seed=1)


def test_sizes_are_read_without_torch(repository: Path) -> None:
    code = "import ownlm, ownlm.models.families, sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository / "src", check=False)
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_a_compiled_model_computes_the_same(config: ModelConfig, masked: bool) -> None:
    model, ids = build_model(config, seed=1), tokens(2, 16)
    mask = torch.tensor([[1] * 9 + [2] * 7] * 2) if masked else None
    plain_total, _ = model(ids, mask).cross_entropy(ids)
    plain = torch.autograd.grad(plain_total, list(model.parameters()))
    compiled_total, _ = torch.compile(model)(ids, mask).cross_entropy(ids)
    compiled = torch.autograd.grad(compiled_total, list(model.parameters()))
    assert torch.allclose(plain_total, compiled_total, rtol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(plain, compiled, strict=True))
