"""Which tokens may come next, with which probability, and the same ones for the same seed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ownlm.errors import ConfigError, NonFiniteError
from ownlm.inference.config import SamplingConfig
from ownlm.inference.sampling import Sampler, candidates, probabilities

SHARES = torch.tensor([0.5, 0.25, 0.15, 0.1])
LOGITS = SHARES.log()


def kept(**values: float) -> list[float]:
    config = SamplingConfig.parse({"temperature": 1.0, **values})
    return [round(p, 4) for p in probabilities(LOGITS, config).tolist()]


def test_each_filter_keeps_what_it_says() -> None:
    assert kept() == [0.5, 0.25, 0.15, 0.1]
    assert kept(top_k=2) == [round(2 / 3, 4), round(1 / 3, 4), 0, 0]
    assert kept(top_k=9) == kept()
    assert kept(top_p=0.5) == [1, 0, 0, 0]
    assert kept(top_p=0.51) == [round(2 / 3, 4), round(1 / 3, 4), 0, 0]
    assert kept(top_p=0.75) == kept(top_p=0.51)
    assert kept(top_p=0.001) == [1, 0, 0, 0]
    assert kept(min_p=0.4) == [round(2 / 3, 4), round(1 / 3, 4), 0, 0]
    assert kept(min_p=1.0) == [1, 0, 0, 0]
    assert kept(top_k=3, top_p=0.6) == [round(2 / 3, 4), round(1 / 3, 4), 0, 0]


def test_temperature_sharpens_and_flattens() -> None:
    squares = [p * p for p in SHARES.tolist()]
    assert kept(temperature=0.5) == [round(p / sum(squares), 4) for p in squares]
    assert max(kept(temperature=50.0)) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("temperature", [1e-30, 1e-40, 1e-300, 5e-324])
def test_next_to_no_temperature_is_the_likeliest(temperature: float) -> None:
    assert kept(temperature=temperature) == [1, 0, 0, 0]
    sampler = Sampler(SamplingConfig(temperature=temperature))
    assert {sampler(LOGITS.flip(0) + 10) for _ in range(20)} == {3}


def test_zero_temperature_is_the_likeliest() -> None:
    sampler = Sampler(SamplingConfig(temperature=0.0))
    assert {sampler(LOGITS.flip(0)) for _ in range(20)} == {3}


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    def draws(seed: int) -> list[int]:
        sampler = Sampler(SamplingConfig(temperature=1.0, seed=seed))
        return [sampler(LOGITS) for _ in range(4000)]

    first = draws(1)
    assert first == draws(1)
    assert first != draws(2)
    for token, share in enumerate(SHARES.tolist()):
        assert first.count(token) / 4000 == pytest.approx(share, abs=0.025)


def test_sampling_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Sampler(SamplingConfig(temperature=1.0))(LOGITS)
    assert torch.equal(before, torch.get_rng_state())


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=20),
    st.floats(0.05, 5),
    st.integers(0, 25),
    st.floats(0.01, 1),
    st.floats(0, 1),
)
def test_something_is_always_left(
    logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    config = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    shares = probabilities(torch.tensor(logits), config)
    assert math.isclose(float(shares.sum()), 1, rel_tol=1e-4)
    assert bool(shares[int(torch.tensor(logits).argmax())] > 0)


@pytest.mark.parametrize("nonsense", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nonsense_logits_are_refused(nonsense: float, temperature: float) -> None:
    with pytest.raises(NonFiniteError):
        Sampler(SamplingConfig(temperature=temperature))(torch.tensor([1.0, nonsense]))


@pytest.mark.parametrize(
    ("key", "value"),
    [("temperature", -0.1), ("temperature", math.nan), ("temperature", math.inf), ("top_k", -1),
     ("top_p", 0.0), ("top_p", 1.01), ("min_p", -1), ("seed", -1), ("seed", 2**63)],
)  # fmt: skip
def test_values_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        SamplingConfig.parse({key: value})


def greedy(prompt: tuple[int, ...] = (), **values: object) -> Sampler:
    return Sampler(SamplingConfig.parse(values), prompt)


def test_penalties_count_what_was_written() -> None:
    logits = torch.tensor([2.0, 1.9, -1.0, -1.1])
    present = greedy(presence_penalty=0.2)
    assert [present(logits) for _ in range(4)] == [0, 1, 0, 0]
    often = greedy(frequency_penalty=0.2)
    assert [often(logits) for _ in range(5)] == [0, 1, 0, 1, 0]
    assert torch.equal(logits, torch.tensor([2.0, 1.9, -1.0, -1.1]))
    assert torch.allclose(often.adjusted(logits), logits - torch.tensor([0.6, 0.4, 0, 0]))


@pytest.mark.parametrize("more", [{}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.5}])
def test_a_repetition_penalty_of_almost_nothing_leaves_numbers(more: dict[str, float]) -> None:
    values = {"temperature": 1.0, "repetition_penalty": 1e-300, **more}
    sampler = Sampler(SamplingConfig.parse(values), (1, 3))
    logits = torch.tensor([2.0, 1.0, -1.0, -1.0])
    assert sampler.adjusted(logits).isfinite().all()
    assert {sampler(logits) for _ in range(5)} == {1}


def test_repetition_is_also_of_the_prompt_and_moves_both_signs_down() -> None:
    found = greedy((1, 3), repetition_penalty=2.0).adjusted(torch.tensor([2.0, 1.0, -1.0, -1.0]))
    assert found.tolist() == [2.0, 0.5, -1.0, -2.0]


def test_a_bias_is_added_and_ids_that_do_not_exist_are_left_out() -> None:
    assert greedy(logit_bias={2: 1.0, 9: 50.0})(torch.tensor([2.0, 0.0, 1.5])) == 2
    assert greedy(logit_bias={0: -100})(torch.tensor([2.0, 0.0, 1.5])) == 2


def test_only_what_is_allowed_and_not_banned_comes() -> None:
    allowed = torch.tensor([False, True, True, False])
    for temperature in (0.0, 1.0):
        sampler = greedy(temperature=temperature)
        assert {sampler(LOGITS, allowed) for _ in range(20)} <= {1, 2}
        assert {sampler(LOGITS, allowed, [1]) for _ in range(20)} == {2}
        with pytest.raises(ConfigError, match="no token may come next"):
            sampler(LOGITS, allowed, [1, 2])


def test_what_is_plain_says_so() -> None:
    assert greedy().plain
    for values in ({"temperature": 1.0}, {"logit_bias": {1: 1.0}}, {"repetition_penalty": 1.1}):
        assert not greedy(**values).plain


def by_sorting_all(logits: torch.Tensor, top_p: float) -> list[int]:
    order = sorted(range(len(logits)), key=lambda n: (-float(logits[n]), n))
    shares, kept, before = logits.double().softmax(dim=-1), [], 0.0
    for place in order:
        if before >= top_p:
            break
        kept.append(place)
        before += float(shares[place])
    return sorted(kept)


@pytest.mark.parametrize("spread", [0.001, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.99])
def test_the_fewest_that_reach_a_sum_are_found(spread: float, top_p: float) -> None:
    """Also where many are equal: logits are rounded."""
    logits = (torch.randn(5000, generator=torch.manual_seed(3)) * spread * 4).round() / 4
    found = candidates(logits, SamplingConfig(temperature=1.0, top_p=top_p))
    assert found.ids is not None
    assert found.ids.tolist() == by_sorting_all(logits, top_p)
    assert float(found.shares.sum()) == pytest.approx(1)
