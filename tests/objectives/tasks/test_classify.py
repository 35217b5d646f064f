"""Labels and scores: batches and losses by hand, and as the reference's classifier has them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import wordpiece
from task_cases import HERE, LABELS, RNG, apart, labelled, learned, made, scored
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.data.encoded import Encoded, examples
from ownlm.data.faults import Bad
from ownlm.data.tasks.predictions import Classified, Estimate
from ownlm.data.tasks.records import Labelled
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any, save_model
from ownlm.nn.config import TaskConfig
from ownlm.nn.task import TaskHead
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.tasks.classify import Classify
from ownlm.objectives.tasks.task import encode_all


def given(*targets: Any, dtype: Any = np.int64) -> list[Encoded]:
    """[CLS] 7 8 [SEP], [CLS] 9 [SEP], [CLS] [SEP] with these targets."""
    ids = ([2, 7, 8, 3], [2, 9, 3], [2, 3])
    return [
        Encoded(np.array(each), number, np.zeros(len(each), np.int64), np.array(target, dtype))
        for number, (each, target) in enumerate(zip(ids, targets, strict=True))
    ]


def plain(model: nn.Module, encoded: list[Encoded]) -> Tensor:
    """Logits (N, C) of each sequence as the only one of a batch."""
    rows = [model(torch.from_numpy(item.ids)[None]).logits[0] for item in encoded]
    return torch.stack(rows).float()


def test_a_batch_by_hand() -> None:
    task, _ = made("bert", "classify")
    pad = wordpiece().pad_id
    batch = task.collate(examples(given(0, 2, 1)), RNG)
    assert batch["inputs"].tolist() == [[2, 7, 8, 3], [2, 9, 3, pad], [2, 3, pad, pad]]
    assert batch["mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert batch["places"].tolist() == [[0, 1, 2, 3], [4, 5, 6, -1], [8, 9, -1, -1]]
    assert batch["targets"].tolist() == [0, 2, 1]
    assert batch["types"].tolist() == [[0] * 4] * 3
    two = [given(0, 2, 1)[0], *given(0, 2, 1)[2:], *given(0, 2, 1)[2:]]
    batch = task.collate(examples(two), RNG)
    assert batch["inputs"].tolist() == [[2, 7, 8, 3], [2, 3, 2, 3]]
    assert batch["mask"].tolist() == [[1, 1, 1, 1], [1, 1, 2, 2]]
    assert batch["places"].tolist() == [[0, 1, 2, 3], [4, 5, -1, -1], [6, 7, -1, -1]]


def test_the_loss_of_labels_by_hand() -> None:
    task, model = made("bert", "classify")
    encoded = given(0, 2, 1)
    loss, _ = learned(task, model, encoded)
    logs = plain(model, encoded).log_softmax(-1)
    assert float(loss.total) == pytest.approx(-float(logs[0, 0] + logs[1, 2] + logs[2, 1]), 1e-5)
    assert float(loss.count) == 3
    right = (logs.argmax(-1) == torch.tensor([0, 2, 1])).sum()
    assert loss.metrics["accuracy"].tolist() == [float(right), 3.0]


def test_a_sequence_without_a_label_costs_nothing() -> None:
    task, model = made("bert", "classify")
    some, _ = learned(task, model, given(0, IGNORE, 1))
    both, _ = learned(task, model, [given(0, 0, 1)[0], given(0, 0, 1)[2]])
    assert float(some.total) == pytest.approx(float(both.total)) and float(some.count) == 2


def test_rare_classes_count_more_by_what_was_seen_before_training() -> None:
    """Of 4 texts 3 are ham and 1 is spam: 4 / (3 * 3) and 4 / (3 * 1); `other` was never seen."""
    task, model = made("bert", "classify", class_weights="balanced")
    records = labelled([3, 4, 5, 6])
    names = ("ham", "ham", "spam", "ham")
    records = [
        Labelled(origin=HERE, text=one.text, labels=(name,)) for one, name in zip(records, names)
    ]
    task.prepare(encode_all(task, records))
    assert isinstance(task, Classify) and task.weights is not None
    assert task.weights.tolist() == pytest.approx([4 / 9, 4 / 3, 4 / 3])
    encoded = given(0, 1, 0)
    loss, _ = learned(task, model, encoded)
    logs = plain(model, encoded).log_softmax(-1)
    by_hand = -(4 / 9 * (logs[0, 0] + logs[2, 0]) + 4 / 3 * logs[1, 1])
    assert float(loss.total) == pytest.approx(float(by_hand), 1e-5)
    assert float(loss.count) == pytest.approx(4 / 9 * 2 + 4 / 3)
    mean = F.cross_entropy(plain(model, encoded), torch.tensor([0, 1, 0]), task.weights)
    assert float(loss.total / loss.count) == pytest.approx(float(mean), 1e-5)


def test_a_new_head_begins_with_a_guess_by_frequency() -> None:
    """Half a count is added to each class, or to yes and to no: (2 + 1/2) / (3 + 1), ..."""
    one, _ = made("bert", "classify")
    found = one.prior(given(0, 1, 0))
    assert found is not None
    assert found.exp().tolist() == pytest.approx([2.5 / 4, 1.5 / 4, 0.5 / 4])
    several, _ = made("bert", "classify", multi_label=True)
    found = several.prior(given([1, 0, 1], [1, 0, 0], [0, 0, 0], dtype=np.float32))
    assert found is not None
    assert found.sigmoid().tolist() == pytest.approx([2.5 / 4, 0.5 / 4, 1.5 / 4])
    weighted, _ = made("bert", "classify", class_weights="balanced")
    assert weighted.prior(given(0, 1, 0)) is None  # all classes count the same
    score, _ = made("bert", "regress")
    found = score.prior(given(0.5, -2.0, 7.0, dtype=np.float32))
    assert found is not None and found.tolist() == pytest.approx([5.5 / 3])
    assert made("bert", "span")[0].prior([]) is None


def test_only_a_head_that_has_not_learned_begins_anew() -> None:
    head = TaskHead(TaskConfig(dim=4, outputs=3))
    assert head.out is not None
    nn.init.zeros_(head.out.bias)
    head.begin(torch.tensor([1.0, 2, 3]))
    assert head.out.bias.tolist() == [1, 2, 3]
    head.begin(torch.tensor([5.0, 5, 5]))
    assert head.out.bias.tolist() == [1, 2, 3]


def test_several_labels_by_hand() -> None:
    task, model = made("bert", "classify", multi_label=True)
    records = [
        Labelled(origin=HERE, text="nobody slept", labels=labels)
        for labels in (("spam", "ham"), (), ("other",))
    ]
    encoded = encode_all(task, records)
    assert [item.target.tolist() for item in encoded] == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    loss, _ = learned(task, model, encoded)
    logits = plain(model, encoded)
    targets = torch.tensor([[1.0, 1, 0], [0, 0, 0], [0, 0, 1]])
    shares = logits.sigmoid()
    by_hand = -(targets * shares.log() + (1 - targets) * (1 - shares).log()).sum()
    assert float(loss.total) == pytest.approx(float(by_hand), 1e-5) and float(loss.count) == 9
    (one, *_) = task.predict(model, encoded, records)
    assert isinstance(one, Classified)
    assert one.labels == tuple(name for name, p in zip(LABELS, shares[0]) if p > 0.5)
    assert [*one.probabilities.values()] == pytest.approx(shares[0].tolist(), 1e-4)


def test_balanced_yes_and_no_of_several_labels() -> None:
    task, model = made("bert", "classify", multi_label=True, class_weights="balanced")
    encoded = given([1, 0, 1], [1, 0, 0], [0, 0, 0], dtype=np.float32)
    task.prepare(encoded)
    assert isinstance(task, Classify) and task.weights is not None
    assert task.weights.tolist() == [0.5, 3.0, 2.0]
    loss, _ = learned(task, model, encoded)
    targets = torch.from_numpy(np.stack([item.target for item in encoded]))
    mean = F.binary_cross_entropy_with_logits(
        plain(model, encoded), targets, pos_weight=task.weights
    )
    assert float(loss.total / loss.count) == pytest.approx(float(mean), 1e-5)


def test_smoothing_is_of_training_only() -> None:
    task, model = made("bert", "classify", smoothing=0.1)
    usual, _ = made("bert", "classify")
    encoded = given(0, 2, 1)
    assert float(learned(task, model, encoded)[0].total) == pytest.approx(
        float(learned(usual, model, encoded)[0].total)
    )
    logits, targets = plain(model, encoded), torch.tensor([0, 2, 1])
    expected = F.cross_entropy(logits, targets, label_smoothing=0.1, reduction="sum")
    model.train()
    try:
        for part in model.modules():
            part.p = 0.0  # type: ignore[assignment]  # no dropout
        assert float(learned(task, model, encoded)[0].total) == pytest.approx(float(expected), 1e-4)
    finally:
        model.eval()


def test_scores_are_learned_as_they_are() -> None:
    task, model = made("bert", "regress")
    encoded = given(0.5, -2.0, 7.0, dtype=np.float32)
    loss, _ = learned(task, model, encoded)
    logits = plain(model, encoded)[:, 0]
    by_hand = ((logits - torch.tensor([0.5, -2.0, 7.0])) ** 2).sum()
    assert float(loss.total) == pytest.approx(float(by_hand), 1e-5) and float(loss.count) == 3
    records = scored([3, 5, 4])
    found = task.predict(model, encoded, records)
    assert [one.score for one in found if isinstance(one, Estimate)] == pytest.approx(
        logits.tolist(), 1e-4
    )


def test_a_label_that_is_none_is_a_fault_of_its_record() -> None:
    task, _ = made("bert", "classify")
    with pytest.raises(Bad, match="'eggs' is not among the labels"):
        task.encode(Labelled(origin=HERE, text="a", labels=("eggs",)), 0)
    with pytest.raises(Bad, match="2 labels where one is expected"):
        task.encode(Labelled(origin=HERE, text="a", labels=("ham", "spam")), 0)
    (item,) = task.encode(Labelled(origin=HERE, text="a", labels=()), 0)
    assert item.target == IGNORE


PROBLEMS = {
    "one": ("single_label_classification", torch.tensor([0, 2, 1])),
    "several": ("multi_label_classification", torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]])),
    "score": ("regression", torch.tensor([0.5, -2.0, 7.0])),
}


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_loss_and_gradients_are_those_of_bert_for_sequence_classification(
    problem: str, packs: bool, tmp_path: Path
) -> None:
    """The control: with one target changed they are not."""
    transformers = pytest.importorskip("transformers")
    told, targets = PROBLEMS[problem]
    kind = "regress" if problem == "score" else "classify"
    task, _ = made("bert", kind, multi_label=problem == "several")
    config = {"family": "bert", "layers": 2, "dim": 32, "heads": 4, "context": 64, "vocab": 300}
    labels = 1 if problem == "score" else 3
    head = "ForSequenceClassification"
    model = build_any(ModelConfig.parse(config | {"head": head, "labels": labels}), seed=3)
    save_model(model, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"problem_type": told}))
    other = transformers.BertForSequenceClassification.from_pretrained(tmp_path).eval()
    encoded = given(*targets.tolist(), dtype=targets.numpy().dtype)
    inputs = torch.zeros(3, 4, dtype=torch.long)
    for row, item in enumerate(encoded):
        inputs[row, : len(item.ids)] = torch.from_numpy(item.ids)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    expected = other(input_ids=inputs, attention_mask=mask, labels=targets).loss
    expected.backward()
    task.packs = packs
    try:
        loss, _ = learned(task, model.eval(), encoded)
        wrong, _ = learned(task, model, [encoded[0], encoded[1], encoded[2]._replace(
            target=encoded[0].target)])  # fmt: skip
        mean = float(loss.total / loss.count)
        assert mean == pytest.approx(expected.item(), 1e-5)
        assert abs(float(wrong.total / wrong.count) - mean) > 1e-4
        learned(task, model, encoded)
    finally:
        task.packs = True
    theirs = dict(other.named_parameters())
    ours = {
        "bert.embeddings.word_embeddings.weight": model.embed.tokens.weight,
        "bert.pooler.dense.weight": model.task.dense.weight,
        "classifier.weight": model.task.out.weight,
        "classifier.bias": model.task.out.bias,
        "bert.encoder.layer.0.output.dense.weight": model.stack.blocks[0].ffn.body.down.weight,
    }
    for name, parameter in ours.items():
        assert parameter.grad is not None
        gradient = parameter.grad / float(loss.count)
        assert apart([gradient], [theirs[name].grad]) < 1e-4, name
