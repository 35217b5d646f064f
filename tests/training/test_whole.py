"""The trainer with real parts: text, tokenizer, shards, the loader and its thread, LLaMA."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from ownlm.data.config import DataConfig
from ownlm.data.loader import Examples, Loader
from ownlm.data.prepare import prepare
from ownlm.data.shards import TOKENIZER, PreparedData
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, load_model
from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer
from ownlm.training.digest import run_digest

CONTEXT = 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("data")
    for number in range(30):
        words = " ".join(f"{a} sees {b}." for a in "xyz" for b in range(number, number + 4))
        (folder / f"{number}.txt").write_text(words)
    config = DataConfig(path=str(folder), validation=0.2)
    return prepare(config, folder.with_name("prepared"), TokenizerConfig(kind="char"))


class Stopping(Loader):
    """Asks the process to stop, from the middle of an update."""

    def batch(self, step: int, micro: int = 0, of: int = 1) -> Examples:
        if (step, micro) == (5, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return super().batch(step, micro, of)


def train(folder: Path, data: PreparedData, kind: type[Loader], family: str) -> Any:
    vocab = load_tokenizer(data.folder / TOKENIZER).vocab_size
    config = ModelConfig(family=family, layers=1, dim=16, heads=2, context=CONTEXT, vocab=vocab)
    digests = {"data": data.digest, "tokenizer": data.tokenizer_digest}
    with kind(data.train, CONTEXT, 8, seed=3, documents=True) as loader:
        parts = {"model": build_model(config, seed=1), "loader": loader, "identity": digests}
        over = {"train__steps": 9, "train__save_every": 4, "train__evaluate_every": 0}
        return tiny.train(folder, parts=parts | {"evaluate": None}, **over)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_stopped_and_gone_on_it_is_the_run_that_was_not_stopped(
    tmp_path: Path, data: PreparedData, family: str
) -> None:
    assert train(tmp_path / "whole", data, Loader, family).finished
    result = train(tmp_path / "cut", data, Stopping, family)
    assert result.exit_code == 143 and result.step == 6
    assert train(tmp_path / "cut", data, Loader, family).finished
    assert run_digest(tmp_path / "cut") == run_digest(tmp_path / "whole")
    assert tiny.rows(tmp_path / "cut") == tiny.rows(tmp_path / "whole")
    model, config = load_model(tmp_path / "cut" / "model")
    assert config["model_type"] == family and not model.training


def test_packed_documents_are_parted_where_one_ends_and_all_of_them_is_learned(
    data: PreparedData,
) -> None:
    with Loader(data.train, CONTEXT, 32, seed=3, documents=True) as loader:
        examples = loader.batch(0)
        batch = Causal().collate(examples, np.random.default_rng(0))
    assert (batch["targets"] != IGNORE).all()
    eos = int(data.train.gather(data.train.starts[1:2] - 1, 1)[0, 0])
    opens = batch["mask"][:, 1:] != batch["mask"][:, :-1]
    assert 0 < int(opens.sum()) < 32
    assert torch.equal(opens, batch["inputs"][:, 1:] == eos)
