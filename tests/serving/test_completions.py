"""/v1/completions: text and ids, echo, the best of several, probabilities in the older form."""

import json
from typing import Any

import pytest

from .conftest import Client, Scripted
from .openai_shapes import Completion, CompletionChunk, valid

PATH = "/v1/completions"


def ids(scripted: Scripted, text: str) -> list[int]:
    return scripted.lm.tokenizer.encode(text)


def test_texts_and_ids_in_the_order_of_the_prompts(ask: Client, scripted: Scripted) -> None:
    a, b = ids(scripted, "The harbour"), ids(scripted, "Noon")
    forms: list[tuple[Any, list[list[int]]]] = [
        ("The harbour", [a]), (a, [a]), (["The harbour", "Noon"], [a, b]), ([a, b], [a, b]),
    ]  # fmt: skip
    for prompt, read in forms:
        scripted.asked.clear()
        response = ask.post(PATH, {"model": "tiny", "prompt": prompt, "n": 2})
        made = valid(Completion, response.json())
        assert [choice.index for choice in made.choices] == [*range(2 * len(read))]
        assert [list(one.prompt) for one in scripted.asked] == [ids for ids in read for _ in "12"]
        assert made.usage and made.usage.prompt_tokens == sum(map(len, read))


def test_sixteen_tokens_unless_told(ask: Client, scripted: Scripted) -> None:
    scripted.text = "x" * 40
    made = valid(Completion, ask.post(PATH, {"model": "tiny", "prompt": "a"}).json())
    assert made.choices[0].text == "x" * 16
    assert made.choices[0].finish_reason == "length"
    assert scripted.asked[0].ends == frozenset(scripted.lm.stop_ids)


def test_echo_with_probabilities_as_lm_eval_reads_them(ask: Client, scripted: Scripted) -> None:
    prompt = ids(scripted, "né")
    body = {"model": "tiny", "prompt": [prompt], "echo": True, "logprobs": 1, "max_tokens": 1}
    scripted.text = "z"
    made = valid(Completion, ask.post(PATH, body).json())
    (choice,) = made.choices
    assert choice.text == "néz"
    found = choice.logprobs
    assert found is not None
    assert found.token_logprobs == [None, -0.5, -0.5, -0.5]
    assert found.tokens == ["n", "\\xc3", "\\xa9", "z"]
    assert found.top_logprobs is not None and found.top_logprobs[0] is None
    assert found.text_offset == [0, 1, 1, 2]
    assert all(top and max(top.values()) == -0.5 for top in found.top_logprobs[1:])
    assert scripted.asked[0].ignore_end  # an end that is left out would shift what is read


def test_nothing_is_written_but_the_prompt_scored(ask: Client, scripted: Scripted) -> None:
    body = {"model": "tiny", "prompt": "abc", "echo": True, "logprobs": 0, "max_tokens": 0}
    (choice,) = ask.post(PATH, body).json()["choices"]
    assert choice["text"] == "abc"
    assert choice["logprobs"]["token_logprobs"] == [None, -0.5, -0.5]


def test_the_best_of_several(ask: Client, scripted: Scripted) -> None:
    body = {"model": "tiny", "prompt": "a", "n": 1, "best_of": 3}
    made = valid(Completion, ask.post(PATH, body).json())
    assert len(made.choices) == 1
    assert len(scripted.asked) == 3
    assert made.choices[0].logprobs is None
    assert made.usage and made.usage.completion_tokens == 3 * len(scripted.text)


@pytest.mark.parametrize("echo", [False, True])
def test_a_stream_says_the_same(ask: Client, scripted: Scripted, echo: bool) -> None:
    scripted.text = "naïve 漢"
    body = {"model": "tiny", "prompt": "ab", "logprobs": 2, "echo": echo, "seed": 1}
    whole = ask.post(PATH, body).json()["choices"][0]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    frames = ask.post(PATH, body | options).text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    *chunks, last = [json.loads(one.removeprefix("data: ")) for one in frames[:-2]]
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == len(scripted.text) + 3
    choices = [valid(CompletionChunk, one).choices[0] for one in chunks]
    assert "".join(choice.text for choice in choices) == whole["text"]
    for key, value in whole["logprobs"].items():
        assert [x for c in choices if c.logprobs for x in getattr(c.logprobs, key)] == value, key
    assert [c.finish_reason for c in choices if c.finish_reason] == [whole["finish_reason"]]
