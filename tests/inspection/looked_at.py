"""Tiny models of any family, with weights so large that attention differs between places."""

import torch

from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

SHAPE = {"dim": 64, "heads": 4, "layers": 2, "context": 48}


def made(family: str, **values: object) -> LM:
    controls = ("<|begin|>", "<|mask|>", "<cls>", "<sep>")
    tokenizer = train_tokenizer(["hello"], TokenizerConfig(kind="byte", controls=controls))
    shape = SHAPE | {"vocab": tokenizer.vocab_size}
    model = build_any(ModelConfig(family=family, **shape | values), seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.3, generator=generator)
    return LM(model, tokenizer)
