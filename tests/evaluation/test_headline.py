"""The figures that a reader looks for first, by what was learned."""

from typing import Any

import pytest

from ownlm.evaluation.headline import headline

GUESS = {"unigram_loss": 6.6, "unigram_accuracy": 0.06}
HIDDEN = {"masked_accuracy": 0.391, "loss": 3.9}
PAIRS = {"masked_loss": 3.4, "pair_loss": 0.5, "pair_accuracy": 0.915}


@pytest.mark.parametrize(
    ("figures", "shown"),
    [
        (
            {"loss": 1.5, "perplexity": 4.48, "bits_per_byte": 0.75} | GUESS,
            {"validation loss": "1.5000", "perplexity": "4.48", "bits per byte": "0.7500"},
        ),
        (
            {"loss": 1.5, "perplexity": 4.48, "bits_per_byte": None} | GUESS,
            {"validation loss": "1.5000", "perplexity": "4.48",
             "loss by frequency alone (control tokens free)": "6.6000"},
        ),
        (
            HIDDEN | PAIRS | GUESS | {"bits_per_byte": None},
            {"hidden tokens right": "39.1%", "by frequency alone": "6.0%", "their loss": "3.4000",
             "loss by frequency alone": "6.6000", "pairs right": "91.5%", "by chance": "50.0%"},
        ),
        (HIDDEN, {"hidden tokens right": "39.1%", "their loss": "3.9000"}),
        (
            {"loss": 27.5, "generator_loss": 6.7, "detector_loss": 0.38, "replaced": 0.147,
             "detector_accuracy": 0.9},
            {"tokens told original from replaced": "90.0%", "by always saying original": "85.3%",
             "detector's loss": "0.3800", "generator's loss": "6.7000"},
        ),
        ({"loss": 2.0}, {"validation loss": "2.0000"}),
        ({}, {}),
    ],
)  # fmt: skip
def test_each_objective_has_its_own(figures: dict[str, Any], shown: dict[str, str]) -> None:
    assert headline(figures) == shown
