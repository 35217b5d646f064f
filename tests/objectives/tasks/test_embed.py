"""Sentences as points: the loss by hand, nothing leaks, and a folder that others open."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import wordpiece
from task_cases import HERE, RNG, apart, config_of, learned, sentence
from torch import nn

from ownlm.data.encoded import EncodedLoader, examples
from ownlm.data.tasks.predictions import Vector
from ownlm.data.tasks.records import Labelled, Parallel, Scored
from ownlm.errors import ConfigError
from ownlm.evaluation.parity import sharpened
from ownlm.models.families import family_named
from ownlm.models.load import build_any
from ownlm.models.model import SingleStack
from ownlm.models.sentences import load_embedder
from ownlm.objectives.tasks.config import TaskOptions
from ownlm.objectives.tasks.embed import Embed, save_embedder
from ownlm.objectives.tasks.make import make_task
from ownlm.objectives.tasks.task import encode_all


def pairs(sizes: list[int]) -> list[Parallel]:
    return [Parallel(origin=HERE, source=sentence(n), target=sentence(n, 1)) for n in sizes]


def made(family: str = "bert", **options: Any) -> tuple[Embed, SingleStack]:
    model = sharpened(build_any(config_of(family, "Model", 2), seed=1)).double()
    config = config_of(family, "Model", 2)
    task = make_task(
        "embed", TaskOptions(**options), wordpiece(), family_named(family).to_hf(config)
    )
    assert isinstance(task, Embed) and isinstance(model, SingleStack)
    return task, model


def point(task: Embed, model: nn.Module, text: str) -> torch.Tensor:
    """Mean of the last hidden states of one text alone, brought to length one."""
    ids = torch.tensor([[wordpiece().special["[CLS]"], *wordpiece().encode(text),
                         wordpiece().special["[SEP]"]]])  # fmt: skip
    with torch.no_grad():
        mean = model(ids).hidden[0].mean(dim=0)
    return mean / mean.norm()


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_loss_by_hand(family: str) -> None:
    task, model = made(family, temperature=0.1)
    records = pairs([3, 9, 5, 6])
    loss = task.loss(model, task.collate(examples(encode_all(task, records)), RNG))
    first = torch.stack([point(task, model, record.source) for record in records])
    second = torch.stack([point(task, model, record.target) for record in records])
    scores = first @ second.T / 0.1
    nats = -scores.log_softmax(dim=1).diagonal().sum()
    assert float(loss.total.detach()) == pytest.approx(float(nats), rel=1e-6)
    assert int(loss.count) == 4
    right = (scores.argmax(dim=1) == torch.arange(4)).sum()
    assert loss.metrics["accuracy"].tolist() == [float(right), 4.0]


def test_what_equals_the_answer_is_no_wrong_answer() -> None:
    """Pairs 0 and 2 have the same second text, 1 and 3 the same first."""
    task, model = made()
    texts = [("a", "x"), ("b", "y"), ("c", "x"), ("b", "z")]
    records = [Parallel(origin=HERE, source=a * 3, target=b * 2) for a, b in texts]
    batch = task.collate(examples(encode_all(task, records)), RNG)
    alike = [[0, 2], [1, 3], [0, 2], [1, 3]]
    expected = [[n not in row for n in range(4)] for row in alike]
    assert batch["others"].tolist() == expected
    all_others = ~torch.eye(4, dtype=torch.bool)
    totals = [float(task.loss(model, batch | more).total) for more in ({}, {"others": all_others})]
    assert totals[0] < totals[1]


def test_packing_changes_nothing() -> None:
    task, model = made()
    encoded = encode_all(task, pairs([3, 9, 5, 12, 2, 7]))
    together, gradients = learned(task, model, encoded)
    task.packs = False
    apart_, others = learned(task, model, encoded)
    assert float(together.total) == pytest.approx(float(apart_.total), rel=1e-9)
    assert apart(gradients, others) < 1e-8
    batch = task.collate(examples(encoded), RNG)
    task.packs = True
    packed = task.collate(examples(encoded), RNG)
    assert len(packed["inputs"]) < len(batch["inputs"]) == 12
    seen = packed | {"mask": packed["mask"].clamp(max=1)}
    assert float(task.loss(model, seen).total) != pytest.approx(float(together.total), rel=1e-4)


def test_predictions_are_vectors_of_one_text_or_of_two() -> None:
    task, model = made()
    text = Labelled(origin=HERE, text=sentence(4), labels=())
    two = [Scored(origin=HERE, text=sentence(n), pair=sentence(n, 1), score=1.0) for n in (3, 8)]
    records = [two[0], text, two[1]]
    found = task.predict(model, encode_all(task, records), records)
    for record, vector in zip(records, found, strict=True):
        assert isinstance(vector, Vector)
        assert np.allclose(vector.values, point(task, model, record.text), atol=1e-6)
        if record.pair is None:
            assert vector.pair == ()
        else:
            assert np.allclose(vector.pair, point(task, model, record.pair), atol=1e-6)


def test_pairs_are_found_after_learning() -> None:
    task, model = made()
    model = model.float()
    records = pairs([3, 4, 5, 6, 7, 8, 9, 10])
    encoded = encode_all(task, records)
    loader, moves = EncodedLoader(encoded, 8, seed=1), torch.optim.Adam(model.parameters(), lr=1e-3)
    accuracies = []
    for step in range(60):
        loss = task.loss(model, task.collate(loader.batch(step), RNG))
        moves.zero_grad()
        (loss.total / loss.count).backward()
        moves.step()
        accuracies.append(float(loss.metrics["accuracy"][0]) / 8)
    assert accuracies[0] < 0.9
    assert accuracies[-1] == 1.0


def test_the_folder_opens_here_and_in_sentence_transformers_terms(tmp_path: Path) -> None:
    """modules.json names mean pooling and length one; vectors are equal."""
    task, model = made()
    model = model.float()
    save_embedder(model, wordpiece(), tmp_path)
    text = Labelled(origin=HERE, text=sentence(6), labels=())
    (found,) = task.predict(model, encode_all(task, [text]), [text])
    assert isinstance(found, Vector)
    again = load_embedder(tmp_path)
    assert (again.pooling, again.normalised) == ("mean", True)
    ids = torch.from_numpy(task.encode(text, 0)[0].ids)[None]
    with torch.no_grad():
        assert torch.allclose(again(ids)[0], torch.tensor(found.values), atol=1e-6)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    assert np.allclose(theirs.encode(text.text), found.values, atol=1e-5)


def test_what_cannot_embed_is_refused() -> None:
    config = family_named("t5").to_hf(config_of("t5", "", 2))
    with pytest.raises(ConfigError, match="needs a model of one stack"):
        make_task("embed", TaskOptions(), wordpiece(), config)


def test_a_prefix_stands_before_every_text() -> None:
    task, _ = made(prefix="query: ")
    (found,) = task.encode(dataclasses.replace(pairs([3])[0], target="x"), 0)
    begin = wordpiece().encode("query: ")
    assert found.ids[1 : 1 + len(begin)].tolist() == begin
    assert found.extra.ids[1 : 1 + len(begin)].tolist() == begin
