"""One example of a run, where its settings are extreme."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ownlm.recipes.config import RunConfig
from ownlm.recipes.look import example

Make = Callable[..., RunConfig]


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.5, 0.51, 0.9, 0.99])
@pytest.mark.parametrize("context", [3, 4, 7, 33])
def test_neither_side_is_longer_than_the_context(
    rate: float, context: int, tiny: Make, tmp_path: Path
) -> None:
    """Where most of a text is hidden the target is the longer side, and decides the window."""
    model = {"family": "marian", "bias": True, "context": context}
    found = example(tiny(model=model, objective={"rate": rate}), tmp_path / "look", 0)
    assert max(map(len, found.values())) <= context
    assert any(token.learns is not None for token in found["target"])
