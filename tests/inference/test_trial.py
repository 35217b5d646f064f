"""Constraints of strangers are compiled in a process of their own first: what would keep a thread
busy for minutes, or take all memory, is refused in the time that it has (R10)."""

import json
import resource
import threading
import time
from typing import Any

import pytest

pytest.importorskip("llguidance")

from ownlm.errors import ConfigError
from ownlm.inference.constraint import Grammars
from ownlm.inference.language_model import LM
from ownlm.inference.request import Constraint
from ownlm.inference.trial import PATIENCE, SECONDS, Trial


def doubling(levels: int) -> dict[str, Any]:
    """A schema of few bytes that says its last definition 2 ** levels times."""
    inner = {f"a{levels}": {"type": "object", "properties": {"x": {"type": "string"}}}}
    for level in range(levels):
        next_one = {"type": "object", "$ref": f"#/$defs/a{level + 1}"}
        inner[f"a{level}"] = {"type": "object", "properties": {"l": next_one, "r": next_one}}
    return {"$ref": "#/$defs/a0", "$defs": inner}


@pytest.fixture(scope="module")
def grammars(tiny: LM) -> Grammars:
    return Grammars(tiny.tokenizer)


@pytest.fixture(scope="module")
def trial(grammars: Grammars) -> Trial:
    return Trial(grammars)


SOUND = [
    Constraint("json", json.dumps(doubling(3))),
    Constraint("regex", r"[a-c]{2,4}é-\d{1,3}"),
    Constraint("choice", choices=("yes", "no")),
    Constraint("grammar", 'start: "a" (b | "c")~1..3\nb: "b" "d"'),
]


@pytest.mark.parametrize("constraint", SOUND, ids=lambda one: one.kind)
def test_what_is_sound_passes(trial: Trial, grammars: Grammars, constraint: Constraint) -> None:
    trial(constraint)
    grammars.matcher(constraint)  # and compiles here


@pytest.mark.parametrize(
    "constraint",
    [Constraint("regex", "("), Constraint("json", '{"type": "unheard of"}'),
     Constraint("json", '{"$ref": "https://example.com/a.json"}'), Constraint("json", "true"),
     Constraint("grammar", "start: b"), Constraint("choice")],
    ids=lambda one: one.kind + one.text[:10],
)  # fmt: skip
def test_what_is_none_is_refused_as_it_is_here(
    trial: Trial, grammars: Grammars, constraint: Constraint
) -> None:
    with pytest.raises(ConfigError) as here:
        grammars.matcher(constraint)
    with pytest.raises(ConfigError) as there:
        trial(constraint)
    assert there.value.what == here.value.what


HOSTILE = [
    Constraint("json", json.dumps(doubling(26))),
    Constraint("grammar", "start: %json " + json.dumps(doubling(24))),
]


@pytest.mark.parametrize("constraint", HOSTILE, ids=lambda one: one.kind)
def test_what_would_take_minutes_is_refused_in_its_time(
    grammars: Grammars, constraint: Constraint
) -> None:
    trial, before = Trial(grammars), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trial(SOUND[1])  # the process has begun
    begun = time.perf_counter()
    with pytest.raises(ConfigError, match="to compile") as caught:
        trial(constraint)
    assert time.perf_counter() - begun < PATIENCE * SECONDS + 10
    assert caught.value.where == "constraint"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (64 << 10)
    trial(SOUND[0])  # and the next one is tried


def test_what_passed_once_is_not_tried_again(grammars: Grammars) -> None:
    trial = Trial(grammars)
    trial(SOUND[1])
    trial._worker = None  # nobody could be asked
    begun = time.perf_counter()
    trial(SOUND[1])
    assert time.perf_counter() - begun < 0.05
    assert trial._worker is None


def test_threads_come_one_after_the_other(trial: Trial) -> None:
    found: list[str] = []

    def ask(number: int) -> None:
        try:
            trial(Constraint("regex", "(" if number % 2 else "a" * (number + 1)))
            found.append("passed")
        except ConfigError:
            found.append("refused")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["passed"] * 4 + ["refused"] * 4
