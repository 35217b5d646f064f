"""`ownlm evaluate`: raw text and prepared data give the same figures."""

import json
import math
from pathlib import Path

import pytest
import torch

from ownlm.cli.main import main
from ownlm.data.config import DataConfig
from ownlm.data.prepare import prepare
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.nn.streams import factorise
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer

TEXTS = [f"Document {n}: the cat sat on mat {n * n}, naïvely. 中文" for n in range(40)]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    rows = [json.dumps({"text": text, "id": n}) for n, text in enumerate(TEXTS)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def data(text: Path, tmp_path: Path) -> Path:
    prepare(DataConfig(path=str(text)), tmp_path / "data", TokenizerConfig(kind="byte"))
    return tmp_path / "data"


@pytest.fixture
def model(data: Path, tmp_path: Path) -> Path:
    tokenizer = load_tokenizer(data / "tokenizer")
    config = ModelConfig(layers=1, dim=16, heads=2, context=32, vocab=tokenizer.vocab_size)
    LM(build_model(config, seed=0), tokenizer).save(tmp_path / "model")
    return tmp_path / "model"


def figures(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, float]:
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found


def test_raw_text_is_measured_whole(
    model: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = figures(capsys, model, "--data", text)
    sizes = [len(text.encode()) for text in TEXTS]
    assert found["text_bytes"] == sum(sizes)
    assert found["tokens"] == sum(sizes) + len(TEXTS)  # bytes and the end of each document
    assert found["predicted"] == found["tokens"] - 1  # all but the first
    assert found["loss"] == pytest.approx(math.log(258), abs=0.3)
    bits = found["loss"] * found["tokens"] / found["text_bytes"] / math.log(2)
    assert found["bits_per_byte"] == pytest.approx(bits)


def test_prepared_data_and_its_text_agree(
    model: Path, text: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [figures(capsys, model, "--data", data, "--split", s) for s in ("train", "validation")]
    whole = figures(capsys, model, "--data", text)
    assert sum(part["text_bytes"] for part in parts) == whole["text_bytes"]
    assert {part["predicted"] for part in parts}.isdisjoint({whole["predicted"]})


def test_a_stream_of_raw_text_is_the_one_that_is_prepared(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = DataConfig(path=str(text), validation=0.0)
    prepare(everything, tmp_path / "all", load_tokenizer(model))
    raw = figures(capsys, model, "--data", text)
    prepared = figures(capsys, model, "--data", tmp_path / "all", "--split", "train")
    assert raw | {"seconds": 0, "data": ""} == prepared | {"seconds": 0, "data": ""}


def test_options_change_what_they_say(
    model: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = figures(capsys, model, "--data", text)
    slid = figures(capsys, model, "--data", text, "--stride", "8", "--batch", "3")
    assert slid["predicted"] == plain["predicted"] and slid["loss"] != plain["loss"]
    joined = figures(capsys, model, "--data", text, "--no-documents")
    assert joined["predicted"] == joined["tokens"] - 1


def test_the_table_shows_the_figures(
    model: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(model), "--data", str(text)]) == 0
    out = capsys.readouterr().out
    for expected in ("nats per token", "perplexity", "bits per byte", "of 32 tokens"):
        assert expected in out


def test_data_of_another_tokenizer_is_refused(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(DataConfig(path=str(text)), tmp_path / "other", TokenizerConfig(kind="char"))
    assert main(["evaluate", str(model), "--data", str(tmp_path / "other")]) == 3
    assert "another tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--stride", "33"], 2, "stride 33 is not between 1 and the context, 32"),
        (["--stride", "-1"], 2, "stride"),
        (["--batch", "0"], 2, "batch"),
        (["--data", "nowhere"], 3, "no such file"),
    ],
)
def test_bad_requests(
    model: Path,
    text: Path,
    words: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", str(model), "--data", str(text), *words]) == code
    assert message in capsys.readouterr().err


def test_too_little_text_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("")
    assert main(["evaluate", str(model), "--data", str(tmp_path / "a.txt")]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_xlnet_is_measured_by_what_it_says_before_it_has_seen(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer(data / "tokenizer")
    config = ModelConfig(
        family="xlnet", layers=2, dim=16, heads=2, context=32, vocab=tokenizer.vocab_size
    )
    model = build_model(config, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    LM(model, tokenizer).save(tmp_path / "model")
    (tmp_path / "short.txt").write_text("the cat sat on the mat", encoding="utf-8")
    found = figures(capsys, tmp_path / "model", "--data", tmp_path / "short.txt")
    ids = torch.tensor([[*tokenizer.encode("the cat sat on the mat"), tokenizer.eos_id]])
    order, _ = factorise(torch.arange(ids.shape[1])[None], torch.ones_like(ids).bool())
    total, count = model(ids, order=order).cross_entropy(
        torch.cat((torch.full((1, 1), -100), ids[:, 1:]), dim=1)
    )
    assert found["loss"] == pytest.approx(float(total.detach() / count), rel=1e-5)
    seen, _ = model(ids[:, :-1]).cross_entropy(ids[:, 1:])
    assert found["loss"] != pytest.approx(float(seen.detach() / count), rel=1e-3), "control"


def test_an_encoder_is_not_measured_by_the_next_token(
    data: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer(data / "tokenizer")
    config = ModelConfig(
        family="bert", layers=1, dim=16, heads=2, context=32, vocab=tokenizer.vocab_size
    )
    LM(build_model(config, seed=0), tokenizer).save(tmp_path / "model")
    assert main(["evaluate", str(tmp_path / "model"), "--data", str(text)]) == 2
    assert "bert is an encoder" in capsys.readouterr().err
