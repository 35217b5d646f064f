"""Named sizes of encoders and encoder-decoders have the parameters that their makers counted."""

import pytest

from ownlm.models.families import SIZES, family_of
from ownlm.models.load import count_parameters, empty_model, hf_values

# Of the model with its pretraining head; the published count of the bare model where that is
# better known, and what the head adds.
COUNTED = {
    "bert-base-uncased": 109_482_240 + 768 * 769 + 2 * 768 + 30_522 + 2 * 769,
    "roberta-base": 124_697_433,
    "distilbert-base-uncased": 66_362_880 + 768 * 769 + 2 * 768 + 30_522,
    "electra-small-discriminator": 13_483_008 + 256 * 257 + 257,
    "modernbert-base": 149_014_272 + 768 * 768 + 768 + 50_368,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-v1.1-small": 76_961_152,
    "mt5-small": 300_176_768,
    "bart-base": 139_420_416 + 50_265,
    "bart-large": 406_291_456 + 50_265,
    "xlnet-base-cased": 116_718_336 + 32_000,
    "lstm-ptb-large": 66_034_000,  # "66 million"
    "lstm-awd": 24_221_600,  # "24M"
    "transformer-xl-41m": 41_066_700,
    "transformer-xl-277m": 277_278_924,
}


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_of_a_named_size(name: str) -> None:
    values = hf_values(SIZES[name])
    assert count_parameters(empty_model(family_of(values), values, name)) == COUNTED[name]
