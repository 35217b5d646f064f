"""Guessing by frequency, against counts made by hand."""

import math

import numpy as np
import pytest

from ownlm.errors import DataError
from ownlm.evaluation.text import TextStream
from ownlm.evaluation.unigram import targets, unigram
from ownlm.objectives.causal import Causal
from ownlm.objectives.permutation import Permutation

EOS = 0
CONTROLS = np.arange(6) == EOS


def text(*ids: int) -> TextStream:
    """One document and its end."""
    tokens = np.array([*ids, EOS], np.uint32)
    return TextStream(tokens, np.array([0]), len(ids))


def test_the_loss_and_the_accuracy_by_hand() -> None:
    """Trained on 1 1 1 2, the guesser knows 3 + 1, 1 + 1 and, of the unseen 3, 4, 5, 0 + 1."""
    train, held = text(3, 1, 1, 1, 2), text(3, 1, 2, 1, 4)
    found = unigram(Causal(), train, held, context=4, is_control=CONTROLS)
    shares = {1: 4 / 9, 2: 2 / 9, 4: 1 / 9}  # the end of the text costs nothing and has no share
    nats = -sum(math.log(shares[token]) for token in (1, 2, 1, 4))
    assert found.loss == pytest.approx(nats / 5)  # the first token of a text is no target
    assert found.accuracy == pytest.approx(3 / 5)  # 1, 1 and the end
    assert found.as_dict() == {"unigram_loss": found.loss, "unigram_accuracy": found.accuracy}


def test_no_guess_that_ignores_the_context_is_better() -> None:
    """On the text that it has counted, the loss is the entropy; other shares cost more."""
    ids = np.random.default_rng(0).choice([1, 1, 1, 2, 2, 3], 3_000).tolist()
    stream = text(*ids)
    found = unigram(Causal(), stream, stream, context=64, is_control=CONTROLS)
    shares = np.bincount(ids[1:], minlength=6) / (len(ids) - 1)
    entropy = -sum(p * math.log(p) for p in shares if p)
    assert found.loss == pytest.approx(entropy, abs=0.01)
    assert found.loss < math.log(3) - 0.05


def test_a_permutation_asks_for_the_tokens_that_have_a_step() -> None:
    stream = text(*list(range(1, 6)) * 60)
    asked = targets(Permutation(rate=0.25), stream, 50, 6)
    assert asked.sum() == pytest.approx(0.25 * 300, abs=6)
    assert (asked[1:] > 0).all()


def test_a_limit_takes_windows_from_all_of_the_text() -> None:
    stream = text(*[1] * 400, *[2] * 400)
    some = targets(Causal(), stream, 100, 6, most=4)
    assert some.sum() == 400
    assert some[1] > 0 and some[2] > 0


def test_a_text_without_targets_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to predict"):
        unigram(Causal(), text(1, 2), text(), context=4, is_control=CONTROLS)
