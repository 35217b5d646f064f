"""Families beyond the block go the whole way: trained, resumed, measured, written with."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import ownlm
from ownlm.evaluation import curves
from ownlm.evaluation.doctor import examine
from ownlm.inspection.architecture import describe
from ownlm.recipes.config import RunConfig
from ownlm.recipes.doctor import subject
from ownlm.recipes.pretrain import pretrain
from ownlm.recipes.samples import Sampler
from ownlm.training.digest import run_digest

Make = Callable[..., RunConfig]

KINDS: dict[str, dict[str, Any]] = {
    "lstm": {"family": "lstm", "bias": True, "layers": 2},
    "transformer-xl": {"family": "transformer-xl"},
    "strided": {"family": "gpt2", "pattern": "strided"},
    "longformer": {"family": "llama", "pattern": "longformer", "pattern_size": 4},
}


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "svg", lambda panel: b"<svg></svg>")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_bit_for_bit(
    kind: str, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = KINDS[kind] | {"dropout": 0.1}
    whole, write = pretrain(tiny("whole", model=model)), Sampler.write

    def stop(self: Sampler, model: nn.Module) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return write(self, model)

    monkeypatch.setattr(Sampler, "write", stop)
    stopped = pretrain(tiny("cut", model=model))
    assert stopped.step == 3
    monkeypatch.setattr(Sampler, "write", write)
    resumed = pretrain(tiny("cut", model=model), resume="yes")
    assert run_digest(resumed.folder) == run_digest(whole.folder)
    lm = ownlm.load(resumed.folder)
    assert describe(lm.model).family == KINDS[kind]["family"]
    assert lm.generate("the", max_tokens=4) != ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_doctor_finds_nothing(kind: str, tiny: Make, tmp_path: Path) -> None:
    model = KINDS[kind] | {"layers": 2, "dim": 32, "context": 48}
    found = subject(tiny(model=model), tmp_path / "scratch")
    findings = list(examine(found))
    assert [finding for finding in findings if not finding.passed] == []
