"""A decoder that is told what to do, judged on labelled data."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ownlm import runtime
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.recipes import examined
from ownlm.recipes.examined import examine
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer


@pytest.fixture
def data(tmp_path: Path) -> TaskDataConfig:
    rows = "".join(f"win a boat {n}\tspam\nsee you at {n}\tham\n" for n in range(10))
    (tmp_path / "mail.tsv").write_text(rows, encoding="utf-8")
    return TaskDataConfig(path=str(tmp_path / "mail.tsv"), test=0.4)


def saved(where: Path, **values: Any) -> str:
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="byte"))
    sizes = {"dim": 128, "heads": 2, "layers": 1, "context": 400, "vocab": tokenizer.vocab_size}
    LM(build_model(ModelConfig.parse(sizes | values), seed=1), tokenizer).save(where)
    return str(where)


@pytest.mark.parametrize(("fast", "format"), [(True, torch.bfloat16), (False, torch.float32)])
def test_it_reads_in_bfloat16_where_that_is_fast(
    fast: bool,
    format: torch.dtype,
    data: TaskDataConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    class Watched(examined.Prompted):
        def __init__(self, lm: LM, *more: Any) -> None:
            seen.append(next(lm.model.parameters()).dtype)
            super().__init__(lm, *more)

    monkeypatch.setattr(runtime, "fast_bf16", lambda device: fast)
    monkeypatch.setattr(examined, "Prompted", Watched)
    found = examine(saved(tmp_path / "m"), "classify", data, shots=2, device="cpu", most=4)
    assert seen == [format]
    assert found.model.records == 4 and "majority class" in found.others


def test_what_cannot_write_is_refused(data: TaskDataConfig, tmp_path: Path) -> None:
    where = saved(tmp_path / "m", family="bert", bias=True)
    with pytest.raises(ConfigError, match="cannot continue a text"):
        examine(where, "classify", data, shots=0, device="cpu")
