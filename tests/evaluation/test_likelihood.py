"""The loss over a text, against sums made by hand with a model whose answers are known."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ownlm.errors import ConfigError, DataError, NonFiniteError
from ownlm.evaluation.likelihood import Likelihood, Validation, likelihood
from ownlm.evaluation.windows import plan_windows
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.nn.head import Output
from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE, Batch, Loss

EOS = 0


class Listed:
    """A stream held as an array: the contract of `Stream`, written the plain way."""

    def __init__(self, documents: Iterable[list[int]]) -> None:
        ids: list[int] = []
        starts = []
        for document in documents:
            starts.append(len(ids))
            ids += [*document, EOS]
        self.ids, self.starts = np.array(ids, dtype=np.int64), np.array(starts)
        self.tokens, self.text_bytes = len(ids), 3 * (len(ids) - len(starts))
        self.bounds = np.array([self.tokens])

    def gather(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        return np.stack([self.ids[b : b + length] for b in begins])

    def documents(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int32]:
        owner = np.searchsorted(self.starts, np.arange(self.tokens), side="right")
        rows = [owner[b : b + length] - owner[b] + 1 for b in begins]
        return np.stack(rows).astype(np.int32)

    def heads(self, begins: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self.ids[max(s for s in self.starts if s <= b)] for b in begins])


class Counting(nn.Module):
    """Says each token with a probability of its own, and counts how often it was asked to."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.linspace(-1, 1, vocab)[:, None])
        self.inputs: list[int] = []

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Output:
        self.inputs += ids.flatten().tolist()
        ones = torch.ones(*ids.shape, 1)
        return Output(ones, ones, self.table)

    def nats(self, token: int) -> float:
        return -float(torch.log_softmax(self.table[:, 0].detach(), 0)[token])


class Unasked(Causal):
    """An objective that finds no target in any window."""

    def collate(self, examples: Any, rng: np.random.Generator) -> Batch:
        batch = super().collate(examples, rng)
        return batch | {"targets": torch.full_like(batch["targets"], IGNORE)}


def documents(seed: int, lengths: list[int]) -> Listed:
    rng = np.random.default_rng(seed)
    return Listed(rng.integers(1, 20, size=n).tolist() for n in lengths)


def decoder(context: int = 16) -> nn.Module:
    config = ModelConfig(layers=2, dim=32, heads=2, context=context, vocab=20, dropout=0.2)
    return build_model(config, seed=1)


def measure(model: nn.Module, stream: Listed, **options: Any) -> Likelihood:
    return likelihood(model, Causal(), stream, **{"context": 16, "batch": 3} | options)


@pytest.mark.parametrize("context", [4, 16, 100])
@pytest.mark.parametrize("lengths", [[40, 1, 23, 7], [3], [16], [15, 17]])
def test_every_token_once_except_the_first_of_the_stream(lengths: list[int], context: int) -> None:
    stream = documents(0, lengths)
    model = Counting(20)
    expected = [model.nats(t) for t in stream.ids[1:]]
    found = measure(model, stream, context=context)
    assert found.predicted == len(expected)
    assert found.loss == pytest.approx(sum(expected) / len(expected), rel=1e-6)
    per_byte = found.loss * stream.tokens / stream.text_bytes / math.log(2)
    assert found.bits_per_byte == pytest.approx(per_byte)
    assert found.perplexity == pytest.approx(math.exp(found.loss))


@pytest.mark.parametrize("tokens", [2, 3, 16, 17, 18, 31, 32, 33, 34, 100])
@pytest.mark.parametrize("stride", [1, 3, 8, 16])
def test_windows_cover_each_target_once(tokens: int, stride: int) -> None:
    covered: list[int] = []
    for begins, length, skipped in plan_windows(tokens, 16, stride):
        for begin, skip in zip(begins, skipped, strict=True):
            assert begin >= 0 and begin + length + 1 <= tokens and length <= 16
            covered += range(begin + 1 + skip, begin + length + 1)
    assert sorted(covered) == list(range(1, tokens))


def test_batch_size_changes_nothing_and_dropout_is_off() -> None:
    model, stream = decoder(), documents(2, [50, 9, 33])
    model.train()
    one, many = (measure(model, stream, batch=b).loss for b in (1, 8))
    assert one == pytest.approx(many, rel=1e-6)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_a_document_scores_the_same_alone_and_between_others() -> None:
    """And a leak would show: without the documents' numbers the same text scores otherwise."""
    model, first, second = decoder(64), [5, 6, 7, 8, 9, 10], [3, 4, 3, 4, 11, 12, 13]
    alone = [measure(model, Listed([d]), context=64) for d in (first, [EOS, *second])]
    expected = sum(a.loss * a.predicted for a in alone) / sum(a.predicted for a in alone)
    packed = measure(model, Listed([first, second]), context=64)
    leaking = measure(model, Listed([first, second]), context=64, documents=False)
    assert packed.loss == pytest.approx(expected, rel=1e-5)
    assert abs(leaking.loss - expected) > 1e-3


def test_sliding_windows_give_each_token_its_context() -> None:
    """With stride 1 every target beyond the first window sees exactly `context` tokens."""
    model, stream = decoder(), documents(3, [40])
    slid = measure(model, stream, stride=1, documents=False)
    nats = 0.0
    model.eval()
    for target in range(1, stream.tokens):
        seen = torch.tensor(stream.ids[max(0, target - 16) : target])[None]
        with torch.no_grad():
            logits = model(seen).logits[0, -1]
        nats -= float(torch.log_softmax(logits, 0)[stream.ids[target]])
    assert slid.predicted == stream.tokens - 1
    assert slid.loss == pytest.approx(nats / slid.predicted, rel=1e-5)
    assert abs(measure(model, stream, documents=False).loss - slid.loss) > 1e-4


def test_at_most_so_many_windows_spread_over_the_stream() -> None:
    stream = Listed([list(range(1, 20)) * 40])
    model = Counting(20)
    found = measure(model, stream, most=4, documents=False)
    assert found.predicted == 4 * 16 + (stream.tokens - 1) % 16
    assert len(model.inputs) == found.predicted


class Told(Causal):
    """Tells of each window how many of its tokens are even."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        even = (batch["inputs"] % 2 == 0).sum().float()
        pair = torch.stack((even, torch.tensor(float(batch["inputs"].numel()))))
        return super().loss(model, batch)._replace(metrics={"even": pair})


def test_further_figures_are_means_over_the_whole_stream() -> None:
    """Weighed by what each batch counted: the last window is shorter than the others."""
    stream, model = documents(5, [50, 9, 33]), Counting(20)
    found = likelihood(model, Told(), stream, context=16, batch=2)
    expected = float((stream.ids[:-1] % 2 == 0).mean())
    assert found.figures == {"even": pytest.approx(expected)}
    assert found.as_dict()["even"] == found.figures["even"]
    assert "figures" not in found.as_dict()
    told = Validation(Told(), stream, context=16, batch=2)(model)
    assert told["validation_even"] == pytest.approx(expected)


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    measure(Counting(20), documents(0, [90]), progress=lambda *at: seen.append(at))
    assert seen[-1] == (6, 6) and seen == sorted(seen)


def test_too_little_text_and_an_impossible_stride_are_refused() -> None:
    with pytest.raises(DataError, match="nothing to predict"):
        measure(Counting(20), Listed([[]]))
    with pytest.raises(DataError, match="nothing to predict"):
        likelihood(Counting(20), Unasked(), documents(0, [40]), context=16)
    for stride in (17, -1):
        with pytest.raises(ConfigError, match="stride"):
            measure(Counting(20), documents(0, [40]), stride=stride)


def test_a_loss_that_is_no_number_says_where() -> None:
    model = Counting(20)
    with torch.no_grad():
        model.table[3] = torch.nan
    with pytest.raises(NonFiniteError, match="tokens 0 to"):
        measure(model, documents(0, [40]))


def test_validation_measures_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    model, stream = decoder(), documents(2, [50, 9, 33])
    found = Validation(Causal(), stream, context=16)(model)
    expected = measure(model, stream)
    assert found["validation_loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert found["validation_bpb"] == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert found["validation_perplexity"] == pytest.approx(expected.perplexity, rel=1e-6)
    assert capsys.readouterr().err == ""


def test_a_failing_evaluation_is_reported_and_leaves_the_model_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(Counting):
        def forward(self, ids: Tensor, mask: Tensor | None = None) -> Output:
            raise RuntimeError("out of memory")

    model = Broken(20).train()
    assert Validation(Causal(), documents(0, [40]), context=16)(model) == {}
    assert model.training
    assert "RuntimeError: out of memory" in capsys.readouterr().err


def test_ctrl_c_during_evaluation_passes_through() -> None:
    class Interrupted(Counting):
        def forward(self, ids: Tensor, mask: Tensor | None = None) -> Output:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Validation(Causal(), documents(0, [40]), context=16)(Interrupted(20))
