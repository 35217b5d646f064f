"""What a run is going to be, in words that are true of it."""

import pytest

from ownlm.objectives.config import ObjectiveConfig
from ownlm.recipes import plan
from ownlm.recipes.named import recipe


@pytest.mark.parametrize(("kind", "said"), [
    ("cosine", "cosine down to 10%"), ("wsd", "wsd down to 10%"),
    ("inverse_sqrt", "inverse_sqrt"), ("constant", "constant"),
])  # fmt: skip
def test_only_schedules_that_end_at_a_share_name_it(kind: str, said: str) -> None:
    config = recipe("char-tiny").with_values({"schedule": {"kind": kind}})
    assert plan._rate(config).endswith(f", {said}")


@pytest.mark.parametrize(("unit", "said"), [
    ("token", "hidden by the token;"), ("word", "hidden by the word;"),
    ("chinese", "hidden by the Chinese word;"),
])  # fmt: skip
def test_what_is_hidden_at_once_is_named(unit: str, said: str) -> None:
    objective = ObjectiveConfig.parse({"kind": "masked", "rate": 0.15, "unit": unit})
    assert said in plan._learned(objective)
