"""Beam search in the engine finds what batches find, with blocks that beams share."""

from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.inference import native_runner
from ownlm.inference.config import EngineConfig, SamplingConfig, WritingConfig
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM
from ownlm.inference.request import Constraint, Event, Request
from ownlm.inference.runner import Work

from .test_engine import PROMPTS, SAMPLED, answers, made, plainly, request, text, tokens

FAMILIES = [
    "gpt2", "llama", "mistral", "gemma2", "mixtral", "transformer-xl", "xlnet", "lstm",
    "t5", "bart", "marian",
]  # fmt: skip
HOW: list[dict[str, Any]] = [
    {"beams": 2},
    {"beams": 4, "length_penalty": 0.0},
    {"beams": 3, "length_penalty": 2.0, "no_repeat": 2, "min_tokens": 5},
    {"beams": 1, "no_repeat": 2},
]


def ending(family: str) -> LM:
    """A model whose texts may end early."""
    lm = made(family)
    lm.stop_ids |= {*range(1, lm.tokenizer.vocab_size, 7)}
    return lm


def searched(lm: LM, prompt: str, **values: Any) -> Request:
    ends = frozenset(lm.stop_ids)
    if not lm.answers:
        return request(lm, prompt, ends=ends, **values)
    source = tuple(lm.prompt_ids(prompt))
    return Request(tuple(lm.frame.opening), source=source, ends=ends, **{"max_tokens": 12} | values)


def batched(lm: LM, **values: Any) -> list[tuple[str, bool]]:
    found = lm.write(PROMPTS, WritingConfig(**{"max_tokens": 12} | values))
    return [(one.text, one.complete) for one in found]


def told(found: Sequence[Sequence[Event]]) -> list[tuple[str, bool]]:
    return [(text(events), events[-1].finish == "stop") for events in found]


@pytest.mark.parametrize("family", FAMILIES)
def test_beams_find_what_batches_find(family: str) -> None:
    """Many searches of several kinds at once, beside texts that are written token by token."""
    lm = ending(family)
    asked = [searched(lm, prompt, **how) for how in HOW for prompt in PROMPTS]
    others = [searched(lm, prompt, sampling=SAMPLED) for prompt in PROMPTS]
    engine = Engine(lm, EngineConfig(block=4, chunk=9))
    found = answers(engine, *asked, *others)
    right = [one for how in HOW for one in batched(lm, **how)]
    assert told(found[: len(asked)]) == right
    assert len({*right}) > 6
    assert any(complete for _, complete in right)
    assert told(found[len(asked) :]) == told([answers(Engine(lm), one)[0] for one in others])
    assert all(len(events) == 1 for events in found[: len(asked)])


def test_beams_find_another_text_than_the_next_best_token() -> None:
    lm = ending("llama")
    assert batched(lm, beams=4) != batched(lm)


@pytest.mark.parametrize("family", ["llama", "lstm"])
def test_without_copies_beams_disturb_each_other(family: str) -> None:
    """The control."""
    lm = ending(family)
    engine = Engine(lm, EngineConfig(block=4))

    def copies(pairs: Sequence[tuple[int, int]]) -> None:
        for source, target in pairs if family == "lstm" else ():
            engine.runner.rows[target] = engine.runner.rows[source]  # type: ignore[attr-defined]

    engine.runner.copy = copies  # type: ignore[method-assign]
    found = answers(engine, *(searched(lm, prompt, beams=4) for prompt in PROMPTS))
    assert told(found) != batched(lm, beams=4)


@pytest.mark.parametrize("family", ["llama", "t5", "lstm"])
@pytest.mark.parametrize("values", [{"rows": 4}, {"rows": 5}, {"prefix_cache": False}], ids=str)
def test_settings_change_nothing(family: str, values: dict[str, Any]) -> None:
    lm = ending(family)
    engine = Engine(lm, EngineConfig(block=4, **values))
    found = answers(engine, *(searched(lm, prompt, beams=4) for prompt in PROMPTS))
    assert told(found) == batched(lm, beams=4)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_search_that_gave_its_blocks_up_begins_anew(family: str) -> None:
    lm = made(family)
    size = 4 * Engine(lm).runner.bytes_per_token
    engine = Engine(lm, EngineConfig(block=4, memory_bytes=22 * size))
    assert engine.blocks.count == 22
    asked = [searched(lm, prompt, beams=3, max_tokens=20) for prompt in PROMPTS]
    assert told(answers(engine, *asked)) == batched(lm, beams=3, max_tokens=20)
    assert engine.stats.preemptions > 0


def test_beams_share_the_blocks_of_what_they_have_in_common() -> None:
    lm = made("llama")
    engine = Engine(lm, EngineConfig(block=4))
    engine.submit(searched(lm, "one two one two one two one", beams=8, max_tokens=9))
    most = 0
    while engine.busy:
        engine.step()
        most = max(most, engine.blocks.count - engine.blocks.free)
    prompt = 27 // 4
    assert prompt < most <= prompt + 8 * 3  # apart there would be 8 times the prompt's


def test_room_is_for_all_beams() -> None:
    lm = made("llama")
    size = 4 * Engine(lm).runner.bytes_per_token
    engine = Engine(lm, EngineConfig(block=4, memory_bytes=10 * size))
    (events,) = answers(engine, searched(lm, "one two", beams=4, max_tokens=90))
    assert len(tokens(events)) == (1 + 9 // 4) * 4 + 1 - 7
    assert events[-1].finish == "length"
    with pytest.raises(ConfigError, match="as often as there are beams"):
        engine.submit(searched(lm, "one two", beams=10))
    with pytest.raises(ConfigError, match="as often as there are beams"):
        Engine(made("lstm"), EngineConfig(rows=3)).submit(request(lm, "x", beams=4))


def test_a_stop_string_cuts_the_best_text_and_a_prompt_may_only_be_read() -> None:
    lm = made("llama")
    (whole,) = answers(Engine(lm), searched(lm, "x", beams=3))
    stop = text(whole)[4:6]
    cut, none = answers(
        Engine(lm), searched(lm, "x", beams=3, stop=(stop,)),
        searched(lm, "x", beams=3, max_tokens=0),
    )  # fmt: skip
    assert text(cut) == text(whole)[: text(whole).index(stop)]
    assert (cut[-1].finish, cut[-1].stopped_by) == ("stop", stop)
    assert (text(none), none[-1].finish, len(none)) == ("", "length", 1)


def test_who_gives_a_search_up_frees_all_its_blocks() -> None:
    lm = made("llama")
    engine = Engine(lm, EngineConfig(block=4))
    number = engine.submit(searched(lm, "one two", beams=4))
    for _ in range(5):
        engine.step()
    assert engine.blocks.free < engine.blocks.count
    engine.cancel(number)
    assert [event.finish for _, event in engine.step()] == ["cancelled"]
    assert engine.blocks.free == engine.blocks.count
    (events,) = answers(engine, request(lm, "x"))
    assert tokens(events) == plainly(lm, request(lm, "x"))


@pytest.mark.parametrize(
    ("values", "where"),
    [({"beams": 0}, "beams"), ({"beams": 65}, "beams"), ({"no_repeat": -1}, "no_repeat"),
     ({"beams": 2, "sampling": SAMPLED}, "sampling"), ({"beams": 2, "logprobs": 0}, "logprobs"),
     ({"beams": 2, "sampling": SamplingConfig(presence_penalty=1.0)}, "sampling"),
     ({"beams": 2, "constraint": Constraint("choice", choices=("a",))}, "constraint")],
)  # fmt: skip
def test_what_a_search_cannot_have_is_refused(values: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        Engine(made("llama")).submit(Request((1,), **values))


def test_a_step_that_fails_ends_a_search_once() -> None:
    lm = made("llama")
    engine = Engine(lm, EngineConfig(block=4))
    read, calls = engine.runner.read, []

    def fails_later(works: Sequence[Work]) -> Tensor:
        calls.append(len(works))
        if len(calls) == 3:
            raise MemoryError
        return read(works)

    engine.runner.read = fails_later  # type: ignore[method-assign]
    ((last,),) = answers(engine, searched(lm, "one two", beams=4))
    assert (last.finish, calls[2]) == ("error", 4)


def test_beams_in_native_code_are_in_company_what_they_are_alone() -> None:
    lm = made("llama", dim=64)
    if why := native_runner.usable(lm.model):
        pytest.skip(why)
    asked = [searched(lm, prompt, beams=4) for prompt in PROMPTS]
    native = native_runner.NativeRunner(lm.model, "int8")
    alone = [answers(Engine(lm, runner=native), one)[0] for one in asked]
    together = answers(Engine(lm, runner=native), *asked, request(lm, "one"))
    assert told(together[:-1]) == told(alone)
    native.copy = lambda pairs: None  # type: ignore[method-assign]
    assert told(answers(Engine(lm, runner=native), *asked)) != told(alone)
