"""The smallest whole training: a GPT-2 of 2 x 16, made-up data, every part real."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, save_model
from ownlm.objectives.causal import Causal
from ownlm.training.config import Choices, OptimizerConfig, ScheduleConfig, TrainConfig
from ownlm.training.run import open_run
from ownlm.training.trainer import Result, Trainer

VOCAB, LENGTH, CORPUS = 40, 12, 480
IDENTITY = {"data": "d" * 64, "tokenizer": "t" * 64}


class Samples(NamedTuple):
    tokens: np.ndarray
    documents: np.ndarray | None
    sample_ids: np.ndarray


class TinyLoader:
    """Windows over a text of 480 tokens (an epoch is 40 samples), in a new order each epoch."""

    def __init__(self, batch: int, seed: int = 5, documents: bool = True) -> None:
        self.size, self.seed, self.documents = batch, seed, documents
        self.text = np.random.default_rng(0).integers(0, VOCAB, CORPUS)

    def batch(self, step: int, micro: int = 0, of: int = 1) -> Samples:
        share = self.size // of
        first = step * self.size + micro * share
        begins = np.array([self._begin(index) for index in range(first, first + share)])
        places = (begins[:, None] + np.arange(LENGTH + 1)) % CORPUS
        documents = (places // 50 + 1).astype(np.int32) if self.documents else None
        return Samples(self.text[places], documents, begins)

    def _begin(self, index: int) -> int:
        epoch, place = divmod(index, CORPUS // LENGTH)
        order = np.random.default_rng((self.seed, epoch)).permutation(CORPUS // LENGTH)
        return int(order[place]) * LENGTH


def tiny_model(dropout: float = 0.1, layers: int = 2):
    config = ModelConfig(
        layers=layers, dim=16, heads=2, context=LENGTH, vocab=VOCAB, dropout=dropout, bias=True
    )
    return build_model(config, seed=1)


def evaluate(model) -> dict[str, float]:
    """A validation loss that any change of a parameter moves."""
    batch = Causal().collate(TinyLoader(8, seed=99).batch(0), np.random.default_rng(0))
    loss = Causal().loss(model, batch)
    return {"validation_loss": (loss.total / loss.count).item()}


def settings(**over: Any) -> dict[str, Any]:
    """The complete configuration of a tiny run; dotted keys written with __."""
    train = {
        "steps": 60, "batch": 8, "save_every": 10, "evaluate_every": 20, "log_every": 1, "seed": 3,
        "compile": "off", "micro_batch": 4, "threads": 1,  # nothing is left to a stopwatch
    }  # fmt: skip
    values: dict[str, Any] = {
        "train": train,
        "optimizer": {"lr": 1e-2},
        "schedule": {"warmup": 3},
        "choices": {"micro_batch": 4},
        "model": {"layers": 2, "dropout": 0.1},
        "out": "here",
    }
    for key, value in over.items():
        section, _, name = key.partition("__")
        if name:
            values[section] = values[section] | {name: value}
        else:
            values[section] = value
    return values


def make_trainer(run, values: dict[str, Any], **parts: Any) -> Trainer:
    """A trainer for `settings`; `parts` replace what it is made of."""
    train = TrainConfig(**values["train"])
    given = {
        "model": tiny_model(values["model"]["dropout"], values["model"]["layers"]),
        "objective": Causal(),
        "loader": TinyLoader(train.batch),
        "train": train,
        "optimizer": OptimizerConfig(**values["optimizer"]),
        "schedule": ScheduleConfig(**values["schedule"]),
        "choices": Choices(**values["choices"]),
        "identity": IDENTITY,
        "save_model": save_model,
        "evaluate": evaluate,
    }
    return Trainer(run, **(given | parts))


def train(
    folder: Path, *, resume: str = "auto", allow: bool = False, parts: Any = None, **over: Any
) -> Result:
    """Open a run folder, train to the end, close it."""
    values = settings(**over)
    with open_run(folder, resume=resume) as run:
        run.agree(values, allow_change=allow)
        return make_trainer(run, values, **(parts or {})).fit()


def rows(folder: Path) -> list[dict[str, Any]]:
    """The log without what clocks decide."""
    from ownlm.log import read_rows

    found = read_rows(folder / "log.jsonl")
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in found]
