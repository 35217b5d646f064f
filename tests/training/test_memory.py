"""What a memory is for: text that only the segments before could have told is learned."""

import numpy as np
import pytest
import torch

from ownlm.data.loader import Examples
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.causal import Causal
from ownlm.training.config import OptimizerConfig
from ownlm.training.optimizer import make_optimizer
from ownlm.training.precision import Weights
from ownlm.training.step import Stepper

VOCAB, LENGTH = 32, 16


def twice(step: int, rows: int = 32) -> Examples:
    """Rows of two segments: random tokens, and the same once more."""
    half = np.random.default_rng((7, step)).integers(1, VOCAB, (rows, LENGTH))
    text = np.concatenate([half, half, half[:, :1]], axis=1)
    return Examples(text.astype(np.int64), None, np.arange(rows) + step * rows)


def losses(model: torch.nn.Module, remembers: bool) -> list[float]:
    """Nats a token of the first and of the second segment."""
    batch, found = Causal().collate(twice(10**6, 64), np.random.default_rng(0)), []
    memory = model.new_memory(64) if remembers else None
    with torch.no_grad():
        for ids, targets in zip(
            batch["inputs"].split(LENGTH, 1), batch["targets"].split(LENGTH, 1)
        ):
            total, count = model(ids, cache=memory).cross_entropy(targets)
            found.append(float(total / count))
    return found


@pytest.mark.slow
def test_transformer_xl_learns_to_read_its_memory() -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        family="transformer-xl", layers=2, dim=64, heads=2, context=LENGTH, vocab=VOCAB
    )
    model = build_any(config, seed=1).train()
    weights = Weights(model, "fp32")
    optimizer = make_optimizer(weights.master, OptimizerConfig(lr=3e-3, weight_decay=0.0))
    stepper = Stepper(model, Causal(segments=2), weights, optimizer, seed=1, clip=1.0)
    for step in range(300):
        stepper.step([twice(step)], step, 3e-3 * min(1.0, (step + 1) / 50))
    model.eval()
    guess = np.log(VOCAB - 1)
    first, second = losses(model, remembers=True)
    assert first > 0.9 * guess  # nothing could have told
    assert second < 0.2 * guess
    assert min(losses(model, remembers=False)) > 0.9 * guess  # the control
