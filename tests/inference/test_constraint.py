"""What a random model writes fits what was asked for; what would cost too much is refused."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llguidance")

from ownlm.errors import ConfigError
from ownlm.inference.config import EngineConfig, SamplingConfig
from ownlm.inference.constraint import BYTES, CHOICES, DEPTH, Grammars, Vocabulary
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM
from ownlm.inference.request import Constraint, Event, Request
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.train import train_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 3},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["a", "b\"c", None]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "age", "kind", "tags"],
    "additionalProperties": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tiny: LM) -> Engine:
    """A context of 48 tokens is too short for JSON: room for more is made."""
    shape = {"vocab": tiny.model.vocab, "dim": 16, "heads": 4, "layers": 1, "context": 400}
    model = build_model(ModelConfig(family="llama", **shape), seed=5)
    return Engine(LM(model, tiny.tokenizer), EngineConfig(lookup=3))


def written(engine: Engine, constraint: Constraint, seeds: int = 6, **values: Any) -> list[Event]:
    """The text of each seed as one event, that of a random model at temperature 1."""
    numbers = [
        engine.submit(Request((5,), SamplingConfig(temperature=1.0, seed=seed), 380,
                              constraint=constraint, **values))
        for seed in range(seeds)
    ]  # fmt: skip
    texts, last = dict.fromkeys(numbers, ""), {}
    while engine.busy:
        for number, event in engine.step():
            texts[number] += event.text
            last[number] = event
    return [last[number]._replace(text=texts[number]) for number in numbers]


def test_json_parses_and_fits_its_schema(engine: Engine) -> None:
    events = written(engine, Constraint("json", json.dumps(SCHEMA)))
    for event in events:
        assert (event.finish, event.error) == ("stop", "")
        found = json.loads(event.text)
        assert [*found] == ["name", "age", "kind", "tags"]
        assert isinstance(found["name"], str) and len(found["name"]) <= 3
        assert isinstance(found["age"], int) and 0 <= found["age"] <= 150
        assert found["kind"] in SCHEMA["properties"]["kind"]["enum"]  # type: ignore[index]
        assert 1 <= len(found["tags"]) <= 2 and {*found["tags"]} <= {True, False}
    assert len({event.text for event in events}) > 1


@pytest.mark.parametrize("kind", ["bpe", "unigram", "char"])
def test_words_as_tokens_fit_too(kind: Any) -> None:
    """What must come next is cut into tokens that spell it, whatever the tokenizer puts before a
    text."""
    texts = ['{"name": "choice number one", "age": 3, "kind": null, "tags": [true, false]}'] * 9
    tokenizer = train_tokenizer(texts, TokenizerConfig(kind=kind, vocab_size=300))
    shape = {"vocab": tokenizer.vocab_size, "dim": 16, "heads": 4, "layers": 1, "context": 400}
    model = build_model(ModelConfig(family="llama", **shape), seed=5)
    engine = Engine(LM(model, tokenizer))
    constraint = Constraint("json", json.dumps(SCHEMA | {"required": ["name", "kind"]}))
    for event in written(engine, constraint, 3):
        assert event.error == ""
        if event.finish == "stop":
            assert {"name", "kind"} <= {*json.loads(event.text)}
    choices = ("choice number one", "choice number two", "other")
    found = [e.text for e in written(engine, Constraint("choice", choices=choices), 12)]
    assert {*found} <= {*choices}
    assert len({*found}) > 1


def test_a_text_is_cut_into_tokens_that_spell_it(shared_data: Path) -> None:
    """Of a tokenizer that begins every text with a space."""
    tokenizer = load_tokenizer(shared_data / "weights" / "stories15M")
    vocabulary = Vocabulary(tokenizer)
    for text in ("choice", " choice", '{"a', "漢字\n", "x" * 20, "\n\n"):
        ids = vocabulary(text)
        assert b"".join(vocabulary.tokens[id] for id in ids) == text.encode()
        assert vocabulary._longest(text.encode())
        assert len(ids) <= len(vocabulary._longest(text.encode())) + 1


def test_without_the_constraint_it_does_not(engine: Engine) -> None:
    """The control."""
    number = engine.submit(Request((5,), SamplingConfig(temperature=1.0), 30))
    text = ""
    while engine.busy:
        text += "".join(event.text for found, event in engine.step() if found == number)
    with pytest.raises(ValueError, match=r"."):
        json.loads(text)


def test_expressions_choices_and_grammars(engine: Engine) -> None:
    for event in written(engine, Constraint("regex", r"[a-c]{2,4}é-\d{1,3}")):
        assert re.fullmatch(r"[a-c]{2,4}é-\d{1,3}", event.text)
    choices = ("yes", "no.*", "a|b", "(漢", "[^x]", "a\\b", "a b#", "")
    found = {e.text for e in written(engine, Constraint("choice", choices=choices), 40)}
    assert found <= {*choices}
    assert len(found) > 3
    for event in written(engine, Constraint("grammar", 'start: "a" (b | "c")~1..3\nb: "b" "d"')):
        assert re.fullmatch("a(bd|c){1,3}", event.text)


def test_greedy_texts_and_ends_of_the_request_fit_too(engine: Engine) -> None:
    text = Constraint("regex", "x{3}")
    one = Request((5,), max_tokens=9, constraint=text, ends=frozenset({7}), min_tokens=5)
    number, found = engine.submit(one), ""
    while engine.busy:
        for answered, event in engine.step():
            assert answered == number
            found, last = found + event.text, event
    assert (found, last.finish) == ("xxx", "stop")


@pytest.mark.parametrize(
    ("constraint", "why"),
    [
        (Constraint("regex", "("), "regex: "),
        (Constraint("regex", "a" * (BYTES + 1)), "bytes are more than"),
        (Constraint("regex", "(" * (DEPTH + 1) + ")" * (DEPTH + 1)), f"{DEPTH} is the limit"),
        (Constraint("json", "{"), "no JSON"),
        (Constraint("json", "[" * 100_00), "is the limit"),
        (Constraint("json", '{"type": "unheard of"}'), "json: "),
        (Constraint("json", '{"$ref": "https://example.com/a.json"}'), "json: "),
        (Constraint("grammar", "start: b"), "grammar: "),
        (Constraint("choice"), "choices are possible"),
        (Constraint("choice", choices=("a",) * (CHOICES + 1)), "choices are possible"),
    ],
    ids=lambda one: getattr(one, "kind", "") + getattr(one, "text", "")[:12],
)  # fmt: skip
def test_what_is_none_or_too_large_is_refused_at_once(
    engine: Engine, constraint: Constraint, why: str
) -> None:
    grammars = Grammars(engine.lm.tokenizer)
    grammars.matcher(Constraint("regex", "a"))
    began = time.perf_counter()
    with pytest.raises(ConfigError, match=re.escape(why)) as caught:
        grammars.matcher(constraint)
    assert time.perf_counter() - began < 2
    assert len(caught.value.what) < 500
    assert caught.value.where == "constraint"


@pytest.mark.parametrize(
    "expression", ["(a|b|c|d)*a(a|b|c|d){40}(a|b)*a(a|b|c){40}", "((a{1,999}){1,999}){1,999}"]
)
def test_what_is_hard_to_follow_holds_nobody_up(engine: Engine, expression: str) -> None:
    """Expressions whose states explode; they may fail, in the time that they have."""
    bad = Constraint("regex", expression)
    began = time.perf_counter()
    good = engine.submit(Request((5,), max_tokens=20))
    hard = engine.submit(Request((5,), SamplingConfig(temperature=1.0), 300, constraint=bad))
    finish: dict[int, Event] = {}
    while engine.busy:
        finish |= dict(engine.step())
    assert finish[good].finish == "length"
    assert finish[hard].finish in ("error", "stop", "length")
    assert time.perf_counter() - began < 20
