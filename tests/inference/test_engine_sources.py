"""Encoder-decoders in the engine: what is read beside others is read as if alone."""

from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.inference.config import EngineConfig
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM
from ownlm.inference.request import Request
from ownlm.inference.runner import TorchRunner, Work

from .test_engine import SAMPLED, answers, close, made, tokens

PAIRS = ["t5", "mt5", "bart", "marian"]
SOURCES = ["hé", "one two one two one t", "x", "one two one two thr", "y " * 25]


def asked(lm: LM, **values: Any) -> list[Request]:
    """Greedy and sampled, of many lengths."""
    opening = tuple(lm.frame.opening)
    return [
        Request(opening, source=tuple(lm.prompt_ids(text)), logprobs=2,
                **{"max_tokens": 5 + 4 * number} | how | values)
        for number, text in enumerate(SOURCES)
        for how in ({}, {"sampling": SAMPLED})
    ]  # fmt: skip


def alone(lm: LM, requests: Sequence[Request]) -> list[list[Any]]:
    return [answers(Engine(lm), one)[0] for one in requests]


@pytest.mark.parametrize("family", PAIRS)
def test_neighbours_change_nothing(family: str) -> None:
    lm = made(family)
    requests = asked(lm)
    engine = Engine(lm, EngineConfig(block=4, chunk=40))
    assert isinstance(engine.runner, TorchRunner)
    found, right = answers(engine, *requests), alone(lm, requests)
    assert all(map(close, found, right))
    assert len({tuple(tokens(events)) for events in found}) > 5
    most = max(one.max_tokens for one in requests)
    assert engine.stats.steps < most + len(requests)  # not one after the other


@pytest.mark.parametrize("family", PAIRS)
def test_another_ones_source_changes_something(family: str) -> None:
    """The control."""
    lm = made(family)
    requests = asked(lm)
    engine = Engine(lm, EngineConfig(block=4))
    read = engine.runner.read

    def mixed(works: Sequence[Work]) -> Tensor:
        heard = {"source": works[-1].source, "source_blocks": works[-1].source_blocks}
        return read([one if one.hears else one._replace(**heard) for one in works])

    engine.runner.read = mixed  # type: ignore[method-assign]
    assert not all(map(close, answers(engine, *requests), alone(lm, requests)))


@pytest.mark.parametrize(
    "values", [{"rows": 2}, {"chunk": 1}, {"lookup": 4}, {"lookup": 3, "rows": 3}], ids=str
)
def test_settings_change_nothing(values: dict[str, Any]) -> None:
    lm = made("t5")
    requests = asked(lm)
    engine = Engine(lm, EngineConfig(block=4, **values))
    assert all(map(close, answers(engine, *requests), alone(lm, requests)))


def test_who_was_given_up_hears_its_source_again() -> None:
    lm = made("t5")
    requests = asked(lm, max_tokens=30)
    size = 4 * Engine(lm).runner.bytes_per_token
    engine = Engine(lm, EngineConfig(block=4, memory_bytes=24 * size))
    assert engine.blocks.count == 24
    assert all(map(close, answers(engine, *requests), alone(lm, requests)))
    assert engine.stats.preemptions > 0


def test_a_source_takes_of_the_room_of_its_text() -> None:
    lm = made("bart")
    size = 4 * Engine(lm).runner.bytes_per_token
    engine = Engine(lm, EngineConfig(block=4, memory_bytes=6 * size))
    opening = tuple(lm.frame.opening)
    (events,) = answers(engine, Request(opening, source=(5,) * 13, max_tokens=50))
    assert len(tokens(events)) == 2 * 4 + 1 - len(opening)
    with pytest.raises(ConfigError, match="beside its source"):
        engine.submit(Request(opening, source=(5,) * 21))
    with pytest.raises(ConfigError, match="25 tokens are more than the context of 24"):
        engine.submit(Request(opening, source=(5,) * 25))
    with pytest.raises(ConfigError, match="hold no text"):
        Engine(lm, EngineConfig(block=4, memory_bytes=size))
