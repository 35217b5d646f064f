"""Replaced token detection: two networks, shared tables, and a loss that is checked by hand."""

import examples
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ownlm.models.config import ModelConfig
from ownlm.models.generator import build_pair
from ownlm.objectives.masked import Corruption
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.replaced import WEIGHT, Replaced, sampled

CONFIG = ModelConfig(
    family="electra", layers=2, dim=32, heads=4, context=48, vocab=300, bias=True, dropout=0.0
)


def objective() -> Replaced:
    vocab = examples.facts(examples.wordpiece())
    return Replaced(vocab, Corruption(masked=1.0, random=0.0))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_generator_is_narrow_and_shares_its_tables() -> None:
    pair = build_pair(CONFIG, seed=1)
    assert pair.generator.architecture.stack.dim == 8
    assert pair.generator.architecture.stack.layers == 2
    assert pair.generator.embed.tokens is pair.model.embed.tokens
    names = dict(pair.named_parameters())
    assert sum("embed.tokens" in name for name in names) == 1
    pair.model.embed.tokens.weight.data += 1.0
    assert torch.equal(pair.generator.embed.tokens.weight, pair.model.embed.tokens.weight)


def test_samples_follow_the_distribution() -> None:
    shares = torch.tensor([[0.1, 0.0, 0.6, 0.3]]).repeat(4000, 1)
    chances = torch.from_numpy(rng().random(4000, np.float32))
    counts = sampled(shares, chances).bincount(minlength=4) / 4000
    assert torch.allclose(counts, shares[0], atol=0.03)
    assert counts[1] == 0
    assert sampled(torch.tensor([[0.5, 0.5]]), torch.tensor([0.9999999])).item() == 1


def test_the_loss_by_hand() -> None:
    task = objective()
    pair = build_pair(CONFIG, seed=1).eval()
    batch = task.collate(examples.rows(examples.wordpiece(), borders=(20,)), rng())
    at, real = batch["targets"] != IGNORE, batch["mask"] > 0
    assert (batch["inputs"][at] == task.masked.mask).all()
    found = task.loss(pair, batch)
    seen = {"mask": batch["mask"], "types": batch["types"]}
    said = pair.generator(batch["inputs"], **seen).logits
    generator = F.cross_entropy(said[at], batch["targets"][at], reduction="sum")
    fixed = batch["inputs"].clone()
    fixed[at] = sampled(said[at].softmax(-1), batch["chances"][at])
    true = batch["inputs"].clone()
    true[at] = batch["targets"][at]
    scores = pair.model(fixed, **seen).logits[..., 0]
    expected = float(generator)
    for row in range(len(fixed)):
        for number in batch["mask"][row].unique():
            here = (batch["mask"][row] == number) & real[row]
            if here.any():
                labels = (fixed[row] != true[row]).float()
                mean = F.binary_cross_entropy_with_logits(scores[row][here], labels[here])
                expected += WEIGHT * float(mean) * int((at[row] & here).sum())
    assert float(found.total) == pytest.approx(expected, rel=1e-5)
    assert int(found.count) == int(at.sum())
    assert 0 < float(found.metrics["replaced"][0]) <= int(at.sum())


def test_both_networks_learn() -> None:
    task = objective()
    pair = build_pair(CONFIG, seed=1)
    batch = task.collate(examples.rows(examples.wordpiece()), rng())
    task.loss(pair, batch).total.backward()
    for part in (pair.model, pair.generator):
        gradient = part.stack.blocks[0].attn.body.qkv.weight.grad
        assert gradient is not None and gradient.abs().sum() > 0


def test_a_row_depends_on_itself_only() -> None:
    given, task = examples.rows(examples.wordpiece()), objective()
    whole = task.collate(given, rng(7))
    halves = [task.collate(examples.part(given, *p), rng(7)) for p in ((0, 2), (2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))
