"""Padded steps tell what plain ones tell, and nothing of them is asked for by the host."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from ownlm.inference.graphs import Compute, GraphRunner, recordable
from ownlm.inference.pick import plain_runner
from ownlm.inference.runner import TorchRunner, Work
from ownlm.models.model import Model

from .test_runner import PAGED, PAIRS, ROWS, SIZE, made, text

EXPERTS = ["mixtral", "qwen3-moe"]
FAMILIES = [name for name in PAGED if name not in EXPERTS]
LENGTHS = [127, 62, 7, 1]
"""Of prompts; while they are written on, the first two outgrow rooms of 128 and of 64 keys."""
STEPS = 9


def as_it_is(compute: Compute) -> Compute:
    """Computes anew each time, which a graph does by itself."""
    return compute


def tables() -> list[list[int]]:
    """Blocks for texts of these lengths and what is written, in no order."""
    order = iter(torch.randperm(80, generator=torch.Generator().manual_seed(3)).tolist())
    return [[next(order) for _ in range(-(-(n + STEPS) // SIZE))] for n in LENGTHS]


def written(runner: TorchRunner) -> list[Tensor]:
    """Logits of each step: prompts in one, then a token of each text, fewer texts by and by."""
    runner.reserve(80, SIZE)
    texts, blocks = [text(length + STEPS, length) for length in LENGTHS], tables()
    prompts = zip(texts, blocks, LENGTHS)
    found = [runner.read([Work(ids[:length], 0, table) for ids, table, length in prompts])]
    for step in range(STEPS):
        going = [*zip(texts, blocks, LENGTHS)][step // 3 :]
        found.append(
            runner.read([Work([ids[n + step]], n + step, table) for ids, table, n in going])
        )
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_padded_steps_tell_the_same(name: str) -> None:
    model = made(name, context=200)
    runner = GraphRunner(model, as_it_is)
    for plain, padded in zip(written(TorchRunner(model)), written(runner), strict=True):
        torch.testing.assert_close(padded, plain, atol=2e-5, rtol=2e-5)
    assert {rows for rows, _ in runner.steps} == {4, 2}
    assert {keys for _, keys in runner.steps} == {64, 128, 256}


def test_a_recording_that_is_not_played_again_is_noticed() -> None:
    """The control: whoever forgets to compute anew tells those of the first step of a room."""

    def once(compute: Compute) -> Compute:
        logits = compute()
        return lambda: logits

    model = made("llama", context=200)
    plain, stale = written(TorchRunner(model)), written(GraphRunner(model, once))
    torch.testing.assert_close(stale[1], plain[1], atol=2e-5, rtol=2e-5)
    assert not torch.allclose(stale[3], plain[3], atol=1e-2)


def asked_of_the_host(model: Model) -> bool:
    """Whether a step reads a number of a tensor back: fake tensors have none."""
    seen: list[Compute] = []

    def kept(compute: Compute) -> Compute:
        seen.append(compute)
        return compute

    runner = GraphRunner(model, kept)
    written(runner)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode():
            seen[0]()
    except (DataDependentOutputException, DynamicOutputShapeException):
        return True
    return False


@pytest.mark.parametrize("name", FAMILIES)
def test_the_host_asks_for_no_number(name: str) -> None:
    assert not asked_of_the_host(made(name, context=200))


def test_what_cannot_be_recorded() -> None:
    for name in (*EXPERTS, *ROWS, *PAIRS):
        assert not recordable(made(name)), name
    assert type(plain_runner(made("llama"))) is TorchRunner  # on a CPU nothing is recorded


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_are_chosen_by_the_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownlm.inference.graphs.recordable", lambda model: True)
    assert asked_of_the_host(made(name, context=200))


def test_a_device_that_does_not_record_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def refused(compute: Compute) -> Compute:
        raise torch.AcceleratorError("operation not permitted when stream is capturing")

    model = made("llama", context=200)
    runner = GraphRunner(model, refused)
    for plain, told in zip(written(TorchRunner(model)), written(runner), strict=True):
        torch.testing.assert_close(told, plain)
    assert capsys.readouterr().err.count("without CUDA graphs") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma3"])
def test_what_a_gpu_plays_is_what_it_computes(name: str) -> None:
    model = made(name, context=200).cuda()
    runner = plain_runner(model)
    assert isinstance(runner, GraphRunner)
    for plain, played in zip(written(TorchRunner(model)), written(runner), strict=True):
        torch.testing.assert_close(played, plain, atol=1e-4, rtol=1e-4)
    assert runner.record is not None
