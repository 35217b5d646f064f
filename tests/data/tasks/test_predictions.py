"""Predictions: plain values whatever numbers a model hands over."""

import json

import numpy as np
import pytest

from ownlm.data.tasks.predictions import (
    Classified,
    Estimate,
    Extract,
    Prediction,
    Tagging,
    Vector,
    Writing,
)

HALF = np.float32(0.5)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (Classified(("a",), {"a": HALF}), {"labels": ["a"], "probabilities": {"a": 0.5}}),
        (Classified(()), {"labels": [], "probabilities": {}}),
        (Estimate(HALF), {"score": 0.5}),
        (Tagging(("O",), (HALF,)), {"tags": ["O"], "probabilities": [0.5]}),
        (
            Extract("308", np.int64(4), HALF, HALF),
            {"text": "308", "start": 4, "score": 0.5, "none": 0.5},
        ),
        (Writing("好", False), {"text": "好", "complete": False}),
        (Vector((HALF,)), {"values": [0.5]}),
        (Vector((HALF,), (HALF,)), {"values": [0.5], "pair": [0.5]}),
    ],
)
def test_they_are_json_whatever_numbers_they_hold(
    prediction: Prediction, expected: dict[str, object]
) -> None:
    assert json.loads(json.dumps(prediction.as_dict())) == expected
