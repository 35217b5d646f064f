"""Losses of heads over classes: ours, from our logits, against the reference's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

transformers = pytest.importorskip("transformers")

from ownlm.models.load import load_model  # noqa: E402
from ownlm.nn.head import Output  # noqa: E402

Folder = Callable[[str], Path]
LENGTH = 320


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 97, (4, LENGTH), generator=torch.Generator().manual_seed(5))


def classified(out: Output) -> tuple[Tensor, dict[str, Tensor]]:
    targets = torch.tensor([0, 2, 1, 2])
    total, count = out.cross_entropy(targets)
    return total / count, {"labels": targets}


def tagged(out: Output) -> tuple[Tensor, dict[str, Tensor]]:
    targets = torch.arange(4 * LENGTH).view(4, LENGTH) % 5 - 1
    targets = torch.where(targets > 2, -100, targets.clamp(min=0))
    total, count = out.cross_entropy(targets)
    return total / count, {"labels": targets}


def valued(out: Output) -> tuple[Tensor, dict[str, Tensor]]:
    values = torch.tensor([0.5, -1.0, 2.0, 0.0])
    return F.mse_loss(out.logits[:, 0], values.double()), {"labels": values.double()}


def located(out: Output) -> tuple[Tensor, dict[str, Tensor]]:
    places = {"start_positions": [3, 300, 7, 0], "end_positions": [9, 319, 7, 100]}
    targets = {name: torch.tensor(each) for name, each in places.items()}
    losses = [F.cross_entropy(out.logits[..., i], t) for i, t in enumerate(targets.values())]
    return (losses[0] + losses[1]) / 2, targets


CASES = {
    "LlamaForSequenceClassification": classified,
    "GPT2ForSequenceClassification": classified,
    "BertForSequenceClassification": classified,
    "reward": valued,
    "LlamaForTokenClassification": tagged,
    "GPT2ForTokenClassification": tagged,
    "T5ForTokenClassification": tagged,
    "LlamaForQuestionAnswering": located,
    "GPT2ForQuestionAnswering": located,
    "RobertaForQuestionAnswering": located,
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_its_gradient(name: str, folder_of: Folder, ids: Tensor) -> None:
    folder = folder_of(name)
    model, values = load_model(folder, dtype=torch.float64)
    made = getattr(transformers, values["architectures"][0])
    other = made.from_pretrained(folder, dtype=torch.float64).eval()
    loss, targets = CASES[name](model(ids))
    expected = other(input_ids=ids, **targets).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    ours, theirs = (out_gradient(m) for m in (model, other))
    assert apart(ours, theirs) < 1e-5
    table, expected_table = model.embed.tokens.weight.grad, other.get_input_embeddings().weight.grad
    assert table is not None and expected_table is not None
    assert apart(table, expected_table) < 1e-5


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def out_gradient(model: Any) -> Tensor:
    """Of the matrix that classes are read off, which is the last of a model."""
    last = [p for p in model.parameters() if p.ndim == 2][-1]
    assert last.grad is not None
    return last.grad  # type: ignore[no-any-return]


@torch.no_grad()
@pytest.mark.parametrize("pool", ["first", "mean"])
def test_control_another_pooling_is_noticed(pool: str, folder_of: Folder, ids: Tensor) -> None:
    from dataclasses import replace
    from typing import cast

    from ownlm.nn.task import TaskHead

    model, _ = load_model(folder_of("LlamaForSequenceClassification"))
    right, head = model(ids).logits, cast("TaskHead", model.task)
    head.config = replace(head.config, pool=pool)  # type: ignore[arg-type]
    assert not torch.allclose(model(ids).logits, right, rtol=1e-2)
