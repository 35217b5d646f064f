"""What becomes of a model that is to be served: its task, texts, vectors, or to be looked into."""

from pathlib import Path

import pytest
import torch

from ownlm.cli.serve import asked
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM, load
from ownlm.inspection.given import given
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.serving.config import ServeConfig
from ownlm.serving.load import load_served
from ownlm.serving.state import State
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

from .conftest import Client


def saved(folder: Path, **values: object) -> Path:
    """A random model over bytes."""
    controls = ("<|begin|>", "<|mask|>", "<|pad|>")
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="byte", controls=controls))
    shape = {"dim": 16, "heads": 2, "layers": 2, "context": 64, "vocab": tokenizer.vocab_size}
    LM(build_any(ModelConfig(**shape | values), seed=1), tokenizer).save(folder)
    return folder


def no_engine(lm: LM) -> tuple[Engine, str]:
    raise AssertionError("it writes no text")


def client(folder: Path) -> Client:
    models = load_served({"it": folder}, no_engine, device="cpu")
    return Client(State(ServeConfig(), models))


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_a_plain_encoder_gives_means_of_its_last_layer(family: str, tmp_path: Path) -> None:
    ask = client(saved(tmp_path / "plain", family=family))
    assert ask.get("/v1/models").json()["data"][0]["task"] == "embed"
    answer = ask.post("/v1/embeddings", json={"model": "it", "input": ["a boat", "b"]})
    vectors = torch.tensor([one["embedding"] for one in answer.json()["data"]])
    lm = load(tmp_path / "plain", "cpu")
    for text, vector in zip(["a boat", "b"], vectors, strict=True):
        read = given(lm, text)
        types = None if read.types is None else torch.tensor([read.types])
        with torch.no_grad():
            hidden = lm.model(torch.tensor([read.reads]), types=types).hidden[0]
        expected = torch.nn.functional.normalize(hidden.mean(dim=0), dim=0)
        assert torch.allclose(vector, expected, atol=1e-5)
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


@pytest.mark.parametrize(
    ("values", "does"),
    [
        ({"family": "bert"}, "embed"),
        ({"family": "bert", "head": "ForMultipleChoice"}, "embed"),
        ({"family": "electra"}, "embed"),
        ({"family": "bart", "head": "Model"}, "look"),
        ({"family": "bert", "head": "ForTokenClassification"}, "tag"),
    ],
)
def test_every_model_can_be_asked_for_what_it_does(
    values: dict[str, str], does: str, tmp_path: Path
) -> None:
    ask = client(saved(tmp_path / "it", **values))
    assert ask.get("/v1/models").json()["data"][0]["task"] == does
    path, body = asked(ask.app.state.ownlm.models["it"])
    assert ask.post(path, json=body | {"model": "it"}).status_code == 200
    refused = ask.post("/v1/completions", json={"model": "it", "prompt": "a"})
    assert refused.status_code == 400 and "writes no text" in refused.text
