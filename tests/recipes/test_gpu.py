"""The same run on a CUDA device: `make gpu`."""

from collections.abc import Callable

import pytest
import torch

import ownlm
from ownlm.recipes.config import RunConfig
from ownlm.recipes.pretrain import pretrain
from ownlm.training.digest import run_digest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

Make = Callable[..., RunConfig]


def test_a_run_on_the_gpu_learns_what_one_on_the_cpu_learns(tiny: Make) -> None:
    exact = {"train": {"precision": "fp32", "compile": "off", "steps": 20}}
    runs = {name: pretrain(tiny(name, device=name, **exact)) for name in ("cpu", "cuda")}
    losses = {name: run.figures["loss"] for name, run in runs.items()}
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-3)
    ids = torch.tensor([[1, 2, 3, 4]])
    on_cpu = ownlm.load(runs["cuda"].folder, device="cpu").model(ids).logits
    on_gpu = ownlm.load(runs["cuda"].folder, device="cuda").model(ids.cuda()).logits
    assert torch.allclose(on_cpu, on_gpu.float().cpu(), atol=1e-3)


def test_bf16_is_chosen_and_learns(tiny: Make) -> None:
    result = pretrain(tiny(device="cuda", train={"steps": 40, "evaluate_every": 40}))
    assert ownlm.load(result.folder).model.dtype == torch.bfloat16
    assert result.figures["loss"] < 5.0


def test_a_run_on_the_gpu_is_repeated_exactly(tiny: Make) -> None:
    runs = [pretrain(tiny(name, device="cuda")).folder for name in ("one", "two")]
    assert run_digest(runs[0]) == run_digest(runs[1])
