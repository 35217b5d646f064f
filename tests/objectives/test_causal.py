"""Next-token prediction: what is learned of a window, and what is not."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE

RNG = np.random.default_rng(0)


class Examples(NamedTuple):
    tokens: np.ndarray
    documents: np.ndarray | None = None


def model_of(vocab: int = 11, **over: Any):
    config = ModelConfig(
        layers=2, dim=8, heads=2, context=8, vocab=vocab, **({"tied": False} | over)
    )
    model = build_model(config, seed=0)
    with torch.no_grad():  # weights large enough that a leak would show
        for parameter in model.parameters():
            parameter.mul_(8)
    return model


def test_targets_are_the_inputs_one_place_on() -> None:
    batch = Causal().collate(Examples(np.array([[3, 1, 4, 1, 5]])), RNG)
    assert batch["inputs"].tolist() == [[3, 1, 4, 1]]
    assert batch["targets"].tolist() == [[1, 4, 1, 5]]
    assert "mask" not in batch


def test_the_end_of_a_document_opens_the_next() -> None:
    tokens = np.array([[3, 1, 0, 4, 1, 5]])
    batch = Causal().collate(Examples(tokens, np.array([[1, 1, 1, 2, 2, 2]], np.int32)), RNG)
    assert batch["inputs"].tolist() == [[3, 1, 0, 4, 1]]
    assert batch["targets"].tolist() == [[1, 0, 4, 1, 5]]
    assert batch["mask"].tolist() == [[1, 1, 2, 2, 2]]


def test_how_a_document_begins_is_learned_from_the_end_of_text_alone() -> None:
    """Of all texts the first token is 7: that is what generation without a prompt must give."""
    rng, end = np.random.default_rng(0), 0
    texts = [[7, *rng.integers(1, 7, rng.integers(2, 6)).tolist(), end] for _ in range(160)]
    numbers = np.repeat(np.arange(160), [len(text) for text in texts])
    tokens = np.concatenate([np.array(text) for text in texts])
    model, causal = model_of(tied=True), Causal()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for begin in range(0, 640, 16):
        window = slice(begin, begin + 17)
        examples = Examples(tokens[window][None], numbers[window][None].astype(np.int32) + 1)
        total, count, _ = causal.loss(model, causal.collate(examples, RNG))
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    with torch.no_grad():
        assert int(model(torch.tensor([[end]])).last_logits.argmax()) == 7


def test_the_loss_is_the_summed_cross_entropy_of_the_learned_targets() -> None:
    tokens = np.random.default_rng(1).integers(0, 11, (3, 9))
    documents = np.array([[1] * 4 + [2] * 5, [1] * 9, [1] * 2 + [2] * 7], np.int32)
    model = model_of()
    batch = Causal().collate(Examples(tokens, documents), RNG)
    batch["targets"][0, 2:4] = IGNORE
    loss = Causal().loss(model, batch)
    logits = model(batch["inputs"], mask=batch["mask"]).logits
    learned = batch["targets"] != IGNORE
    expected = F.cross_entropy(logits[learned], batch["targets"][learned], reduction="sum")
    assert loss.count == 3 * 8 - 2
    torch.testing.assert_close(loss.total, expected)
    assert loss.total.dtype == torch.float32


@pytest.mark.parametrize("packed", [True, False])
def test_documents_packed_together_cost_what_they_cost_alone(packed: bool) -> None:
    """Without the document numbers (the control) the second document reads the first."""
    one, two, end = np.array([[3, 1, 4, 0]]), np.array([[9, 2, 6, 5, 0]]), np.array([[0]])
    numbers = np.array([[1] * 4 + [2] * 5], np.int32)
    model, causal = model_of(), Causal()

    def cost(tokens: np.ndarray, documents: np.ndarray | None = None) -> float:
        batch = causal.collate(Examples(tokens, documents), RNG)
        return causal.loss(model, batch).total.item()

    alone = cost(one) + cost(np.concatenate((end, two), axis=1))
    together = cost(np.concatenate((one, two), axis=1), numbers if packed else None)
    assert (abs(together - alone) < 1e-5) == packed


def test_arrays_of_a_memory_map_are_not_written(tmp_path: Any) -> None:
    tokens = np.arange(10).reshape(2, 5)
    tokens.flags.writeable = False
    documents = np.ones((2, 5), np.int32)
    documents.flags.writeable = False
    batch = Causal().collate(Examples(tokens, documents), RNG)
    batch["inputs"].zero_(), batch["targets"].zero_(), batch["mask"].zero_()
    assert tokens.sum() == 45 and documents.sum() == 10


def test_segments_pass_their_memory_on() -> None:
    """Four segments with a memory say what one pass over all of them says."""
    config = ModelConfig(
        family="transformer-xl", layers=1, dim=32, heads=4, context=64, memory=64, vocab=50
    )
    model = build_model(config, seed=1).eval()
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens = np.random.default_rng(0).integers(0, 50, (2, 65))
    documents = np.repeat([[1] * 30 + [2] * 35], 2, axis=0).astype(np.int32)
    examples = Examples(tokens, documents)
    batch = Causal().collate(examples, np.random.default_rng(0))
    whole, parts = Causal().loss(model, batch), Causal(segments=4).loss(model, batch)
    assert float(parts.total.detach()) == pytest.approx(float(whole.total.detach()), rel=1e-5)
    assert int(parts.count) == int(whole.count)
    model.new_memory = lambda batch: None  # the control: without it they differ
    forgetful = Causal(segments=4).loss(model, batch)
    assert float(forgetful.total.detach()) != pytest.approx(float(whole.total.detach()), rel=1e-3)
    assert Causal(segments=4).window(64) == 256
