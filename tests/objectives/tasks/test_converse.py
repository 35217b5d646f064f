"""Conversations as a task: what is learned, what is asked, and where an answer ends."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from examples import bpe
from task_cases import HERE, RNG
from torch import nn

from ownlm.data.encoded import EncodedLoader, examples
from ownlm.data.faults import Bad
from ownlm.data.tasks.predictions import Writing
from ownlm.data.tasks.records import Conversation, Message
from ownlm.errors import ConfigError
from ownlm.inference.batch import generate
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.objectives.objective import IGNORE
from ownlm.objectives.tasks.config import TaskOptions
from ownlm.objectives.tasks.converse import Converse
from ownlm.objectives.tasks.make import make_task
from ownlm.objectives.tasks.task import encode_all
from ownlm.tokenization.templates import with_template

TALKS = with_template(bpe())


def said(*texts: str, **values: Any) -> Conversation:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[n % 2], text) for n, text in enumerate(texts))  # type: ignore[arg-type]
    return Conversation(origin=HERE, messages=messages, **values)


TALK = [
    said("who sang", "the captain"),
    said("who slept at night", "nobody", "and who worked", "the old fisherman"),
    said("hi", "the boatswain sang at night"),
]


def made(**options: Any) -> tuple[Converse, nn.Module]:
    config = ModelConfig(
        family="llama", layers=2, dim=32, heads=4, context=128, vocab=TALKS.vocab_size
    )
    model = build_any(config, seed=1)
    given = TaskOptions(**{"beams": 1} | options)
    task = make_task("chat", given, TALKS, model.config, generate=generate)
    assert isinstance(task, Converse)
    return task, model


def test_what_the_assistant_says_is_learned_with_its_end() -> None:
    """As the template marks it; conversations share rows and do not see each other."""
    task, _ = made()
    encoded = encode_all(task, TALK)
    assert [item.record for item in encoded] == [0, 1, 2]
    (end,) = task.chat.stop_ids
    for item, record in zip(encoded, TALK, strict=True):
        applied = task.chat.apply([message.as_dict() for message in record.messages])
        assert (item.ids.tolist(), item.target.tolist()) == (applied.ids, applied.learned)
    batch = task.collate(examples(encoded), RNG)
    learned = batch["targets"][batch["targets"] != IGNORE].tolist()
    assert len(learned) == sum(int(item.target.sum()) for item in encoded)
    assert learned.count(end) == 4
    assert int(batch["mask"].max()) >= 2
    text = TALKS.decode(encoded[1].ids[encoded[1].target])
    assert text.replace("\n", "") == "nobodythe old fisherman"


def test_packed_is_what_each_is_alone() -> None:
    task, model = made()
    encoded = encode_all(task, TALK)
    with torch.no_grad():
        model.eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
        whole = task.loss(model, task.collate(examples(encoded), RNG))
        parts = [task.loss(model, task.collate(examples([item]), RNG)) for item in encoded]
        batch = task.collate(examples(encoded), RNG)
        seen = task.loss(model, batch | {"mask": batch["mask"].clamp(max=1)})
    total = sum(float(part.total) for part in parts)
    assert float(whole.total) == pytest.approx(total, rel=1e-5)
    assert int(whole.count) == sum(int(part.count) for part in parts)
    assert float(seen.total) != pytest.approx(total, rel=1e-4)


def test_what_is_asked_is_all_but_the_last_answer() -> None:
    task, _ = made()
    messages = [message.as_dict() for message in TALK[1].messages]
    open_end = dataclasses.replace(TALK[1], messages=TALK[1].messages[:-1])
    asked = task.chat.prompt(messages[:-1])
    assert task.prompt(TALK[1]) == task.prompt(open_end) == asked


def test_answers_that_were_learned_end_with_the_turn() -> None:
    """100 updates on three conversations; the limit cuts what does not end."""
    task, model = made()
    encoded = encode_all(task, TALK)
    loader, moves = EncodedLoader(encoded, 3, seed=1), torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(100):
        loss = task.loss(model.train(), task.collate(loader.batch(step), RNG))
        moves.zero_grad()
        (loss.total / loss.count).backward()
        moves.step()
    found = task.predict(model, encoded, TALK)
    assert found == [Writing(record.messages[-1].content, True) for record in TALK]
    task.longest = len(task.prompt(TALK[2])) + 2
    (cut,) = task.predict(model, encoded[2:], TALK[2:])
    assert isinstance(cut, Writing) and not cut.complete
    assert 0 < len(cut.text) < len(TALK[2].messages[-1].content)


def test_what_is_too_long_loses_its_end_and_then_perhaps_everything() -> None:
    task, _ = made(longest=30)
    whole = encode_all(made()[0], TALK)
    cut = encode_all(task, TALK)
    assert max(len(item.ids) for item in whole) > 30
    assert max(len(item.ids) for item in cut) == 30
    first = {item.record: item for item in whole}
    for item in cut:
        assert np.array_equal(item.ids, first[item.record].ids[:30])
        assert np.array_equal(item.target, first[item.record].target[:30])
    assert encode_all(made(longest=8)[0], TALK) == []


def test_what_the_template_refuses_is_bad() -> None:
    task, _ = made()
    wrong = Conversation(origin=HERE, messages=(Message("user", "a"), Message("assistant", "")))
    task.chat = with_template(
        bpe(), "{% for m in messages %}{{ m.content }}{% endfor %}"
    ).need_chat()
    with pytest.raises(Bad):
        task.encode(wrong, 0)


def test_without_a_template_there_is_no_conversation() -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        Converse(bpe(), longest=20)
