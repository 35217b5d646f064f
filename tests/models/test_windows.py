"""Which layers slide, and how far they see, as config.json writes it."""

from typing import Any

import pytest

from ownlm.errors import CheckpointError
from ownlm.models.hf_config import Reader
from ownlm.models.windows import read_layers, read_window


@pytest.mark.parametrize(
    ("values", "default", "window"),
    [
        ({}, 4096, 4096),
        ({}, 0, 0),
        ({"sliding_window": None}, 4096, 0),
        ({"sliding_window": 7}, 4096, 7),
        ({"sliding_window": 7}, 0, 7),
    ],
)
def test_null_is_no_window_and_absence_the_default(
    values: dict[str, Any], default: int, window: int
) -> None:
    assert read_window(Reader(values), default) == window


def test_layers_are_told_or_usual() -> None:
    told = ["full_attention", "sliding_attention"]
    assert read_layers(Reader({"layer_types": told}), (True, True)) == (False, True)
    assert read_layers(Reader({}), (True, False)) == (True, False)


@pytest.mark.parametrize("types", ["full_attention", ["full_attention"], ["odd", "odd"], [1, 2]])
def test_layer_types_that_cannot_be(types: Any) -> None:
    with pytest.raises(CheckpointError, match="layer_types"):
        read_layers(Reader({"layer_types": types}), (True, True))


@pytest.mark.parametrize("window", [0, -1, 2.5, "7", True, 10**9])
def test_windows_that_cannot_be(window: Any) -> None:
    with pytest.raises(CheckpointError, match="sliding_window"):
        read_window(Reader({"sliding_window": window}), 4096)
