"""A tiny model with its tokenizer, and a fake model whose next token is known."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.nn.cache import Cache
from ownlm.nn.head import Output
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer


class Counter:
    """After n comes n + 1, then 0 again: the logits need no weights."""

    def __init__(self, vocab: int = 10, context: int = 8) -> None:
        self.vocab, self.context, self.device = vocab, context, torch.device("cpu")
        self.lengths: list[int] = []

    def new_cache(self, batch: int = 1, length: int | None = None) -> Cache:
        return Cache(())

    def __call__(
        self,
        ids_BT: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        *,
        prefix: Tensor | None = None,
    ) -> Output:
        if cache is not None:
            cache.advance(ids_BT, mask)
        self.lengths.append(ids_BT.shape[1])
        features = torch.nn.functional.one_hot((ids_BT + 1) % self.vocab, self.vocab).float()
        return Output(features, features, torch.eye(self.vocab))


class Script(Counter):
    """Says given ids one after the other, whatever it reads."""

    def __init__(self, ids: Sequence[int], vocab: int) -> None:
        super().__init__(vocab, context=10_000)
        self.ids = list(ids)

    def __call__(
        self, ids_BT: Tensor, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Output:
        said = torch.full_like(ids_BT, self.ids.pop(0) - 1)
        return super().__call__(said, mask, cache)


@pytest.fixture
def counter() -> Counter:
    """The fake model that counts."""
    return Counter()


@pytest.fixture
def script() -> type[Script]:
    """The fake model that says given ids."""
    return Script


@pytest.fixture(scope="session")
def tiny() -> LM:
    """Random LLaMA over bytes, context 48."""
    tokenizer = train_tokenizer(["héllo wörld"], TokenizerConfig(kind="byte"))
    config = ModelConfig(
        family="llama", vocab=tokenizer.vocab_size + 3, dim=16, heads=4, kv_heads=2, layers=2,
        context=48,
    )  # fmt: skip
    model = build_model(config, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(12)
    return LM(model, tokenizer)
