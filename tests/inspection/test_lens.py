"""The lens ends with what the model itself says; scores are its own."""

import pytest
import torch
from looked_at import made

from ownlm.errors import ConfigError
from ownlm.inspection.given import given
from ownlm.inspection.lens import logit_lens, read_off, residual_streams
from ownlm.inspection.token_scores import token_scores

FAMILIES = ["llama", "gpt2", "gemma2", "phi3", "mixtral", "bert", "t5", "transformer-xl"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_says_what_the_model_says(family: str) -> None:
    lm = made(family)
    read = given(lm, "the lens", written="ends" if family == "t5" else "")
    sides = [torch.tensor([ids]) for ids in (read.reads, read.written) if ids]
    types = {} if read.types is None else {"types": torch.tensor([read.types])}
    with torch.inference_mode():
        expected = lm.model(*sides, **types).logits[0]
    streams = residual_streams(lm.model, read)
    assert streams is not None and len(streams) == 3
    with torch.inference_mode():
        assert torch.equal(read_off(lm.model, streams[-1]), expected)
        assert not torch.allclose(read_off(lm.model, streams[-2]), expected, atol=1e-2)
    shares = expected[:, : lm.tokenizer.vocab_size].softmax(-1)
    lens = logit_lens(lm, read, top=3, last=4)
    assert (len(lens.layers), len(lens.layers[0])) == (3, 4)
    for place, guesses in enumerate(lens.layers[-1], start=lens.first):
        best = shares[place].topk(3)
        assert [g.token.id for g in guesses] == best.indices.tolist()
        assert [g.probability for g in guesses] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_a_model_of_two_streams_has_no_lens() -> None:
    lm = made("xlnet")
    with pytest.raises(ConfigError, match="no layers"):
        logit_lens(lm, given(lm, "abc"))


def test_a_decoder_scores_each_token_by_those_before() -> None:
    lm = made("llama")
    read = given(lm, "scores")
    found = token_scores(lm, read, top=4)
    with torch.inference_mode():
        shares = lm.model(torch.tensor([read.reads])).logits[0].log_softmax(-1)
    assert found[0].logprob is None
    for place in range(1, len(read.reads)):
        one, own = found[place], shares[place - 1]
        assert one.logprob == pytest.approx(float(own[read.reads[place]]), abs=1e-5)
        assert one.rank == 1 + int((own > own[read.reads[place]]).sum())
        assert [a.token.id for a in one.alternatives] == own.topk(4).indices.tolist()
    assert "".join(one.token.text for one in found) == "scores"


def test_an_encoder_decoder_scores_what_is_written() -> None:
    lm = made("t5")
    read = given(lm, "source", written="said")
    found = token_scores(lm, read)
    with torch.inference_mode():
        shares = lm.model(torch.tensor([read.reads]), torch.tensor([read.written])).logits[0]
    own = shares[:, : lm.tokenizer.vocab_size].log_softmax(-1)
    expected = [float(own[i, id]) for i, id in enumerate(read.written[1:])]
    assert [one.logprob for one in found[1:]] == pytest.approx(expected, abs=1e-5)


def test_an_encoder_scores_each_token_while_it_is_hidden() -> None:
    lm = made("bert")
    read = given(lm, "a text of more than sixteen tokens")
    found = token_scores(lm, read)
    assert [one.logprob is None for one in found] == [one.token.control for one in found]
    for place in (1, 20):
        hidden = read.hiding(place, lm.tokenizer)
        with torch.inference_mode():
            types = torch.tensor([hidden.types])
            logits = lm.model(torch.tensor([hidden.reads]), types=types).logits[0, place]
        own = logits[: lm.tokenizer.vocab_size].log_softmax(-1)
        assert found[place].logprob == pytest.approx(float(own[read.reads[place]]), abs=1e-4)
    with pytest.raises(ConfigError, match="no words"):
        token_scores(made("bert", head="ForSequenceClassification"), read)
