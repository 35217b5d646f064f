"""The doctor's subject is made of the parts that the run itself would use."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ownlm.data.config import DataConfig
from ownlm.data.prepare import prepare
from ownlm.errors import DataError
from ownlm.evaluation.doctor import examine
from ownlm.models.config import ModelConfig
from ownlm.recipes.config import RunConfig
from ownlm.recipes.doctor import reduced, subject
from ownlm.recipes.named import RECIPES, recipe
from ownlm.tokenization.config import TokenizerConfig


@pytest.fixture
def text(tmp_path: Path) -> Path:
    rows = [
        {"text": f"Document {n} says: one, two, three; the café is {n * 7}."} for n in range(50)
    ]
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def small(path: Path | str, **tokenizer: object) -> RunConfig:
    values = {
        "data": {"path": str(path)},
        "tokenizer": {"kind": "byte", "vocab_size": 300} | tokenizer,
        "model": {"layers": 2, "dim": 32, "heads": 2, "kv_heads": 0, "context": 64},
    }
    return recipe("llama-mini").with_values(values)


def test_raw_text_is_prepared_and_the_tokenizer_sees_the_texts_themselves(
    text: Path, tmp_path: Path
) -> None:
    found = subject(small(text), tmp_path / "scratch")
    assert found.texts[0].startswith("Document 0 says") and len(found.texts) == 50
    assert found.lossless and found.make_model().vocab == found.tokenizer.vocab_size
    assert found.optimizer.lr > 0


def test_prepared_data_is_used_as_it_is(text: Path, tmp_path: Path) -> None:
    data = prepare(DataConfig(path=str(text)), tmp_path / "data", TokenizerConfig(kind="char"))
    found = subject(small(tmp_path / "data"), tmp_path / "scratch")
    assert found.tokenizer.digest == data.tokenizer_digest
    assert found.stream.tokens == data.train.tokens
    assert any("says: one, two" in text for text in found.texts)
    assert not (tmp_path / "scratch" / "data").exists()


def test_without_data_the_built_in_text_stands_in(tmp_path: Path) -> None:
    found = subject(small(""), tmp_path)
    assert found.stream.text_bytes > 500_000


def test_a_text_too_short_for_the_run_is_refused_as_by_the_run(text: Path, tmp_path: Path) -> None:
    config = small(text).with_values({"model": {"context": 4096}})
    for reduce in (False, True):
        with pytest.raises(DataError, match="one window of context 4096 needs 4,097"):
            subject(config, tmp_path / str(reduce), reduce=reduce)


def test_a_lossy_tokenizer_is_known_as_such(text: Path, tmp_path: Path) -> None:
    found = subject(small(text, kind="wordpiece"), tmp_path / "a")
    assert not found.lossless
    assert not subject(small(text, lowercase=True, kind="bpe"), tmp_path / "b").lossless


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_reduced(name: str) -> None:
    model = recipe(name).model
    small = ModelConfig(**model.model_dump() | reduced(model))
    assert small.layers <= 2 and small.dim <= 128 and small.context <= 128
    assert small.family == model.family
    if model.kv_heads:
        assert small.heads // small.kv_heads == model.heads // model.kv_heads


@pytest.mark.parametrize(("family", "tokenizer", "bias"), [
    ("bert", "wordpiece", True), ("electra", "wordpiece", True), ("t5", "bpe", False),
    ("bart", "bpe", True), ("xlnet", "bpe", False), ("transformer-xl", "bpe", False),
])  # fmt: skip
def test_every_objective_passes_every_check(
    family: str, tokenizer: str, bias: bool, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """Accumulated = full batch, packed = separate, padded = unpadded, resume exact."""
    config = tiny(
        model={"family": family, "bias": bias, "context": 64},
        tokenizer={"kind": tokenizer, "vocab_size": 400},
        optimizer={"lr": 3e-2},
        train={"threads": 1},
    )
    found = list(examine(subject(config, tmp_path)))
    bad = [f"{f.name}: {f.measured} {f.detail}" for f in found if f.passed is False]
    assert not bad, bad
    done = {f.name for f in found if f.passed}
    assert {"accumulated gradients = full batch", "padded rows = unpadded rows"} <= done
    assert {"packed documents = separate documents", "resume is exact, bit for bit"} <= done


@pytest.mark.parametrize("kind", ["prefix", "middle"])
def test_what_else_decoders_learn_passes_every_check(
    kind: str, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = tiny(
        model={"family": "gpt2", "context": 64},
        tokenizer={"kind": "bpe", "vocab_size": 400},
        objective={"kind": kind},
        optimizer={"lr": 3e-2},
    )
    found = list(examine(subject(config, tmp_path)))
    assert [f"{f.name}: {f.measured} {f.detail}" for f in found if f.passed is False] == []
    done = {f.name for f in found if f.passed}
    assert {"packed documents = separate documents", "resume is exact, bit for bit"} <= done


@pytest.mark.parametrize("kind", ["muon", "adafactor"])
def test_the_other_optimizers_resume_exactly(
    kind: str, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    lr = {"muon": 3e-2, "adafactor": 0.5}[kind]  # of Adafactor, a share of the parameter
    config = tiny(optimizer={"kind": kind, "lr": lr}, model={"context": 32})
    found = {f.name: f.passed for f in examine(subject(config, tmp_path))}
    assert found["resume is exact, bit for bit"] and found["a batch can be learned by heart"]
