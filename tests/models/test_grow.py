"""A grown vocabulary: what was known is as before, new rows are the mean."""

from typing import Any

import pytest
import torch

from ownlm.models.config import ModelConfig
from ownlm.models.grow import grown
from ownlm.models.load import build_any, hf_values, load_any, save_model
from ownlm.models.model import EncoderDecoder


@pytest.mark.parametrize(("family", "tied"), [
    ("gpt2", True), ("gpt2", False), ("llama", False), ("t5", True), ("bart", True),
])  # fmt: skip
def test_old_tokens_are_as_before_and_new_ones_average(family: str, tied: bool, tmp_path) -> None:
    config = ModelConfig(family=family, layers=2, dim=32, heads=2, context=64, vocab=90, tied=tied)
    model: Any = build_any(hf_values(config), seed=3).eval()
    made: Any = grown(model, 97)
    assert grown(model, 90) is model and made.vocab == 97 and made.config["vocab_size"] == 97
    ids = torch.arange(40)[None]
    pair = isinstance(model, EncoderDecoder)
    before, after = (one(ids, ids).logits if pair else one(ids).logits for one in (model, made))
    assert torch.equal(before, after[..., :90])
    mean = before.mean(dim=-1)
    assert torch.allclose(after[..., 95], mean, atol=1e-5)
    save_model(made, tmp_path)
    read, _ = load_any(tmp_path)
    assert read.vocab == 97
    for (name, one), other in zip(made.state_dict().items(), read.state_dict().values()):
        assert torch.equal(one, other), name
