"""Every check of the doctor passes on sound parts, and fails when its part is broken."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ownlm.data.config import DataConfig
from ownlm.data.loader import Examples, Loader
from ownlm.data.prepare import prepare
from ownlm.evaluation import doctor, learning, parity, roundtrip
from ownlm.evaluation.doctor import Subject, cut_up, examine, sequences
from ownlm.evaluation.finding import Finding
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, save_model
from ownlm.models.model import SingleStack
from ownlm.nn.cache import Cache
from ownlm.nn.mask import Span
from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import Batch, Loss
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer
from ownlm.training.config import OptimizerConfig, ScheduleConfig, TrainConfig

WORDS = "the cat sat on a mat and saw what it had done to the dog of the house".split()


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder, rng = tmp_path_factory.mktemp("doctor"), random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(5, 60))) for _ in range(80)]
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "text.jsonl").write_text(rows)
    config = DataConfig(path=str(folder / "text.jsonl"))
    data = prepare(config, folder / "data", TokenizerConfig(kind="byte"))
    tokenizer = load_tokenizer(data.tokenizer_folder)
    return Subject(
        make_model=lambda: fresh(tokenizer.vocab_size),
        vocab=tokenizer.vocab_size,
        writes=True,
        context=48,
        save_model=save,
        tokenizer=tokenizer,
        lossless=True,
        texts=texts,
        objective=Causal(),
        stream=data.train,
        train=TrainConfig(),
        optimizer=OptimizerConfig(lr=3e-3),
        schedule=ScheduleConfig(),
    )


def save(model: nn.Module, folder: Path) -> None:
    assert isinstance(model, SingleStack)
    save_model(model, folder)


def fresh(vocab: int, family: str = "llama") -> SingleStack:
    config = ModelConfig(
        family=family, layers=2, dim=32, heads=4, kv_heads=2 if family == "llama" else 0,
        context=48, vocab=vocab, dropout=0.1,
    )  # fmt: skip
    return build_model(config, seed=3)


@pytest.fixture
def model(subject: Subject) -> SingleStack:
    return parity.sharpened(subject.make_model())


@pytest.fixture
def rows(subject: Subject) -> Examples:
    return cut_up(sequences(subject))


def test_all_checks_pass_on_sound_parts_and_carry_the_names_of_the_table(subject: Subject) -> None:
    findings = list(examine(subject))
    assert [f for f in findings if not f.passed] == []
    assert [f.name for f in findings] == [check.name for check in doctor.CHECKS]
    json.dumps([f.as_dict() for f in findings], allow_nan=False)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_parity_differs_by_rounding_only(subject: Subject, rows: Examples, family: str) -> None:
    model = parity.sharpened(fresh(subject.tokenizer.vocab_size, family))
    ids = rows.tokens[0, :-1]
    for finding in (
        parity.check_accumulation(model, Causal(), rows),
        parity.check_packing(model, Causal(), rows),
        parity.check_cache(model, ids),
    ):
        assert finding.measured is not None and 0 <= finding.measured < 1e-5


class Averaging(Causal):
    """The classical fault: each micro-batch is averaged by itself."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        total, count, metrics = super().loss(model, batch)
        return Loss(total / count, torch.tensor(1), metrics)


def test_a_mean_of_means_is_found(model: SingleStack, rows: Examples) -> None:
    assert failed(parity.check_accumulation(model, Averaging(), rows))


class Leaking(Causal):
    """Attention does not respect documents."""

    def collate(self, examples: Any, rng: np.random.Generator) -> Batch:
        return {n: t for n, t in super().collate(examples, rng).items() if n != "mask"}


class Joining(Causal):
    """The end of a text sees that text when the first token of the next is to be predicted."""

    def collate(self, examples: Any, rng: np.random.Generator) -> Batch:
        batch = super().collate(examples, rng)
        if examples.documents is not None:
            batch["mask"] = torch.from_numpy(examples.documents[:, :-1].copy())
        return batch


class Peeking(Causal):
    """Padding is taken for text."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return super().loss(model, batch | {"targets": batch["targets"].clamp(min=0)})


def test_padding_that_is_learned_is_found(model: SingleStack, rows: Examples) -> None:
    assert failed(parity.check_padding(model, Peeking(), rows))


def test_a_leak_between_documents_is_found(model: SingleStack, rows: Examples) -> None:
    assert failed(parity.check_packing(model, Leaking(), rows))


def test_a_beginning_predicted_from_the_text_before_is_found(
    model: SingleStack, rows: Examples
) -> None:
    assert failed(parity.check_packing(model, Joining(), rows))


def test_positions_that_begin_anew_in_the_cache_are_found(
    model: SingleStack, rows: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Cache.advance

    def forgetful(self: Cache, ids_BT: Tensor, segments: Tensor | None) -> Span:
        span = sound(self, ids_BT, segments)
        return replace(span, positions=torch.arange(ids_BT.shape[1]))

    assert not failed(parity.check_cache(model, rows.tokens[0, :-1]))
    monkeypatch.setattr(Cache, "advance", forgetful)
    assert failed(parity.check_cache(model, rows.tokens[0, :-1]))


def test_a_cache_that_loses_its_oldest_token_is_found(
    model: SingleStack, rows: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ownlm.nn.cache import LayerCache

    sound = LayerCache.update

    def lossy(self: LayerCache, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = sound(self, k, v)
        values = values.clone()
        values[:, :, 0] = 0
        return keys, values

    monkeypatch.setattr(LayerCache, "update", lossy)
    assert failed(parity.check_cache(model, rows.tokens[0, :-1]))


class Careless(LM):
    """Saves a model that differs by one bit of one number."""

    def save(self, folder: Path | str) -> None:
        weight = self.model.stack.blocks[1].ffn.body.down.weight  # type: ignore[union-attr]
        first = weight[0, 0].item()  # type: ignore[union-attr, index, operator]
        with torch.no_grad():
            weight[0, 0] = np.nextafter(np.float32(first), np.float32(1e9)).item()  # type: ignore[index, operator]
        super().save(folder)
        with torch.no_grad():
            weight[0, 0] = first  # type: ignore[index, operator]


def test_one_wrong_bit_in_a_saved_folder_is_found(
    subject: Subject, model: SingleStack, rows: Examples, tmp_path: Path
) -> None:
    ids = rows.tokens[0, :-1]
    sound = parity.check_folder(LM(model, subject.tokenizer), ids, tmp_path / "sound")
    assert sound.passed and sound.measured == 0
    assert failed(parity.check_folder(Careless(model, subject.tokenizer), ids, tmp_path / "off"))


def test_a_folder_with_another_tokenizer_is_found(
    subject: Subject, model: SingleStack, rows: Examples, tmp_path: Path
) -> None:
    class Mixed(LM):
        def save(self, folder: Path | str) -> None:
            super().save(folder)
            path = Path(folder) / "tokenizer.json"
            spec = json.loads(path.read_text(encoding="utf-8"))
            vocab = spec["model"]["vocab"]
            vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
            path.write_text(json.dumps(spec), encoding="utf-8")

    finding = parity.check_folder(
        Mixed(model, subject.tokenizer), rows.tokens[0, :-1], tmp_path / "mixed"
    )
    assert failed(finding) and "tokenizer" in finding.detail


class Folding:
    """A tokenizer over code points that drops capitals and takes names at their word."""

    def __init__(self, *, controls: bool) -> None:
        self.special, self.unk_id, self.controls = {"<|endoftext|>": 7}, None, controls

    def encode(self, text: str) -> list[int]:
        if self.controls and "<|endoftext|>" in text:
            return [7]
        return [ord(c) + 100 for c in text.lower()]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(i - 100) for i in ids)


def test_a_lossy_tokenizer_is_found(subject: Subject) -> None:
    assert not failed(roundtrip.check_round_trip(subject.tokenizer, ["Text"]))
    folding: Any = Folding(controls=False)
    finding = roundtrip.check_round_trip(folding, ["Text", "text"])
    assert failed(finding) and "'Text'" in finding.detail


def test_a_tokenizer_that_believes_in_names_is_found() -> None:
    gullible: Any = Folding(controls=True)
    sound: Any = Folding(controls=False)
    assert failed(roundtrip.check_controls(gullible)) and not failed(
        roundtrip.check_controls(sound)
    )


def test_weights_that_start_too_large_are_found(subject: Subject, rows: Examples) -> None:
    model = subject.make_model()
    assert not failed(learning.check_start(model, Causal(), rows, model.vocab))
    with torch.no_grad():
        model.embed.tokens.weight.mul_(50)
    assert failed(learning.check_start(model, Causal(), rows, model.vocab))


class Shuffled(Causal):
    """Targets that have nothing to do with the inputs."""

    def __init__(self) -> None:
        self.numbers = itertools.count()

    def collate(self, examples: Any, rng: np.random.Generator) -> Batch:
        batch = super().collate(examples, rng)
        generator = torch.Generator().manual_seed(next(self.numbers))
        shape = batch["targets"].shape
        return batch | {"targets": torch.randint(0, 256, shape, generator=generator)}


def test_what_cannot_be_learned_is_found(subject: Subject, rows: Examples) -> None:
    few, sound = rows[:2], OptimizerConfig(lr=3e-3)
    learned = learning.check_overfitting(subject.make_model(), Causal(), few, sound)
    assert learned.passed and learned.measured is not None and learned.measured < 0.6
    assert failed(learning.check_overfitting(subject.make_model(), Shuffled(), few, sound))
    still = OptimizerConfig(lr=1e-9)
    assert failed(learning.check_overfitting(subject.make_model(), Causal(), few, still))


class Counting:
    """A loader whose batches depend on how often it was asked, not on the step."""

    def __init__(self, sound: Loader) -> None:
        self.sound, self.calls = sound, itertools.count()

    def batch(self, step: int, micro: int = 0, of: int = 1) -> Examples:
        return self.sound.batch(next(self.calls) // of, micro, of)


def save_and_stop_dropout(model: nn.Module, folder: Path) -> None:
    save(model.eval(), folder)


@pytest.mark.parametrize("broken", ["", "data", "save"])
def test_data_that_depend_on_the_past_break_resume_and_a_careless_saver_does_not(
    subject: Subject, tmp_path: Path, broken: str
) -> None:
    """Batches that depend on earlier calls; a save that leaves the model without dropout, which the
    trainer puts right."""
    train = learning.rehearsed(subject.train)
    loader = Loader(subject.stream, 32, train.batch, 0, documents=True, prefetch=False)
    finding = learning.check_resume(
        learning.Rehearsal(
            make_model=subject.make_model,
            save_model=save_and_stop_dropout if broken == "save" else save,
            objective=Causal(),
            loader=Counting(loader) if broken == "data" else loader,
            train=train,
            optimizer=subject.optimizer,
            schedule=ScheduleConfig(warmup=1),
            folder=tmp_path / "run",
        )
    )
    assert finding.passed is (broken != "data")
    assert ("loss of step 3" in finding.detail) is (broken == "data")


def test_a_check_that_breaks_is_a_finding_and_the_others_are_made(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*parts: object) -> Finding:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(parity, "check_cache", explode)
    findings = {f.name: f for f in examine(subject)}
    assert len(findings) == len(doctor.CHECKS)
    broken = findings["cached decoding = uncached"]
    assert broken.passed is False and broken.detail == "RuntimeError: no such kernel"
    assert sum(f.passed is False for f in findings.values()) == 1


def test_a_tokenizer_that_is_lossy_by_choice_is_not_blamed(subject: Subject) -> None:
    first = next(examine(replace(subject, lossless=False)))
    assert first.passed is None and "lossy" in first.detail


def test_rows_are_cut_into_unlike_numbers_of_documents(subject: Subject) -> None:
    rows = cut_up(sequences(subject))
    assert rows.documents is not None
    assert [int(row.max()) for row in rows.documents] == [1, 5, 9, 13]
    assert (np.diff(rows.documents) >= 0).all()


def test_sequences_fit_a_short_text_and_a_long_context(subject: Subject) -> None:
    assert subject.length == 48 - parity.PADDING
    short: Any = SimpleNamespace(tokens=81)
    assert replace(subject, stream=short).length == 10


def failed(finding: Finding) -> bool:
    """Failed by what was measured, not because the check itself broke."""
    assert finding.measured is not None or finding.detail
    return finding.passed is False
