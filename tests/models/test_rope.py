"""Rotary positions in all the ways that config.json has written them."""

from typing import Any

import pytest
import torch

from ownlm.errors import CheckpointError
from ownlm.models.hf_config import Reader
from ownlm.models.rope import read_rope
from ownlm.nn.config import RopeConfig, RopeScaling
from ownlm.nn.position import rope_frequencies


def read(**values: Any) -> RopeConfig:
    return read_rope(Reader(values), 1000)


def test_old_and_new_spelling_mean_the_same() -> None:
    assert read(rope_theta=500.0) == read(rope_parameters={"rope_theta": 500.0})
    assert read() == RopeConfig(theta=10_000.0)
    assert read(rope_scaling=None, rope_theta=500) == RopeConfig(theta=500.0)
    old = read(rope_theta=500.0, rope_scaling={"type": "linear", "factor": 2})
    new = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
    assert old == read(rope_parameters=new)
    assert old.scaling == RopeScaling(kind="linear", factor=2.0)


def test_yarn_follows_from_its_lengths() -> None:
    given = {"rope_type": "yarn", "original_max_position_embeddings": 250}
    scaling = read(rope_parameters=given).scaling
    assert scaling is not None
    assert scaling.factor == 4
    assert scaling.amplitude == pytest.approx(1.1386294)  # 0.1 ln 4 + 1
    assert read(rope_parameters=given | {"attention_factor": 1.0}).scaling != scaling


LONG = {
    "rope_type": "longrope", "original_max_position_embeddings": 250,
    "short_factor": [1.0, 1.5], "long_factor": [2, 8],
}  # fmt: skip


def test_longrope_changes_factors_where_positions_pass_the_original_length() -> None:
    rope = read(rope_parameters=LONG)
    assert rope.scaling is not None
    assert rope.scaling.factor == 4
    assert rope.scaling.amplitude == pytest.approx(1.1185141)  # sqrt(1 + ln 4 / ln 250)
    near, far = (rope_frequencies(rope, 4, torch.arange(length)) for length in (250, 251))
    assert near.tolist() == pytest.approx([1.0, 0.01 / 1.5])
    assert far.tolist() == pytest.approx([0.5, 0.01 / 8])
    assert read(rope_scaling=LONG | {"type": "su"} | {"rope_type": "su"}).scaling is not None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"rope_scaling": {"type": "dynamic", "factor": 2}},
            "known: default, linear, llama3, yarn",
        ),
        ({"rope_scaling": {"type": "linear"}}, "factor: missing"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor: expected 1"),
        ({"rope_scaling": {"type": "yarn", "factor": 2, "mscale": 0.7}}, "mscale"),
        ({"rope_theta": -1}, "rope_theta"),
        ({"rope_scaling": "linear"}, "rope_scaling: expected an object"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "original_max_position"),
        ({"rope_parameters": LONG | {"long_factor": 8}}, "long_factor: expected a list"),
        ({"rope_parameters": LONG | {"short_factor": [1, 0]}}, "short_factor: expected 1e-06"),
    ],
)
def test_what_cannot_be_read_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read(**values)
