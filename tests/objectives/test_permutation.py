"""Permutation language modelling: what is predicted, and what it may be predicted from."""

import examples
import numpy as np
import pytest
import torch
from examples import Draws, told

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.nn.mask import first_span
from ownlm.nn.streams import factorise, masks
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


# Half of six tokens: a span of 2 from 1, then one of 3 from 5 of which 1 is left. The times
# 3 1 0 4 5 2 of all six count only where a token is predicted.
DRAWS = 2, 1, 3, 5, [3, 1, 0, 4, 5, 2]
TEXT, STEPS = [10, 11, 12, 13, 14, 15], [-1, 1, 0, -1, -1, 2]
# What the word at each place is told from, place by place: 12 first, then 11, then 15.
SEEN = {2: "x . . x x .", 1: "x . x x x .", 5: "x x x x x ."}
# What the content of each place is made of: itself, what is not predicted, what came before it.
CONTENT = ["x . . x x .", "x x x x x .", "x . x x x .", "x . . x x .", "x . . x x .", "x x x x x x"]


def one_window(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    told(monkeypatch, Draws(*DRAWS))
    given = examples.Rows(np.array([[*TEXT, 16]]), None, np.zeros(1, np.int64), None)
    return Permutation(rate=0.5).collate(given, Draws(5))


def crossed(rows: torch.Tensor) -> list[str]:
    return [" ".join("x" if seen else "." for seen in row) for row in rows.tolist()]


def test_a_window_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window's own tokens are predicted, not the next ones: 16 is nowhere."""
    batch = one_window(monkeypatch)
    assert batch["inputs"].tolist() == [TEXT] and batch["steps"].tolist() == [STEPS]
    order, real = factorise(batch["steps"], batch["steps"] >= 0)
    assert order.places.tolist() == [[1, 2, 5]] and real.all()
    content, query = masks(first_span(batch["inputs"], None), order, causal=False)
    assert crossed(content.built[0, 0]) == CONTENT
    assert crossed(query.built[0, 0]) == [SEEN[1], SEEN[2], SEEN[5]]


@torch.no_grad()
@pytest.mark.parametrize("steps", [STEPS, [-1, 0, 1, -1, -1, 2]])
def test_what_each_prediction_depends_on(steps: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another token at a place changes what is said exactly where SEEN has a cross. With 11 before
    12 (the control) that is another table."""
    net, batch = model(), one_window(monkeypatch)
    times = torch.tensor([steps])
    order, _ = factorise(times, times >= 0)
    plain = net(batch["inputs"], order=order).logits[0]
    changes = torch.zeros(3, 6, dtype=torch.bool)
    for place in range(6):
        other = batch["inputs"].clone()
        other[0, place] = 99
        said = net(other, order=order).logits[0]
        changes[:, place] = (said - plain).abs().amax(dim=-1) > 1e-4
    assert (crossed(changes) == [SEEN[1], SEEN[2], SEEN[5]]) is (steps == STEPS)


@torch.no_grad()
def test_what_is_learned_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is nothing but a bias gives 10 to 15 one bit, 2, 4, 8, 16 and 32 (and 9 what
    is left): 11, 12 and 15 cost 2 + 4 + 32, which no other tokens do."""
    net = model()
    for parameter in net.parameters():
        parameter.zero_()
    shares = torch.full((400,), 1e-30)
    shares[10:16] = torch.tensor([2.0**-bits for bits in (1, 2, 4, 8, 16, 32)])
    shares[9] = 1 - shares.sum()
    net.head.bias.copy_(shares.log())
    loss = Permutation(rate=0.5).loss(net, one_window(monkeypatch))
    assert float(loss.total) / np.log(2) == pytest.approx(2 + 4 + 32, rel=1e-5)
    assert int(loss.count) == 3


def test_the_loss_agrees_with_the_model_s_own_words() -> None:
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
