"""Conversations: the assistant's words are learned, with their end; packing changes nothing."""

import numpy as np
import pytest
import torch
from examples import bpe, rows

from ownlm.data.packing import PackedExamples, Packing, packed
from ownlm.errors import ConfigError, DataError
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.objectives.chat import Chat
from ownlm.objectives.objective import IGNORE, Loss

RNG = np.random.default_rng(0)


def model_of() -> torch.nn.Module:
    config = ModelConfig(family="llama", layers=2, dim=32, heads=4, context=64, vocab=50)
    model = build_model(config, seed=1).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)  # so large that a leak would show
    return model


def conversations(count: int, seed: int = 0) -> list[tuple[list[int], list[bool]]]:
    """Of 5 to 24 tokens, the last third learned; 49 ends turns and is padding as well."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        size = int(rng.integers(5, 25))
        ids = [*rng.integers(1, 49, size - 1).tolist(), 49]
        found.append((ids, [place >= size * 2 // 3 for place in range(size)]))
    return found


@torch.no_grad()
def cost(examples: PackedExamples, model: torch.nn.Module) -> Loss:
    return Chat().loss(model, Chat().collate(examples, RNG))


def alone(one: tuple[list[int], list[bool]]) -> PackedExamples:
    return Packing([one], len(one[0]) - 1, 1, seed=0).batch(0)


def test_a_batch_by_hand() -> None:
    """<1> Hi=5 <end>=2 <3> Yes=6 <end>=2, and a shorter one; what was free is padding (2 too)."""
    first = [1, 5, 2, 3, 6, 2], [False, False, False, False, True, True]
    second = [1, 3, 7, 2], [False, False, True, True]
    batch = Chat().collate(Packing([first, second], 11, 1, seed=0, pad=2).batch(0), RNG)
    x = IGNORE
    assert batch["inputs"].tolist() == [[1, 5, 2, 3, 6, 2, 1, 3, 7, 2, 2]]
    assert batch["mask"].tolist() == [[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0]]
    assert batch["targets"].tolist() == [[x, x, x, 6, 2, x, x, 7, 2, x, x]]


def test_the_next_conversation_is_never_learned_from_the_one_before() -> None:
    """Even where its first token is marked."""
    everything = [1, 5, 2], [True, True, True]
    batch = Chat().collate(Packing([everything, everything], 5, 1, seed=0).batch(0), RNG)
    assert batch["targets"].tolist() == [[5, 2, IGNORE, 5, 2]]


@pytest.mark.parametrize("masked", [True, False])
def test_packed_conversations_cost_what_they_cost_alone(masked: bool) -> None:
    """Without the numbers of the conversations (the control) they see each other."""
    model, given = model_of(), conversations(12)
    packing = Packing(given, 60, 1, seed=3)
    assert len(packing.rows) < 6 and packing.filled > 0.7
    whole = [packing.batch(step) for step in range(len(packing.rows))]
    if not masked:
        whole = [batch._replace(documents=np.minimum(batch.documents, 1)) for batch in whole]
    together = [cost(batch, model) for batch in whole]
    separate = [cost(alone(one), model) for one in given]
    assert sum(int(loss.count) for loss in separate) == sum(sum(marks) for _, marks in given)
    total = sum(float(loss.total) for loss in separate)
    same = sum(float(loss.total) for loss in together) == pytest.approx(total, rel=1e-5)
    assert same == masked


def test_padding_costs_nothing_and_changes_nothing() -> None:
    model, one = model_of(), conversations(1)[0]
    bare, padded = alone(one), Packing([one], 60, 1, seed=0, pad=49).batch(0)
    assert padded.tokens.shape[1] > bare.tokens.shape[1]
    assert float(cost(padded, model).total) == pytest.approx(float(cost(bare, model).total))
    assert int(cost(padded, model).count) == int(cost(bare, model).count) == sum(one[1])


def test_micro_batches_add_up_to_the_batch() -> None:
    model, packing = model_of(), Packing(conversations(40), 40, 8, seed=1)
    whole = cost(packing.batch(2), model)
    parts = [cost(packing.batch(2, micro, 4), model) for micro in range(4)]
    assert sum(float(part.total) for part in parts) == pytest.approx(float(whole.total), rel=1e-5)
    assert sum(int(part.count) for part in parts) == int(whole.count)
    averaged = sum(float(part.total / part.count) for part in parts) / 4  # the control
    assert averaged != pytest.approx(float(whole.total / whole.count), rel=1e-5)


def test_the_end_of_turn_is_learned_where_it_is_padding_too() -> None:
    packing = Packing(conversations(9), 40, 2, seed=0, pad=49)
    targets = Chat().collate(packing.batch(0), RNG)["targets"]
    documents = packing.batch(0).documents
    assert int((targets == 49).sum()) == int(documents.max(axis=1).sum())


def test_every_conversation_is_met_once_an_epoch_in_another_order() -> None:
    packing = Packing(conversations(60), 50, 1, seed=5)
    rows = len(packing.rows)
    assert sorted(number for row in packing.rows for number in row) == list(range(60))
    epochs = [
        [int(packing.batch(epoch * rows + step).sample_ids[0]) for step in range(rows)]
        for epoch in range(2)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(rows))
    assert epochs[0] != epochs[1]
    again = Packing(conversations(60), 50, 1, seed=5)
    assert np.array_equal(again.batch(7).tokens, packing.batch(7).tokens)


def test_long_conversations_are_cut_and_unanswered_ones_left_out() -> None:
    long = list(range(1, 41)), [place % 2 == 1 for place in range(40)]
    late = list(range(1, 41)), [place > 30 for place in range(40)]
    silent = [1, 2, 3], [False] * 3
    packing = Packing([long, late, silent], 20, 1, seed=0)
    assert (packing.cut, packing.dropped, packing.rows) == (2, 2, [[0]])
    assert packing.batch(0).tokens.tolist() == [list(range(1, 22))]
    with pytest.raises(DataError, match="none has an answer"):
        Packing([late, silent], 20, 1, seed=0)


def test_rows_are_filled_well() -> None:
    assert packed([3, 6, 4, 2, 5], 10) == [[1, 2], [4, 0, 3]]
    lengths = np.random.default_rng(1).integers(10, 200, 2_000).tolist()
    found = packed(lengths, 512)
    assert max(sum(lengths[n] for n in row) for row in found) <= 512
    assert sum(lengths) / (512 * len(found)) > 0.99


def test_plain_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs conversations"):
        Chat().collate(rows(bpe()), RNG)
