"""The doctor's subject is made of the parts that the run itself would use."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from ownlm.data.config import DataConfig
from ownlm.data.prepare import prepare
from ownlm.errors import DataError
from ownlm.evaluation.doctor import CHECKS, Subject, examine
from ownlm.models.config import ModelConfig
from ownlm.objectives.objective import Batch, Loss
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


OBJECTIVES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "next token": ("gpt2", "bpe", {}),
    "next token with a memory": ("transformer-xl", "bpe", {}),
    "prefix": ("gpt2", "bpe", {"kind": "prefix"}),
    "middle": ("gpt2", "bpe", {"kind": "middle"}),
    "masked": ("roberta", "wordpiece", {}),
    "masked, static": ("roberta", "wordpiece", {"dynamic": False}),
    "masked, whole words": ("roberta", "wordpiece", {"unit": "word"}),
    "masked, Chinese words": ("roberta", "char", {"unit": "chinese"}),
    "masked, next sentence": ("bert", "wordpiece", {}),
    "masked, sentence order": ("bert", "wordpiece", {"pairs": "order"}),
    "replaced": ("electra", "wordpiece", {}),
    "permutation": ("xlnet", "bpe", {}),
    "spans": ("t5", "bpe", {}),
    "infilling": ("bart", "bpe", {}),
}
"""Family, tokenizer and options of each; codes, pairs and mixtures have files of their own."""
BIASED = "roberta", "bert", "electra", "bart"


@pytest.fixture(params=OBJECTIVES)
def learner(
    request: pytest.FixtureRequest, tiny: Callable[..., RunConfig], tmp_path: Path
) -> Subject:
    """A small run of each objective; of Chinese text where its words are found in such."""
    family, tokenizer, objective = OBJECTIVES[request.param]
    data = {}
    if objective.get("unit") == "chinese":
        pytest.importorskip("jieba")
        path = tmp_path / "chinese.txt"
        path.write_text("我们在北京大学学习自然语言处理。他们明天去上海。" * 40, "utf-8")
        data["path"] = str(path)
    config = tiny(
        model={"family": family, "bias": family in BIASED, "context": 64},
        tokenizer={"kind": tokenizer, "vocab_size": 400},
        objective=objective,
        optimizer={"lr": 3e-2},
        data=data,
    )
    return subject(config, tmp_path / "scratch")


class Averaging:
    """Sums are averaged over the rows of a micro-batch."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        total, count, metrics = super().loss(model, batch)
        return Loss(total / len(batch["inputs"]), count / len(batch["inputs"]), metrics)


class Leaking:
    """All sequences of a row see each other."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        masks = {n: t.clamp(max=1) for n, t in batch.items() if n.endswith("mask")}
        return super().loss(model, batch | masks)


class Learning:
    """Padding, and what else is not to be learned, is."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        asked = {n: t.clamp(min=0) for n, t in batch.items() if n in ("targets", "steps")}
        return super().loss(model, batch | asked)


class Counting:
    """A loss depends on how many there were before it."""

    made = 0

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        Counting.made += 1
        found: Loss = super().loss(model, batch)
        return found._replace(total=found.total * Counting.made)


FAULTS = {
    "accumulated gradients = full batch": Averaging,
    "packed documents = separate documents": Leaking,
    "padded rows = unpadded rows": Learning,
    "resume is exact, bit for bit": Counting,
}


def test_every_objective_passes_every_check(learner: Subject) -> None:
    """Accumulated = full batch, packed = separate, padded = unpadded, resume exact."""
    found = list(examine(learner))
    bad = [f"{f.name}: {f.measured} {f.detail}" for f in found if f.passed is False]
    assert not bad, bad
    assert {f.name for f in found if f.passed} >= set(FAULTS)


def test_every_fault_is_found_in_every_objective(learner: Subject, tmp_path: Path) -> None:
    """The control of each property: with the fault that it is to find, the check fails."""
    checks = {check.name: check for check in CHECKS}
    for name, fault in FAULTS.items():
        broken = object.__new__(type("Broken", (fault, type(learner.objective)), {}))
        vars(broken).update(vars(learner.objective))
        found = checks[name].run(replace(learner, objective=broken), tmp_path / fault.__name__)
        assert found.passed is False, name


@pytest.mark.parametrize("kind", ["muon", "adafactor"])
def test_the_other_optimizers_resume_exactly(
    kind: str, tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    lr = {"muon": 3e-2, "adafactor": 0.5}[kind]  # of Adafactor, a share of the parameter
    config = tiny(optimizer={"kind": kind, "lr": lr}, model={"context": 32})
    found = {f.name: f.passed for f in examine(subject(config, tmp_path))}
    assert found["resume is exact, bit for bit"] and found["a batch can be learned by heart"]
