"""Two streams: who sees whom in a factorisation order, and that nothing leaks."""

import pytest
import torch
from torch import Tensor

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.models.two_streams import LeftToRight, TwoStreams
from ownlm.nn.streams import factorise

CONFIG = ModelConfig(family="xlnet", vocab=50, dim=16, heads=2, layers=2, context=24, memory=40)
T = 20


@pytest.fixture(scope="module")
def model() -> TwoStreams:
    made = build_model(CONFIG, seed=1, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.4, generator=generator)
    assert isinstance(made, TwoStreams)
    return made


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(seed))


def drawn(rows: int = 2) -> tuple[Tensor, Tensor]:
    """Steps, and what is predicted: a third of the first row, half of the second."""
    generator = torch.Generator().manual_seed(3)
    steps = torch.stack([torch.randperm(T, generator=generator) for _ in range(rows)])
    shares = torch.tensor([[0.33], [0.5]])[:rows]
    return steps, torch.rand(rows, T, generator=generator) < shares


def test_the_example_of_the_docstring() -> None:
    """b sees a, d;  c sees a, b, d;  context sees context."""
    steps, predicted = torch.tensor([[9, 0, 1, 9]]), torch.tensor([[False, True, True, False]])
    order, real = factorise(steps, predicted)
    seen = [{"abcd"[j] for j in range(4) if not order.blocked[0, i, j]} for i in range(4)]
    assert seen == [{"a", "d"}, {"a", "d"}, {"a", "b", "d"}, {"a", "d"}]
    assert order.places.tolist() == [[1, 2]]
    assert bool(real.all())


def test_an_order_is_its_definition() -> None:
    """Yang et al. 2019, 2.2: what comes at step t sees what came before t, and the context."""
    steps, predicted = drawn()
    order, real = factorise(steps, predicted)
    for row in range(2):
        for i in range(T):
            for j in range(T):
                context = not predicted[row, j]
                earlier = bool(predicted[row, i]) and steps[row, j] < steps[row, i]
                assert bool(order.blocked[row, i, j]) != (context or earlier)
        places = order.places[row][real[row]].tolist()
        assert places == predicted[row].nonzero()[:, 0].tolist()
    assert not real.all(), "rows that predict unlike numbers of tokens"
    assert not predicted.gather(1, order.places)[~real].any()


@torch.no_grad()
def test_a_prediction_knows_what_came_before_it_and_nothing_else(model: TwoStreams) -> None:
    ids, (steps, predicted) = tokens(1, T), drawn(1)
    order, _ = factorise(steps, predicted)
    logits = model(ids, order=order).logits[0]
    for j in range(T):
        changed = ids.clone()
        changed[0, j] = (ids[0, j] + 7) % 50
        moved = (model(changed, order=order).logits[0] - logits).abs().amax(-1) > 1e-9
        allowed = ~order.blocked[0, order.places[0], j]
        # What may be seen may also come by way of others, but only from the same or less.
        assert torch.equal(moved, allowed), j


@torch.no_grad()
def test_a_token_that_is_predicted_first_is_guessed_from_its_place(model: TwoStreams) -> None:
    order, _ = factorise(torch.arange(T)[None], torch.ones(1, T, dtype=torch.bool))
    first = model(tokens(1, T), order=order).logits[0, 0]
    assert bool(first.isfinite().all())
    assert torch.equal(first, model(tokens(1, T, seed=8), order=order).logits[0, 0])


@torch.no_grad()
def test_padding_and_documents_do_not_leak_into_predictions(model: TwoStreams) -> None:
    ids, (steps, predicted) = tokens(1, 3 * T), drawn(2)
    steps = torch.cat((torch.zeros(1, T, dtype=torch.long), steps[:1], steps[1:]), dim=1)
    none = torch.zeros(1, T, dtype=torch.bool)
    both = torch.cat((none, predicted[:1], predicted[1:]), dim=1)
    mask = torch.arange(3 * T)[None] // T
    found = model(ids, mask, order=factorise(steps, both)[0]).logits[0]
    alone = [
        model(part, order=factorise(s, p)[0]).logits[0]
        for part, s, p in zip(
            ids[:, T:].split(T, dim=1),
            steps[:, T:].split(T, dim=1),
            predicted[:, None],
            strict=True,
        )
    ]
    assert torch.allclose(found, torch.cat(alone), atol=1e-9)


@torch.no_grad()
def test_the_writer_predicts_in_the_order_of_the_text(model: TwoStreams) -> None:
    ids, writer = tokens(2, T), model.writer
    assert isinstance(writer, LeftToRight)
    steps, every = torch.arange(T).expand(2, T), torch.ones(2, T, dtype=torch.bool)
    expected = model(ids, order=factorise(steps, every)[0]).logits
    assert torch.allclose(writer(ids).logits[:, :-1], expected[:, 1:], atol=1e-9)
    changed = torch.cat((ids[:, :9], (ids[:, 9:] + 1) % 50), dim=1)
    assert torch.allclose(writer(changed).logits[:, :9], writer(ids).logits[:, :9], atol=1e-12)
    assert not torch.allclose(writer(changed).logits[:, 9], writer(ids).logits[:, 9], atol=1e-3)


@torch.no_grad()
def test_the_writer_with_a_cache_says_the_same(model: TwoStreams) -> None:
    ids, writer = tokens(2, T), model.writer
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    cache = writer.new_cache(2)
    parts = zip(ids.split((7, 1, 1, 11), dim=1), mask.split((7, 1, 1, 11), dim=1), strict=True)
    found = torch.cat([writer(part, seen, cache).logits for part, seen in parts], dim=1)
    assert torch.allclose(found[mask > 0], writer(ids, mask).logits[mask > 0], atol=1e-9)
    assert torch.allclose(found[1, 4:], writer(ids[1:, 4:]).logits[0], atol=1e-9)


def test_every_parameter_learns(model: TwoStreams) -> None:
    made = build_model(CONFIG, seed=1).train()
    assert isinstance(made, TwoStreams)
    ids, (steps, predicted) = tokens(2, T), drawn()
    order, real = factorise(steps, predicted)
    targets = ids.gather(1, order.places).masked_fill(~real, -100)
    types = (torch.arange(T) > 9).long().expand(2, T)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        total, count = made(ids, types=types, order=order).cross_entropy(targets)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        losses.append(float(total.detach() / count))
    assert int(count) == int(predicted.sum())
    assert all(p.grad is not None and bool(p.grad.any()) for p in made.parameters())
    assert losses[0] > 3 and losses[-1] < 0.5
