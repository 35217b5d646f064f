"""Gaps are guessed by the model itself, where they stand, and only by models that can."""

import pytest
import torch
from looked_at import made

from ownlm.errors import ConfigError
from ownlm.inspection.fill import fill, filled, fills, with_gaps
from ownlm.inspection.given import Given, given


def test_each_gap_is_guessed_where_it_stands() -> None:
    lm = made("bert")
    read = given(lm, "a # c#")
    (hash_id,) = lm.tokenizer.encode("#")
    mask = lm.tokenizer.special["<|mask|>"]
    ids = [mask if id == hash_id else id for id in read.reads]
    with torch.inference_mode():
        types = None if read.types is None else torch.tensor([read.types])
        logits = lm.model(torch.tensor([ids]), types=types).logits[0]
    shares = logits[:, : lm.tokenizer.vocab_size].softmax(-1)
    places = [place for place, id in enumerate(ids) if id == mask]
    found = fill(lm, "a [MASK] c<mask>", top=3)
    expected = Given(tuple(ids), types=read.types), places
    assert with_gaps(lm, "a [MASK] c<mask>") == expected
    for place, guesses in zip(places, found, strict=True):
        best = shares[place].topk(3)
        assert [one.token.id for one in guesses] == best.indices.tolist()
        assert [one.probability for one in guesses] == pytest.approx(best.values.tolist(), rel=1e-4)
    others = [[one.token.id for one in gap] for gap in fill(lm, "a [MASK] d<mask>", top=3)]
    assert others != [[one.token.id for one in gap] for gap in found], "the words around count"


def test_which_models_fill_gaps() -> None:
    assert {family: fills(made(family)) for family in ("bert", "modernbert", "gpt2", "t5")} == {
        "bert": True, "modernbert": True, "gpt2": False, "t5": False}  # fmt: skip
    assert not fills(made("bert", head="ForSequenceClassification"))


@pytest.mark.parametrize(
    ("text", "said"), [("no gap", "has no gap"), ("x" * 60 + "[MASK]", "longer than the 48")]
)
def test_texts_that_cannot_be_filled(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fill(made("bert"), text)


def test_words_come_into_the_gaps_in_order() -> None:
    assert filled("[MASK] <mask>!", ["a", "b"]) == "a b!"
    assert filled("[MASK] <|mask|>", ["a"]) == "a <|mask|>"
