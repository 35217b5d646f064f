"""Longformer and BigBird of transformers against RoBERTa and BERT with our patterns.

The weights are theirs, renamed by their prefix only. Longformer's separate projections of
global tokens are set equal to the others, and BigBird's draw of random blocks is replaced by
ours, so that what is compared is who sees whom: fp32, 320 tokens, 1e-5 of the largest logit.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

transformers = pytest.importorskip("transformers")

from transformers.models.big_bird.modeling_big_bird import (  # noqa: E402
    BigBirdBlockSparseAttention,
)

from ownlm.models.config import ModelConfig  # noqa: E402
from ownlm.models.load import hf_values, load_model  # noqa: E402
from ownlm.models.model import SingleStack  # noqa: E402
from ownlm.nn.config import PatternConfig  # noqa: E402
from ownlm.nn.pattern import drawn  # noqa: E402

LENGTH, LIMIT = 320, 1e-5
Tell = Callable[[str, float, float], None]
SHAPE = {"vocab": 97, "dim": 32, "heads": 4, "layers": 3, "context": 340, "hidden": 48}
THEIRS = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "pad_token_id": 1,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 97, (2, LENGTH), generator=torch.Generator().manual_seed(5))


def randomised(model: Any) -> Any:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2)
    return model.eval()


def ours(tensors: dict[str, Tensor], folder: Path, **values: Any) -> SingleStack:
    """Our model with these weights; `values` choose family and pattern."""
    config = hf_values(ModelConfig(**SHAPE, norm_eps=1e-12, bias=True, **values))
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 1}))
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    return load_model(folder)[0]


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
def test_longformer(ids: Tensor, tmp_path: Path, tell: Tell) -> None:
    config = transformers.LongformerConfig(
        **THEIRS, attention_window=[32] * 3, max_position_embeddings=342, type_vocab_size=1
    )
    other = randomised(transformers.LongformerForMaskedLM(config))
    tensors = {k: v.clone() for k, v in other.state_dict().items()}
    for name in [name for name in tensors if "_global." in name]:
        tensors[name] = tensors[name.replace("_global.", ".")]
    other.load_state_dict(tensors)
    kept = {
        k.replace("longformer.", "roberta."): v
        for k, v in tensors.items()
        if "_global." not in k and k != "lm_head.decoder.weight"
    }
    mask = torch.ones_like(ids)
    mask[1, -41:] = 0
    first = torch.arange(LENGTH).expand_as(ids) < 3
    expected = other(ids, attention_mask=mask, global_attention_mask=first.long()).logits
    differences = []
    for size, globals_ in ((17, 3), (16, 3), (17, 2)):
        model = ours(
            kept, tmp_path / f"{size}-{globals_}", family="roberta", pattern="longformer",
            pattern_size=size, pattern_globals=globals_,
        )  # fmt: skip
        found = model(ids, mask).logits
        differences.append(apart(found[mask == 1], expected[mask == 1]))
    tell("longformer", differences[0], min(differences[1:]))


def our_draw(self: Any, from_seq_length: int, from_block_size: int, **_: Any) -> list[Any]:
    """Random blocks (blocks - 2, 2) of each of the 4 heads, for the layer `self.seed`."""
    p = PatternConfig(near=1, first=1, last=1, random=2, seed=self.seed)
    blocks = from_seq_length // from_block_size
    query = torch.arange(1, blocks - 1)[:, None]
    last = torch.full_like(query, blocks - 1)
    table = torch.cat([drawn(p, query, last, number) for number in range(2)], dim=1)
    return [table.numpy()] * 4


@torch.no_grad()
def test_bigbird(ids: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell) -> None:
    monkeypatch.setattr(BigBirdBlockSparseAttention, "_bigbird_block_rand_mask_with_head", our_draw)
    config = transformers.BigBirdConfig(
        **THEIRS, attention_type="block_sparse", block_size=16, num_random_blocks=2,
        max_position_embeddings=340, rescale_embeddings=False,
    )  # fmt: skip
    other = randomised(transformers.BigBirdForMaskedLM(config))
    kept = {k: v for k, v in other.state_dict().items() if "decoder" not in k}
    mask = torch.ones_like(ids)
    expected = other(ids, attention_mask=mask).logits
    assert other.bert.attention_type == "block_sparse"
    differences = []
    for size, random in ((16, 2), (16, 3), (20, 2)):
        model = ours(
            kept, tmp_path / f"{size}-{random}", family="bert", pattern="bigbird",
            head="ForMaskedLM", pattern_size=size, pattern_random=random,
        )  # fmt: skip
        differences.append(apart(model(ids).logits, expected))
    tell("bigbird", differences[0], min(differences[1:]))
