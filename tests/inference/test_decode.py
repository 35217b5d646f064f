"""The cached decoder tells what the plain one tells, also when the window slides."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ownlm.inference.config import SamplingConfig
from ownlm.inference.decode import decode, decode_plainly, window
from ownlm.inference.language_model import LM, load
from ownlm.inference.sampling import Sampler
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.models.model import SingleStack


def random_model(family: str, context: int) -> SingleStack:
    config = ModelConfig(family=family, vocab=60, dim=16, heads=4, layers=2, context=context)
    model = build_model(config, seed=2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(40)
    return model


def greedy(logits_V: Tensor) -> int:
    return int(logits_V.argmax())


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("context", [240, 32, 1])
def test_cached_equals_plain_for_200_greedy_tokens(family: str, context: int) -> None:
    model, prompt = random_model(family, context), [3, 1, 4, 1, 5]
    fast = list(decode(model, prompt, greedy, 200))
    assert fast == list(decode_plainly(model, prompt, greedy, 200))
    assert len(fast) == 200
    assert context == 1 or len(set(fast)) > 3  # not one token over and over


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100])
def test_prompts_up_to_and_beyond_the_context(length: int) -> None:
    model, prompt = random_model("gpt2", 32), [i * 7 % 60 for i in range(length)]
    fast = list(decode(model, prompt, greedy, 40))
    assert fast == list(decode_plainly(model, prompt, greedy, 40))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("context", [240, 32])
def test_a_prompt_that_is_read_both_ways(family: str, context: int) -> None:
    model, prompt = random_model(family, context), [3, 1, 4, 1, 5, 9, 2, 6]
    fast = list(decode(model, prompt, greedy, 100, both_ways=True))
    assert fast == list(decode_plainly(model, prompt, greedy, 100, both_ways=True))
    assert fast != list(decode(model, prompt, greedy, 100))


def test_a_prefix_language_model_says_so_in_its_folder(tiny: LM, tmp_path: Path) -> None:
    one = "".join(tiny.stream("lö wör", 30))
    tiny.model.config["prefix_lm"] = True
    try:
        tiny.save(tmp_path)
        two = "".join(tiny.stream("lö wör", 30))
    finally:
        del tiny.model.config["prefix_lm"]
    assert "".join(load(tmp_path).stream("lö wör", 30)) == two != one


def test_sampled_tokens_are_equal_too() -> None:
    model, config = random_model("llama", 64), SamplingConfig(temperature=1.0, seed=5)
    fast = list(decode(model, [1], Sampler(config), 100))
    assert fast == list(decode_plainly(model, [1], Sampler(config), 100))
    other = SamplingConfig(temperature=1.0, seed=6)
    assert fast != list(decode(model, [1], Sampler(other), 100))


def test_the_window_slides_to_half_a_context() -> None:
    begins, begin = [], 0
    for end in range(1, 15):
        begin = window(begin, end, 8)
        begins.append(begin)
        assert 1 <= end - begin <= 8
    assert begins == [0] * 8 + [5] * 5 + [10]
    assert [window(0, 20, 8), window(0, 2, 1)] == [16, 1]


def test_every_token_is_read_once_until_the_window_slides(counter: object) -> None:
    model = counter
    said = list(decode(model, [4, 5], greedy, 12))  # type: ignore[arg-type]
    assert said == [6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7]
    assert model.lengths == [2, 1, 1, 1, 1, 1, 1, 4, 1, 1, 1, 1]  # type: ignore[attr-defined]


def test_nothing_is_computed_that_is_not_asked_for(counter: object) -> None:
    stream = decode(counter, [0], greedy, 1000)  # type: ignore[arg-type]
    assert [next(stream), next(stream)] == [1, 2]
    assert len(counter.lengths) == 2  # type: ignore[attr-defined]
    assert list(decode(counter, [0], greedy, 0)) == []  # type: ignore[arg-type]


def test_decoding_makes_no_graph(tiny: LM) -> None:
    seen: list[Tensor] = []

    def keep(logits_V: Tensor) -> int:
        seen.append(logits_V)
        return 1

    list(decode(tiny.model, [1], keep, 2))
    assert not any(logits.requires_grad for logits in seen)
    assert torch.is_grad_enabled()
