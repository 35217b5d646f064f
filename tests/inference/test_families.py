"""Families beyond the block write: with a cache what they write without one."""

from typing import Any

import pytest
import torch

from ownlm.inference.config import SamplingConfig
from ownlm.inference.decode import decode, decode_plainly
from ownlm.inference.language_model import LM, load
from ownlm.inference.sampling import Sampler
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

KINDS: dict[str, dict[str, Any]] = {
    "transformer-xl": {"family": "transformer-xl"},
    "xlnet": {"family": "xlnet"},
    "lstm": {"family": "lstm", "bias": True, "hidden": 24},
    "strided": {"family": "gpt2", "pattern": "strided"},
    "bigbird": {"family": "llama", "pattern": "bigbird", "pattern_size": 2},
}


@pytest.fixture(params=KINDS)
def lm(request: pytest.FixtureRequest) -> LM:
    tokenizer = train_tokenizer(["héllo wörld"], TokenizerConfig(kind="byte"))
    shape = {"vocab": tokenizer.vocab_size, "dim": 16, "heads": 4, "layers": 2, "context": 40}
    model = build_model(ModelConfig(**shape | KINDS[request.param]), seed=2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(12)
    return LM(model, tokenizer)


def test_cached_equals_plain_also_when_the_window_slides(lm: LM) -> None:
    config, prompt = SamplingConfig(temperature=1.0, seed=5), [3, 1, 4]
    fast = list(decode(lm.require_writer(), prompt, Sampler(config), 70))
    assert fast == list(decode_plainly(lm.require_writer(), prompt, Sampler(config), 70))
    assert len(set(fast)) > 10


def test_text_is_the_same_from_a_saved_folder(lm: LM, tmp_path: Any) -> None:
    text = lm.generate("Hé", max_tokens=30, temperature=1.0, seed=4)
    assert len(text) > 5
    lm.save(tmp_path)
    assert load(tmp_path).generate("Hé", max_tokens=30, temperature=1.0, seed=4) == text
