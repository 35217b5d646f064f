"""Sentence embeddings: pooling as the folder states it, and refusals of what is not known."""

import json
from pathlib import Path

import pytest
import torch

from ownlm.errors import CheckpointError
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.models.sentences import MODES, Embedder, Pooling, load_embedder

BERT = ModelConfig(family="bert", head="Model", vocab=40, dim=16, heads=2, layers=2, context=32)


def embedder(pooling: Pooling = "mean", normalised: bool = True) -> Embedder:
    return Embedder(build_model(BERT, seed=1), pooling, normalised).eval()


IDS = torch.randint(3, 40, (2, 9), generator=torch.Generator().manual_seed(2))
MASK = (torch.arange(9) < torch.tensor([[9], [4]])).long()


@torch.no_grad()
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("pooling", list(MODES.values()))
def test_pooling_is_over_real_tokens(pooling: Pooling, normalised: bool) -> None:
    made = embedder(pooling, normalised)
    hidden = made.model(IDS, MASK).hidden[1, :4]
    expected = {"first": hidden[0], "mean": hidden.mean(0), "last": hidden[3]}[pooling]
    expected = expected / expected.norm() if normalised else expected
    found = made(IDS, MASK)
    assert torch.allclose(found[1], expected, atol=1e-6)
    alone = made(IDS[1:, :4])[0]
    assert torch.allclose(found[1], alone, atol=1e-6)
    padded = torch.cat((IDS.new_zeros(1, 2), IDS[1:, :4]), dim=1)
    left = made(padded, (padded > 0).long())
    assert torch.allclose(left[0], alone, atol=1e-6)


@torch.no_grad()
def test_a_saved_embedder_is_the_same(tmp_path: Path) -> None:
    made = embedder()
    made.save(tmp_path)
    again = load_embedder(tmp_path)
    assert torch.equal(made(IDS, MASK), again(IDS, MASK))
    assert (again.pooling, again.normalised) == ("mean", True)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "is not supported"),
        ("modules.json", [{"type": "x.Transformer"}, {"type": "x.Dense"}], "Dense"),
        ("modules.json", [{"type": "x.Transformer", "path": "../.."}, {"type": "x.Pooling"}],
         "leads out"),
        ("modules.json", {}, "expected a list"),
    ],
)  # fmt: skip
def test_refusals(file: str, change: object, words: str, tmp_path: Path) -> None:
    embedder().save(tmp_path)
    held = json.loads((tmp_path / file).read_text())
    if isinstance(change, dict) and isinstance(held, dict):
        change = held | change
    (tmp_path / file).write_text(json.dumps(change))
    with pytest.raises(CheckpointError, match=words):
        load_embedder(tmp_path)
