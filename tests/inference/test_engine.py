"""Every request is answered as if it were alone: whatever the family, the neighbours, the cache."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.inference.config import EngineConfig, SamplingConfig, WritingConfig
from ownlm.inference.decode import decode_plainly
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM
from ownlm.inference.request import Chosen, Constraint, Event, Request
from ownlm.inference.runner import RowRunner, TorchRunner, Work
from ownlm.inference.sampling import Sampler
from ownlm.models.config import ModelConfig
from ownlm.models.families import FAMILIES
from ownlm.models.load import build_any
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

SPECIAL: dict[str, dict[str, Any]] = {
    "gpt3": {"layers": 4, "window": 5}, "gpt-neox": {"dim": 32}, "mistral": {"window": 6},
    "smollm3": {"layers": 4}, "gemma2": {"window": 6}, "gemma3": {"window": 6},
    "mixtral": {"experts": 4}, "qwen3-moe": {"experts": 16}, "lstm": {"bias": True, "hidden": 24},
}  # fmt: skip
PAIRS = ["t5", "bart", "marian"]
PROMPTS = ["hé", "one two one two one t", "x", "one two one two thr"]
SAMPLED = SamplingConfig(temperature=1.0, seed=7)


def made(family: str, **values: Any) -> LM:
    config = TokenizerConfig(kind="byte", controls=("<|begin|>", "<|mask|>"))
    tokenizer = train_tokenizer(["héllo wörld"], config)
    shape = {"vocab": tokenizer.vocab_size + 3, "dim": 16, "heads": 4, "layers": 2, "context": 60}
    shape |= {"family": family} | SPECIAL.get(family, {}) | values
    model = build_any(ModelConfig(**shape), seed=3)
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.4)
    return LM(model, tokenizer)


def writers() -> list[str]:
    """Every family that continues a text."""
    kinds = {
        "bert",
        "roberta",
        "modernbert",
        "distilbert",
        "electra",
        "t5",
        "mt5",
        "bart",
        "marian",
    }
    return [name for name in FAMILIES if name not in kinds]


def request(lm: LM, text: str, **values: Any) -> Request:
    return Request(tuple(lm.prompt_ids(text)), **{"max_tokens": 12} | values)


def answers(engine: Engine, *requests: Request) -> list[list[Event]]:
    """All events of each."""
    numbers = [engine.submit(one) for one in requests]
    found: dict[int, list[Event]] = {number: [] for number in numbers}
    while engine.busy:
        for number, event in engine.step():
            found[number].append(event)
    assert engine.blocks.free == engine.blocks.count
    return [found[number] for number in numbers]


def tokens(events: Sequence[Event]) -> list[int]:
    return [one.token for event in events for one in event.tokens]


def text(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events)


def plainly(lm: LM, one: Request) -> list[int]:
    sampler = Sampler(one.sampling, one.prompt)

    def choose(logits_V: Tensor) -> int:
        return sampler(logits_V[: lm.tokenizer.vocab_size])

    return list(decode_plainly(lm.writer, one.prompt, choose, one.max_tokens))


@pytest.mark.parametrize("family", writers())
def test_each_family_writes_what_the_plain_decoder_writes(family: str) -> None:
    """Together, in pieces, greedy and sampled."""
    lm = made(family)
    engine = Engine(lm, EngineConfig(block=4, chunk=7))
    assert isinstance(engine.runner, RowRunner) == (family in ("transformer-xl", "xlnet", "lstm"))
    asked = [request(lm, prompt) for prompt in PROMPTS]
    asked += [request(lm, prompt, sampling=SAMPLED) for prompt in PROMPTS]
    found = answers(engine, *asked)
    assert [tokens(one) for one in found] == [plainly(lm, one) for one in asked]
    assert len({*map(text, found)}) > 4
    assert {one[-1].finish for one in found} == {"length"}


@pytest.fixture(scope="module")
def lm() -> LM:
    return made("llama", kv_heads=2)


def said(lm: LM, asked: Sequence[Request], **values: Any) -> list[list[Event]]:
    return answers(Engine(lm, EngineConfig(**{"block": 4, **values})), *asked)


@pytest.fixture(scope="module")
def asked(lm: LM) -> list[Request]:
    greedy = [request(lm, prompt, logprobs=2) for prompt in PROMPTS]
    return greedy + [request(lm, p, logprobs=2, sampling=SAMPLED) for p in PROMPTS]


def close(one: Sequence[Event], two: Sequence[Event]) -> bool:
    """The same tokens with the same probabilities."""
    pairs = list(zip((c for e in one for c in e.tokens), (c for e in two for c in e.tokens)))
    near = all(math.isclose(a.logprob, b.logprob, rel_tol=1e-5, abs_tol=1e-5) for a, b in pairs)
    return near and tokens(one) == tokens(two) and text(one) == text(two)


def test_neighbours_change_nothing(lm: LM, asked: list[Request]) -> None:
    together = said(lm, asked)
    for one, events in zip(asked, together):
        (alone,) = said(lm, [one])
        assert close(alone, events)


def test_mixed_up_blocks_change_something(lm: LM, asked: list[Request]) -> None:
    """The control: what the tests above would say of wrong tables."""
    engine = Engine(lm, EngineConfig(block=4))
    read = engine.runner.read

    def mixed(works: Sequence[Work]) -> Tensor:
        wrong = works[-1].blocks
        return read([one._replace(blocks=wrong) if one.start > 8 else one for one in works])

    engine.runner.read = mixed  # type: ignore[method-assign]
    found = answers(engine, *asked)
    assert not all(map(close, found, said(lm, asked)))


@pytest.mark.parametrize(
    "values",
    [{"prefix_cache": False}, {"chunk": 3}, {"rows": 2}, {"lookup": 3}, {"lookup": 8, "chunk": 5}],
    ids=str,
)
def test_settings_change_nothing(lm: LM, asked: list[Request], values: dict[str, Any]) -> None:
    assert all(map(close, said(lm, asked, **values), said(lm, asked)))


def test_who_was_given_up_and_read_again_says_the_same(lm: LM, asked: list[Request]) -> None:
    size = 4 * Engine(lm).runner.bytes_per_token
    engine = Engine(lm, EngineConfig(block=4, memory_bytes=10 * size))
    assert (engine.blocks.count, engine.context) == (10, 40)
    assert all(map(close, answers(engine, *asked), said(lm, asked)))
    assert engine.stats.preemptions > 0


def test_a_beginning_is_read_once_and_found_again(lm: LM) -> None:
    engine = Engine(lm, EngineConfig(block=4))
    one = request(lm, "one two one two")
    several = [request(lm, "one two one two", sampling=SamplingConfig(temperature=1, seed=n))
               for n in range(3)]  # fmt: skip
    (first,) = answers(engine, one)
    assert first[0].cached == 0
    again = answers(engine, one, *several)
    assert [events[0].cached for events in again] == [12] * 4
    assert tokens(again[0]) == tokens(first)
    assert engine.stats.cached_tokens == 48
    at_once = answers(Engine(lm, EngineConfig(block=4)), *several)
    assert [events[0].cached for events in at_once] == [0, 12, 12]
    assert [tokens(events) for events in at_once] == [tokens(events) for events in again[1:]]


class Coming(NamedTuple):
    """A request, when it comes and when it is given up."""

    prompt: str
    seed: int
    step: int
    leaves: int


COMING = st.builds(
    Coming,
    st.sampled_from(PROMPTS),
    st.integers(0, 1),
    st.integers(0, 9),
    st.sampled_from([99, 99, 99, 4, 9]),
)


@pytest.fixture(scope="module")
def plain(lm: LM) -> dict[tuple[str, int], list[int]]:
    return {(p, seed): plainly(lm, seeded(lm, p, seed)) for p in PROMPTS for seed in (0, 1)}


def seeded(lm: LM, prompt: str, seed: int) -> Request:
    """One is greedy, the other one sampled."""
    return request(lm, prompt, sampling=SamplingConfig(temperature=seed, seed=seed))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    come=st.lists(COMING, min_size=1, max_size=6),
    blocks=st.integers(9, 20),
    rows=st.integers(1, 4),
    chunk=st.integers(1, 20),
    lookup=st.integers(0, 3),
)
def test_whoever_comes_and_goes_all_is_as_alone(
    lm: LM, plain: dict[tuple[str, int], list[int]], come: list[Coming], blocks: int, rows: int,
    chunk: int, lookup: int,
) -> None:  # fmt: skip
    memory = blocks * 4 * 128
    engine = Engine(
        lm, EngineConfig(block=4, rows=rows, chunk=chunk, lookup=lookup, memory_bytes=memory)
    )
    numbers: dict[int, Coming] = {}
    found: dict[int, list[Event]] = {}
    for step in range(500):
        for one in come:
            if one.step == step:
                number = engine.submit(seeded(lm, one.prompt, one.seed))
                numbers[number], found[number] = one, []
        for number, one in numbers.items():
            if one.leaves == step:
                engine.cancel(number)
        for number, event in engine.step():
            found[number].append(event)
        if step > 10 and not engine.busy:
            break
    for number, one in numbers.items():
        right, finish = plain[one.prompt, one.seed], found[number][-1].finish
        assert tokens(found[number]) == right[: len(tokens(found[number]))]
        assert finish == "length" or (finish == "cancelled" and one.leaves < 99)
        assert finish == "cancelled" or len(tokens(found[number])) == len(right)
    assert engine.blocks.free == engine.blocks.count


def test_look_up_saves_steps(lm: LM) -> None:
    one, steps = request(lm, "ab", max_tokens=40, sampling=SamplingConfig(temperature=0)), []
    for lookup in (0, 4):
        engine = Engine(lm, EngineConfig(lookup=lookup))
        (events,) = answers(engine, one)
        steps.append(engine.stats.steps)
        assert len(tokens(events)) == 40
        assert sum(len(event.tokens) for event in events) == engine.stats.written_tokens
    assert steps[0] == 40
    assert steps[1] < 40
    assert 0 < engine.stats.agreed == 40 - steps[1] <= engine.stats.guessed


def test_it_streams_what_generate_says(lm: LM) -> None:
    for prompt in PROMPTS:
        (events,) = said(lm, [request(lm, prompt, max_tokens=30)])
        assert text(events) == lm.generate(prompt, 30)
    stops = ("never", lm.generate("x", 30)[12:14])
    (events,) = said(lm, [request(lm, "x", max_tokens=30, stop=stops)])
    assert text(events) == lm.generate("x", 30, stop=stops) != lm.generate("x", 30)
    assert (events[-1].finish, events[-1].stopped_by) == ("stop", stops[1])


@pytest.mark.parametrize("family", PAIRS)
def test_encoder_decoders_answer_as_in_batches(family: str) -> None:
    lm = made(family, vocab=lm_vocab())
    lm.stop_ids |= {*lm.tokenizer.encode("e")}
    asked = [
        Request(tuple(lm.frame.opening), source=tuple(lm.prompt_ids(text)), max_tokens=20,
                ends=frozenset(lm.stop_ids))
        for text in PROMPTS
    ]  # fmt: skip
    found = answers(Engine(lm, EngineConfig(rows=3)), *asked)
    written = lm.write(PROMPTS, WritingConfig(max_tokens=20))
    assert [text(events) for events in found] == [one.text for one in written]
    assert [events[-1].finish == "stop" for events in found] == [one.complete for one in written]
    sampled = [Request(one.prompt, SAMPLED, 20, ends=one.ends, source=one.source) for one in asked]
    together = answers(Engine(lm), *sampled)
    alone = [answers(Engine(lm), one)[0] for one in sampled]
    assert [text(events) for events in together] == [text(events) for events in alone]
    assert [text(events) for events in together] != [text(events) for events in found]


def lm_vocab() -> int:
    config = TokenizerConfig(kind="byte", controls=("<|begin|>", "<|mask|>"))
    return train_tokenizer(["héllo wörld"], config).vocab_size


def test_a_prefix_model_reads_its_prompt_both_ways() -> None:
    lm = made("gpt2")
    asked = [request(lm, prompt, sampling=SAMPLED) for prompt in PROMPTS]
    before = said(lm, asked)
    lm.model.config["prefix_lm"] = True
    found = said(lm, asked, chunk=3)
    assert tokens(found[1]) != tokens(before[1])
    for one, events in zip(asked, found):
        sampler = Sampler(SAMPLED)

        def choose(logits_V: Tensor, sampler: Sampler = sampler) -> int:
            return sampler(logits_V[: lm.tokenizer.vocab_size])

        plain = decode_plainly(lm.writer, one.prompt, choose, 12, both_ways=True)
        assert tokens(events) == [*plain]


def test_the_context_ends_a_text_and_a_longer_prompt_is_refused(lm: LM) -> None:
    (events,) = said(lm, [request(lm, "x" * 50, max_tokens=99)])
    assert (len(tokens(events)), events[-1].finish) == (11, "length")
    (events,) = said(lm, [request(lm, "x" * 60, max_tokens=99)])
    assert len(tokens(events)) == 1
    with pytest.raises(ConfigError, match="61 tokens are more than the context of 60"):
        said(lm, [request(lm, "x" * 61)])


@pytest.mark.parametrize(
    ("values", "where"),
    [({"prompt": ()}, "prompt"), ({"prompt": (9999,)}, "9999 is no token"),
     ({"prompt": (-1,)}, "-1 is no token"), ({"source": (1,)}, "source"),
     ({"max_tokens": -1}, "max_tokens"), ({"logprobs": -2}, "logprobs"),
     ({"constraint": Constraint("regex", "(")}, "constraint")],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(lm: LM, values: dict[str, Any], where: str) -> None:
    engine = Engine(lm)
    with pytest.raises(ConfigError, match=where):
        engine.submit(Request(**{"prompt": (1,), **values}))
    assert not engine.busy


def test_too_little_memory_and_models_that_write_nothing_are_refused(lm: LM) -> None:
    with pytest.raises(ConfigError, match="hold no text"):
        Engine(lm, EngineConfig(memory_bytes=1))
    with pytest.raises(ConfigError, match="bert is an encoder"):
        Engine(made("bert"))


def test_ends_are_not_given_out_and_may_be_put_off(lm: LM) -> None:
    usual = tokens(said(lm, [request(lm, "x")])[0])
    end = frozenset({usual[3]})
    first = usual.index(usual[3])
    one, late, never = said(
        lm, [request(lm, "x", ends=end), request(lm, "x", ends=end, min_tokens=6),
             request(lm, "x", ends=end, ignore_end=True)],
    )  # fmt: skip
    assert tokens(one) == usual[:first]
    assert (one[-1].finish, one[-1].stopped_by) == ("stop", usual[3])
    assert len(tokens(late)) >= 6
    assert usual[3] not in tokens(late)[:6]
    assert tokens(never) == usual


def test_probabilities_are_those_of_the_model_before_temperature(lm: LM) -> None:
    prompt = lm.prompt_ids("one two")
    one = request(lm, "one two", sampling=SAMPLED, logprobs=3, prompt_logprobs=2, max_tokens=8)
    (events,) = said(lm, [one], chunk=3)
    ids = prompt + tokens(events)
    with torch.inference_mode():
        logits = lm.model(torch.tensor([ids])).logits[0, :-1, : lm.tokenizer.vocab_size]
    expected = logits.log_softmax(dim=-1)
    told = [*events[0].prompt, *(one for event in events for one in event.tokens)]
    assert told[0] is None
    assert len(told) == len(ids)
    for row, token, one in zip(expected, ids[1:], told[1:]):
        assert isinstance(one, Chosen)
        assert one.token == token
        assert one.logprob == pytest.approx(float(row[token]), abs=1e-4)
        best = row.topk(len(one.top))
        assert [a.token for a in one.top] == best.indices.tolist()
    assert [len(one.top) for one in told[1:] if one] == [2] * (len(prompt) - 1) + [3] * 8
    assert all(event.prompt == () for event in events[1:])


def test_a_prompt_may_only_be_read(lm: LM) -> None:
    one = request(lm, "one two", max_tokens=0, prompt_logprobs=0)
    (events,) = said(lm, [one])
    assert [event.finish for event in events] == ["length"]
    assert tokens(events) == []
    assert len(events[0].prompt) == 7
    assert all(one.top == () for one in events[0].prompt[1:] if one)


def test_penalties_and_biases_are_of_one_request(lm: LM) -> None:
    usual = tokens(said(lm, [request(lm, "x")])[0])
    never = SamplingConfig(logit_bias=dict.fromkeys(usual, -100.0))
    one, two = said(lm, [request(lm, "x"), request(lm, "x", sampling=never)])
    assert tokens(one) == usual
    assert not {*tokens(two)} & {*usual}
    once = SamplingConfig(frequency_penalty=100.0)
    (three,) = said(lm, [request(lm, "x", sampling=once, max_tokens=30)])
    assert len({*tokens(three)}) == 30


def test_who_gives_up_frees_blocks_and_hears_of_it(lm: LM) -> None:
    engine = Engine(lm, EngineConfig(rows=2, block=4))
    numbers = [engine.submit(request(lm, prompt, max_tokens=40)) for prompt in PROMPTS]
    for _ in range(3):
        engine.step()
    engine.cancel(numbers[0])
    engine.cancel(numbers[3])
    engine.cancel(999)
    assert (engine.stats.running, engine.stats.waiting) == (1, 1)
    events = engine.step()
    assert [event.finish for number, event in events if number in (0, 3)] == ["cancelled"] * 2
    for number in numbers:
        engine.cancel(number)
    assert [number for number, _ in engine.step()] == [1, 2]
    assert not engine.busy
    assert engine.stats.free_blocks == engine.stats.blocks
    assert engine.stats.finished == {"cancelled": 4}


class Broken:
    """A constraint that fails at the third token."""

    complete = False

    def __init__(self, vocab: int) -> None:
        self.vocab, self.count = vocab, 0

    def allowed(self) -> Tensor:
        return torch.ones(self.vocab, dtype=torch.bool)

    def take(self, token: int) -> None:
        self.count += 1
        if self.count == 3:
            raise RuntimeError("secret at 0x1234")


def test_what_goes_wrong_with_one_ends_only_that_one(lm: LM) -> None:
    engine = Engine(lm, EngineConfig(block=4))
    good = engine.submit(request(lm, "x"))
    bad = engine.admit(request(lm, "hé"), Broken(engine.vocab))
    found: dict[int, list[Event]] = {good: [], bad: []}
    while engine.busy:
        for number, event in engine.step():
            found[number].append(event)
    assert (found[bad][-1].finish, found[bad][-1].error) == (
        "error", "internal error (RuntimeError)",
    )  # fmt: skip
    assert tokens(found[good]) == plainly(lm, request(lm, "x"))
    assert engine.blocks.free == engine.blocks.count


def test_a_step_that_fails_ends_those_in_it_and_the_engine_goes_on(lm: LM) -> None:
    engine = Engine(lm, EngineConfig(rows=1, block=4))
    read, calls = engine.runner.read, []

    def fails_twice(works: Sequence[Work]) -> Tensor:
        calls.append(len(works))
        if len(calls) == 2:
            raise MemoryError
        return read(works)

    engine.runner.read = fails_twice  # type: ignore[method-assign]
    one, two = answers(engine, request(lm, "hé"), request(lm, "x"))
    assert one[-1].finish == "error"
    assert tokens(two) == plainly(lm, request(lm, "x"))
    assert isinstance(engine.runner, TorchRunner)


def test_nonsense_ends_with_an_error_that_says_so(lm: LM) -> None:
    engine = Engine(lm)
    read = engine.runner.read
    engine.runner.read = lambda works: read(works) * torch.nan  # type: ignore[method-assign]
    ((last,),) = answers(engine, request(lm, "x"))
    assert (last.finish, last.error.partition("\n")[0]) == (
        "error", "the model's logits are not numbers",
    )  # fmt: skip
