"""Permutation language modelling: what is predicted, and what it may be predicted from."""

import examples
import numpy as np
import pytest
import torch

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.nn.streams import factorise
from ownlm.objectives.permutation import Permutation


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def model(context: int = 16):
    config = ModelConfig(
        family="xlnet", layers=2, dim=32, heads=4, context=context, memory=64, vocab=400
    )
    made = build_any(config, seed=1).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return made


def test_a_sixth_is_predicted_each_at_its_own_time() -> None:
    steps = Permutation().steps(120, rng())
    predicted = steps[steps >= 0]
    assert len(predicted) == 20 and len(set(predicted.tolist())) == 20
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], steps >= 0, [0]]))))[::2]
    assert runs.max() > 1  # spans, not single tokens


def test_the_loss_by_hand() -> None:
    """Each predicted token alone: hide those of its own step and later, and ask for it."""
    net, objective = model(), Permutation()
    given = examples.rows(examples.bpe(), count=2, length=16)
    batch = objective.collate(given, rng())
    found = objective.loss(net, batch)
    expected, count = 0.0, 0
    for ids, steps in zip(batch["inputs"], batch["steps"], strict=True):
        for place in (steps >= 0).nonzero().flatten().tolist():
            alone = ids.clone()
            unseen = steps >= steps[place]
            alone[unseen] = 7  # whatever stands there, nobody may look
            order, _ = factorise(steps[None], steps[None] >= 0)
            at = order.places[0].tolist().index(place)
            said = net(alone[None], order=order).logits[0, at].log_softmax(-1)
            expected -= float(said[ids[place]])
            count += 1
    assert float(found.total) == pytest.approx(expected, rel=1e-4)
    assert int(found.count) == count


def test_segments_read_the_memory_of_those_before() -> None:
    net = model()
    given = examples.rows(examples.bpe(), count=2, length=32)
    objective = Permutation(segments=2)
    batch = objective.collate(given, rng())
    together = objective.loss(net, batch)
    halves = [
        Permutation().loss(net, {name: tensor[:, part] for name, tensor in batch.items()})
        for part in (slice(0, 16), slice(16, 32))
    ]
    assert int(together.count) == sum(int(half.count) for half in halves)
    apart = sum(float(half.total) for half in halves)
    assert float(together.total) != pytest.approx(apart, rel=1e-4)
    first = {name: tensor.clone() for name, tensor in batch.items()}
    first["inputs"][:, 16:] = 9
    same = objective.loss(net, first | {"steps": batch["steps"].clone()})
    assert float(same.total) != pytest.approx(float(together.total), rel=1e-6)


def test_a_row_depends_on_itself_only() -> None:
    given, objective = examples.rows(examples.bpe(), borders=(20,)), Permutation()
    whole = objective.collate(given, rng(7))
    halves = [objective.collate(examples.part(given, *p), rng(7)) for p in ((0, 2), (2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))
    assert set(whole) == {"inputs", "steps", "mask"}


def test_rows_that_predict_less_are_filled_up() -> None:
    net, objective = model(), Permutation()
    ids = torch.from_numpy(examples.rows(examples.bpe(), count=2, length=16).tokens[:, :-1])
    steps = torch.full((2, 16), -1)
    steps[0, 3], steps[0, 5], steps[1, 8] = 0, 1, 0
    both = objective.loss(net, {"inputs": ids, "steps": steps})
    single = [objective.loss(net, {"inputs": ids[i : i + 1], "steps": steps[i : i + 1]})
              for i in range(2)]  # fmt: skip
    assert int(both.count) == 3
    assert float(both.total) == pytest.approx(sum(float(s.total) for s in single), rel=1e-5)
