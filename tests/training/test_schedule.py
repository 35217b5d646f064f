"""The learning rate is a pure function of the step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.errors import ConfigError
from ownlm.training.config import ScheduleConfig
from ownlm.training.schedule import check_schedule, rate, stable_end


def curve(steps: int, **over) -> list[float]:
    config = ScheduleConfig(**over)
    return [rate(step, config, steps) for step in range(steps)]


def test_warmup_climbs_in_equal_parts_and_then_reaches_the_peak() -> None:
    assert curve(8, kind="constant", warmup=3) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_cosine_falls_half_a_wave() -> None:
    values = curve(9, kind="cosine", warmup=1, final=0.1)
    # After the warmup: 0.1 + 0.9 * (1 + cos(pi * k / 8)) / 2 for k = 0..7
    assert values[0] == 0.5
    assert values[1] == 1.0
    assert values[5] == pytest.approx(0.55)
    assert values[8] == pytest.approx(0.1 + 0.9 * 0.0380602, abs=1e-6)


def test_wsd_is_flat_and_then_a_straight_line() -> None:
    assert curve(10, kind="wsd", warmup=2, decay=0.4, final=0.2) == pytest.approx(
        [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4]
    )


def test_nanogpt_s_schedule_is_the_cosine_one() -> None:
    """min_lr + coeff * (lr - min_lr), coeff = (1 + cos(pi * ratio)) / 2, as train.py has it."""
    import math

    lr, min_lr, warmup, steps = 6e-4, 6e-5, 20, 200

    def theirs(it: int) -> float:
        if it < warmup:
            return lr * (it + 1) / (warmup + 1)
        ratio = (it - warmup) / (steps - warmup)
        return min_lr + 0.5 * (1 + math.cos(math.pi * ratio)) * (lr - min_lr)

    ours = curve(steps, kind="cosine", warmup=warmup, final=0.1)
    assert [lr * r for r in ours] == pytest.approx([theirs(i) for i in range(steps)])


@given(
    st.sampled_from(["cosine", "wsd", "constant"]),
    st.integers(1, 300),
    st.integers(0, 50),
    st.floats(0.01, 1),
    st.floats(0, 1),
)
def test_rates_stay_between_nothing_and_the_peak(kind, steps, warmup, decay, final) -> None:
    config = ScheduleConfig(kind=kind, warmup=warmup, decay=decay, final=final)
    try:
        check_schedule(config, steps)
    except ConfigError:
        return
    values = [rate(step, config, steps) for step in range(steps)]
    assert all(0 < v <= 1 or (v == 0 and final == 0) for v in values)
    after = values[warmup:]
    assert after == sorted(after, reverse=True)
    if kind == "wsd":
        assert all(v == 1 for v in values[warmup : stable_end(config, steps) + 1])


def test_warmup_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup is 100 updates, but the whole run has 100"):
        check_schedule(ScheduleConfig(warmup=100), 100)
    with pytest.raises(ConfigError, match="begins at update 80 of 100"):
        check_schedule(ScheduleConfig(kind="wsd", warmup=90), 100)
    check_schedule(ScheduleConfig(kind="constant", warmup=100), 100)
    check_schedule(ScheduleConfig(kind="wsd", warmup=80), 100)


def test_the_2017_schedule() -> None:
    """d^-0.5 min(step^-0.5, step warmup^-1.5), scaled to reach 1 at its peak."""
    ours = curve(50, kind="inverse_sqrt", warmup=10)
    theirs = [10**0.5 * min(n**-0.5, n * 10**-1.5) for n in range(1, 51)]
    assert ours == pytest.approx(theirs)
