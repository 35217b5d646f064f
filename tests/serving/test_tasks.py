"""Models that were taught a task: labels, scores, tags, answers, translations, vectors."""

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch

from ownlm.errors import CheckpointError
from ownlm.inference.language_model import load
from ownlm.models.model import SingleStack
from ownlm.models.sentences import Embedder, Pooling, load_embedder
from ownlm.objectives.tasks.embed import Embed
from ownlm.recipes.predict import asked, predict
from ownlm.recipes.subject import subject
from ownlm.recipes.tuned import saver
from ownlm.recipes.tuning import tuning
from ownlm.serving.config import ServeConfig
from ownlm.serving.served import Served, named, task_of
from ownlm.serving.state import State

from .conftest import Client

WORDS = "harbour boat rope sail wind gull tide mast crane wharf"
SHAPE = {"shape": {"layers": 1, "dim": 32, "context": 64}, "tokenizer": {"vocab_size": 300}}
LABELS = {"classify": ["ham", "spam"], "pair": ["same", "other"], "regress": [""],
          "tag": ["B-ship", "O"]}  # fmt: skip
Taught = Callable[..., Client]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """A server of a new model that has the head of a task: what it says is no matter."""
    made: dict[str, Served] = {}

    def make(task: Any, model: str = "bert-tiny") -> Client:
        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            config = tuning(task, model).with_values(SHAPE | {"out": str(folder)})
            fresh = subject(config, LABELS.get(task, []), [WORDS] * 20)
            saver(config, fresh)(fresh.model, folder / "model")
            lm = load(folder)
            made[task] = Served("taught", lm, tuned=task_of(lm))
        assert made[task].tuned is not None
        return Client(State(ServeConfig(), {"taught": made[task]}))

    return make


def said(ask: Client, text: str, other: str = "") -> dict[str, Any]:
    """What `ownlm predict` says."""
    served = ask.app.state.ownlm.models["taught"]
    (found,) = predict(served.tuned, [asked(served.tuned, text, other)])
    return found.prediction.as_dict()


def data(ask: Client, path: str, **body: Any) -> list[dict[str, Any]]:
    response = ask.post(path, {"model": "taught"} | body)
    assert response.status_code == 200, response.text
    found = response.json()
    assert found["object"] == "list" and found["model"] == "taught"
    assert found["usage"]["total_tokens"] > 0
    rows: list[dict[str, Any]] = found["data"]
    assert [one["index"] for one in rows] == [*range(len(rows))]
    return rows


def test_labels(taught: Taught) -> None:
    ask = taught("classify")
    rows = data(ask, "/classify", input=["a boat", "the gull"])
    for row, text in zip(rows, ("a boat", "the gull")):
        wanted = said(ask, text)
        assert row["label"] == wanted["labels"][0]
        assert row["probs"] == pytest.approx([*wanted["probabilities"].values()])
        assert row["num_classes"] == 2
    assert data(ask, "/classify", input="a boat")[0] == rows[0]
    (model,) = ask.get("/v1/models").json()["data"]
    assert model["labels"] == ["ham", "spam"]


def test_long_texts_hold_up_no_other_request(
    taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = taught("classify")
    tokenizer = ask.app.state.ownlm.models["taught"].lm.tokenizer
    threads = list[threading.Thread]()

    def noted(work: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*given: Any, **more: Any) -> Any:
            threads.append(threading.current_thread())
            return work(*given, **more)

        return seen

    for name in ("encode_batch", "decode"):
        monkeypatch.setattr(tokenizer, name, noted(getattr(tokenizer, name)))
    data(ask, "/classify", input="a boat")
    assert threads
    read = len(threads)
    assert ask.post("/detokenize", {"tokens": [9]}).status_code == 200
    assert len(threads) > read
    assert threading.main_thread() not in threads  # there the event loop is


def test_scores_of_pairs(taught: Taught) -> None:
    ask = taught("regress")
    for path in ("/score", "/v1/score"):
        rows = data(ask, path, text_1="a boat", text_2=["a gull", "the tide"])
        wanted = [said(ask, "a boat", other)["score"] for other in ("a gull", "the tide")]
        assert [row["score"] for row in rows] == pytest.approx(wanted)
    uneven = {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}
    assert ask.post("/score", {"model": "taught"} | uneven).status_code == 400


def test_vectors(taught: Taught) -> None:
    ask = taught("embed")
    rows = data(ask, "/v1/embeddings", input=["a boat", "the gull"])
    wanted = [said(ask, text)["values"] for text in ("a boat", "the gull")]
    for row, values in zip(rows, wanted):
        assert row["embedding"] == pytest.approx(values, abs=1e-6)
    packed = data(ask, "/v1/embeddings", input="a boat", encoding_format="base64")
    bytes_ = base64.b64decode(packed[0]["embedding"])
    assert np.frombuffer(bytes_, "<f4").tolist() == pytest.approx(wanted[0], abs=1e-6)
    served = ask.app.state.ownlm.models["taught"]
    ids = served.lm.tokenizer.encode("a boat")
    for form in (ids, [ids]):
        again = data(ask, "/v1/embeddings", input=form)
        assert again[0]["embedding"] == pytest.approx(wanted[0], abs=1e-6)
    assert data(ask, "/pooling", input="a boat")[0]["data"] == pytest.approx(wanted[0], abs=1e-6)
    cosine = data(ask, "/score", text_1="a boat", text_2="the gull")[0]["score"]
    assert cosine == pytest.approx(float(np.dot(*wanted)), abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"input": "boat " * 300}, {"input": [9999]}, {"input": ["a"] * 2049}, {"input": []},
     {"input": ""}, {"dimensions": 5}, {"encoding_format": "int8"}, {"input": [[]]}],
    ids=lambda one: repr(one)[:40],
)  # fmt: skip
def test_vectors_that_cannot_be(taught: Taught, change: dict[str, Any]) -> None:
    response = taught("embed").post("/v1/embeddings", {"model": "taught", "input": "a"} | change)
    assert response.status_code == 400
    assert response.json()["error"]["param"].partition(".")[0] in change


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_vectors_are_pooled_as_the_folder_says(tmp_path: Path, pooling: Pooling) -> None:
    folder = embedder(tmp_path, pooling)
    lm = load(folder)
    served = Served("taught", lm, tuned=task_of(lm))
    ask = Client(State(ServeConfig(), {"taught": served}))
    (row,) = data(ask, "/v1/embeddings", input="a boat sails")
    assert served.tuned is not None and isinstance(served.tuned.task, Embed)
    ids = torch.from_numpy(served.tuned.task.sequence("a boat sails", 0).ids)[None]
    with torch.no_grad():
        wanted = load_embedder(folder)(ids)[0].tolist()
        other = Embedder(lm.model, "mean" if pooling != "mean" else "first", True)(ids)[0].tolist()
    assert row["embedding"] == pytest.approx(wanted, abs=1e-5)
    assert row["embedding"] != pytest.approx(other, abs=1e-2)


def test_pooling_that_is_not_known_is_refused(tmp_path: Path) -> None:
    folder = embedder(tmp_path, "mean")
    path = folder / "1_Pooling" / "config.json"
    flags = {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | flags))
    with pytest.raises(CheckpointError, match="pooling_mode_max_tokens"):
        task_of(load(folder))


def embedder(folder: Path, pooling: Pooling) -> Path:
    """A folder as sentence-transformers has them, of a new model."""
    config = tuning("embed", "bert-tiny").with_values(SHAPE | {"out": str(folder)})
    fresh = subject(config, [], [WORDS] * 20)
    assert isinstance(fresh.model, SingleStack)
    Embedder(fresh.model, pooling, normalised=True).save(folder)
    fresh.tokenizer.save(folder)
    return folder


def test_tags(taught: Taught) -> None:
    ask = taught("tag")
    (row,) = data(ask, "/v1/tag", input="a boat sails")
    assert [one["word"] for one in row["words"]] == ["a", "boat", "sails"]
    assert [one["tag"] for one in row["words"]] == said(ask, "a boat sails")["tags"]


def test_answers(taught: Taught) -> None:
    ask = taught("span")
    (row,) = data(ask, "/v1/answer", question="what sails?", context="a boat sails")
    wanted = said(ask, "what sails?", "a boat sails")
    assert (row["text"], row["start"]) == (wanted["text"], wanted["start"])
    blank = {"model": "taught", "question": "  ", "context": "a"}
    assert ask.post("/v1/answer", blank).json()["error"]["param"] == "question"


def test_translations_and_summaries(taught: Taught) -> None:
    ask = taught("seq2seq", "transformer-tiny")
    for path, kind in (("/v1/translate", "translation"), ("/v1/summarize", "summary")):
        (row,) = data(ask, path, input="a boat")
        assert row == {"index": 0, "object": kind} | said(ask, "a boat")
    refused = ask.post("/v1/completions", {"model": "taught", "prompt": "a"})
    assert refused.json()["error"]["param"] == "model"


def test_names_of_models(tmp_path: Path) -> None:
    found = named([f"{tmp_path}/mail/model", f"small={tmp_path}/a", f"{tmp_path}/b.gguf"])
    assert [*found] == ["mail", "small", "b"]
    with pytest.raises(ValueError, match="two models"):
        named([f"{tmp_path}/a", f"{tmp_path}/c/a"])


def test_the_real_client_reads_vectors(taught: Taught) -> None:
    assert (
        openai.types.CreateEmbeddingResponse.model_validate(
            taught("embed").post("/v1/embeddings", {"model": "taught", "input": "a"}).json()
        )
        .data[0]
        .embedding
    )
