"""Prefix LM: the beginning is read both ways and never learned, the rest is, from all before it."""

import examples
import numpy as np
import pytest
import torch
from examples import Draws

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.prefix import Prefix, split


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def model(seed: int = 1) -> torch.nn.Module:
    config = ModelConfig(family="llama", layers=2, dim=32, heads=4, context=64, vocab=400)
    made = build_any(config, seed=seed).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_where_documents_are_split() -> None:
    """Prefixes of 2 of 4 tokens, 1 of 3, and the only one of 1."""
    found = split(np.array([1, 1, 1, 1, 2, 2, 2, 3]), Draws(2, 1, 1))
    assert found.tolist() == [1, 1, 0, 0, 1, 0, 0, 1]


def test_prefixes_are_of_every_length() -> None:
    lengths = {int(split(np.ones(6, int), rng(seed)).sum()) for seed in range(60)}
    assert lengths == {1, 2, 3, 4, 5}


def test_a_row_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """tokens a b c d | e f g, as inputs a b c | d e f: a document's end opens the next."""
    given = examples.rows(examples.bpe(), count=1, length=6, borders=(4,))
    a, b, c, d, e, f, g = given.tokens[0].tolist()
    seen = np.array([1, 1, 0, 1, 0, 0])
    monkeypatch.setattr("ownlm.objectives.prefix.split", lambda numbers, rng: seen)
    batch = Prefix().collate(given, rng())
    assert batch["inputs"][0].tolist() == [a, b, c, d, e, f]
    assert batch["mask"][0].tolist() == [1, 1, 1, 2, 2, 2]
    assert batch["prefix"][0].tolist() == [1, 1, 0, 1, 0, 0]
    assert batch["targets"][0].tolist() == [IGNORE, c, d, e, f, g]


def test_a_row_depends_on_itself_only() -> None:
    given, objective = examples.rows(examples.bpe(), borders=(20,)), Prefix()
    whole = objective.collate(given, rng(7))
    halves = [objective.collate(examples.part(given, *p), rng(7)) for p in ((0, 2), (2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))
    assert not torch.equal(whole["prefix"], objective.collate(given, rng(8))["prefix"])


def test_the_prefix_matters_and_what_is_learned_is_not_seen() -> None:
    """A later token of the prefix changes what an earlier place says; a target never does."""
    reader, objective = model(), Prefix()
    batch = objective.collate(examples.rows(examples.bpe(), count=1, length=30), rng(3))
    size = int(batch["prefix"].sum())
    assert 2 < size < 28

    def logits(place: int) -> torch.Tensor:
        ids = batch["inputs"].clone()
        ids[0, place] = (ids[0, place] + 1) % 400
        return reader(ids, mask=batch["mask"], prefix=batch["prefix"]).logits[0]

    plain = reader(batch["inputs"], mask=batch["mask"], prefix=batch["prefix"]).logits[0]
    assert not torch.allclose(logits(size - 1)[0], plain[0], atol=1e-4)
    for place in range(size, 30):
        learned = (batch["targets"][0, :place] != IGNORE).nonzero()[:, 0]
        assert torch.allclose(logits(place)[learned], plain[learned], atol=1e-5)


@torch.no_grad()
def test_the_loss_by_hand() -> None:
    reader, objective = model(), Prefix()
    batch = objective.collate(examples.rows(examples.bpe(), count=2, length=20), rng())
    loss = objective.loss(reader, batch)
    said = reader(batch["inputs"], prefix=batch["prefix"]).logits.log_softmax(-1)
    at = (batch["targets"] != IGNORE).nonzero().tolist()
    expected = -sum(float(said[row, place, batch["targets"][row, place]]) for row, place in at)
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert int(loss.count) == len(at) == int(20 * 2 - batch["prefix"].sum() + 2)
    causal = {name: tensor for name, tensor in batch.items() if name != "prefix"}
    assert float(objective.loss(reader, causal).total) != pytest.approx(expected, rel=1e-3)
