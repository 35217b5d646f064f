"""Choices of a machine: what `auto` becomes, what a resumed run keeps, what fits."""

import dataclasses
from typing import Any

import pytest
import torch

from ownlm import runtime
from ownlm.errors import ConfigError
from ownlm.inspection.architecture import Memory
from ownlm.nn import fused
from ownlm.recipes import machine
from ownlm.recipes.named import recipe
from ownlm.recipes.plan import sketched
from ownlm.recipes.task import with_objective
from ownlm.training.config import Choices

CPU = torch.device("cpu")
GIB = 1 << 30


def choose(**train: object) -> Choices:
    config = recipe("char-mini").with_values({"train": train, "model": {"vocab": 300}})
    return machine.choose(config.train, sketched(config.model), CPU)


def test_what_is_stated_is_taken() -> None:
    chosen = choose(precision="bf16", compile="on", threads=3, micro_batch=16)
    stated = Choices(precision="bf16", compile=True, threads=3, micro_batch=16)
    assert chosen == stated.model_copy(update={"native": fused.instructions()})
    assert choose(precision="fp32", compile="off").precision == "fp32"


def test_more_threads_than_cores_are_refused_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "core_count", lambda: 4)
    train = recipe("char-mini").train
    for threads in (0, 4):
        machine.require_cores(train.model_copy(update={"threads": threads}), CPU)
    many = train.model_copy(update={"threads": 9999})
    machine.require_cores(many, torch.device("meta"))  # a GPU computes without them
    with pytest.raises(ConfigError, match="9999 threads on a machine of 4 cores") as caught:
        machine.require_cores(many, CPU)
    assert caught.value.next_command.startswith("--train.threads 4")


@pytest.mark.parametrize(("fast", "dim", "precision"), [
    (True, 384, "bf16"), (True, 64, "fp32"), (False, 384, "fp32"),
])  # fmt: skip
def test_precision_follows_processor_and_width(
    fast: bool, dim: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "fast_bf16", lambda device: fast)
    config = recipe("char-tiny").with_values({"model": {"dim": dim, "vocab": 300}})
    assert machine.choose(config.train, sketched(config.model), CPU).precision == precision


def test_compiling_is_left_to_the_trainers_stopwatch_unless_stated() -> None:
    assert not choose(steps=5000).compile
    assert choose(compile="on").compile


def test_a_resumed_run_keeps_its_choices_save_those_stated() -> None:
    before = Choices(precision="bf16", compile=True, threads=7, micro_batch=3)
    now = Choices(precision="fp32", compile=False, threads=2, micro_batch=0)
    config = recipe("char-tiny")
    assert machine.kept(config.train, before, now) == before
    stated = config.with_values({"train": {"threads": 2, "precision": "fp32"}})
    assert machine.kept(stated.train, before, now) == Choices(
        precision="fp32", compile=True, threads=2, micro_batch=3
    )


@pytest.mark.parametrize(
    ("began", "goes_on"), [("AMX", ""), ("", "AVX-512"), ("AMX", "AVX-512"), (True, "AVX-512")]
)
def test_a_resume_with_other_kernels_says_so(
    began: Any, goes_on: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before, now = Choices.model_validate({"native": began}), Choices(native=goes_on)
    assert machine.kept(recipe("char-tiny").train, before, now).native == goes_on
    told = capsys.readouterr().err
    assert "not bit for bit" in told and ("kernels of AMX" in told) == (began in ("AMX", True))
    machine.kept(recipe("char-tiny").train, before, before)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("available", "micro_batch"),
    [
        (100 * GIB, 0),  # all 12 need 4 + 12 GiB
        (16 * GIB, 6),  # 70 % are 11.2 GiB: 7.2 for activations, and 7 does not divide 12
        (7 * GIB, 1),  # less than one fits: try one at a time
    ],
)
def test_the_micro_batch_is_the_largest_part_that_fits(available: int, micro_batch: int) -> None:
    memory = Memory(weights=GIB, cache_1k=0, gradients=GIB, optimizer=2 * GIB, activations=GIB)
    assert machine.fitting(12, memory, available) == micro_batch
    chosen = Choices(micro_batch=micro_batch)
    assert needed(memory, chosen) == 4 * GIB + (micro_batch or 12) * GIB


def test_blocks_are_computed_again_where_a_sequence_would_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not choose().recompute
    assert choose(recompute="on").recompute
    config = recipe("char-mini").with_values({"model": {"vocab": 300}})
    memory = sketched(config.model).memory["fp32"]
    assert memory.recomputed < memory.activations / 2
    monkeypatch.setattr(machine, "available_memory", lambda device: memory.training)
    tight = choose(precision="fp32")
    assert tight.recompute and tight.micro_batch > 0
    assert not choose(precision="fp32", recompute="off").recompute
    described = sketched(config.model)
    less = machine.needed_memory(described, tight, 64)
    assert less < machine.needed_memory(
        described, tight.model_copy(update={"recompute": False}), 64
    )


@pytest.mark.parametrize("family", ["transformer-xl", "xlnet", "lstm"])
def test_a_memory_is_not_computed_again(family: str) -> None:
    config = recipe("gpt").with_values({"model": {"family": family}, "train": {"recompute": "on"}})
    with pytest.raises(ConfigError, match="carries a memory") as caught:
        with_objective(config)
    assert "--train.recompute off" in caught.value.next_command
    memory = sketched(config.model.model_copy(update={"vocab": 300})).memory["bf16"]
    assert memory.recomputed == memory.activations


def needed(memory: Memory, choices: Choices) -> int:
    config = recipe("char-tiny").with_values({"model": {"vocab": 300}})
    described = dataclasses.replace(sketched(config.model), memory={"fp32": memory})
    return machine.needed_memory(described, choices, 12)


@pytest.mark.parametrize(
    ("error", "micro_batch", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 0, "--train.micro-batch 32"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 8, "batch 4"),
        (MemoryError(), 1, "--train.recompute on"),
    ],
)
def test_a_full_memory_is_refused_with_a_smaller_setting(
    error: Exception, micro_batch: int, advice: str
) -> None:
    config = recipe("char-mini").with_values({"model": {"vocab": 300}})
    choices, described = Choices(micro_batch=micro_batch), sketched(config.model)
    with (
        pytest.raises(ConfigError) as caught,
        machine.memory_errors(config.train, choices, described),
    ):
        raise error
    assert advice in caught.value.next_command
    assert f"{micro_batch or 64} sequences of 256 tokens" in caught.value.what


def test_where_nothing_else_helps_the_model_must_be_smaller() -> None:
    config = recipe("char-mini").with_values({"model": {"vocab": 300}})
    choices, described = Choices(micro_batch=1, recompute=True), sketched(config.model)
    with (
        pytest.raises(ConfigError) as caught,
        machine.memory_errors(config.train, choices, described),
    ):
        raise MemoryError
    assert "a smaller --model.context" in caught.value.next_command


def test_other_errors_pass_through() -> None:
    config = recipe("char-mini").with_values({"model": {"vocab": 300}})
    with (
        pytest.raises(RuntimeError, match="something else"),
        machine.memory_errors(config.train, Choices(), sketched(config.model)),
    ):
        raise RuntimeError("something else")
