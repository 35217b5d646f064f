"""A folder that holds an adapter only opens as the whole model, with a tokenizer from either."""

from pathlib import Path

import pytest
import torch

from ownlm.errors import CheckpointError
from ownlm.inference.language_model import LM, load
from ownlm.models.adapt import adapt
from ownlm.models.adapt_config import AdaptConfig
from ownlm.models.adapters import save_adapter


@pytest.fixture
def adapter(tiny: LM, tmp_path: Path) -> Path:
    tiny.save(tmp_path / "base")
    changed = load(tmp_path / "base")
    adapt(changed.model, AdaptConfig(kind="lora", rank=2), seed=1)
    with torch.no_grad():
        for name, parameter in changed.model.named_parameters():
            if name.endswith("lora.b"):
                parameter.normal_(generator=torch.Generator().manual_seed(5))
    save_adapter(changed.model, tmp_path / "adapter", "../base")
    return tmp_path / "adapter"


@torch.no_grad()
def logits(lm: LM) -> torch.Tensor:
    return lm.model(torch.arange(1, 9)[None]).logits


def test_an_adapter_opens_with_its_base(adapter: Path) -> None:
    opened, base = load(adapter), load(adapter.parent / "base")
    assert opened.folder == adapter
    assert not torch.allclose(logits(opened), logits(base), atol=1e-3)
    assert opened.tokenizer.digest == base.tokenizer.digest
    assert isinstance(opened.generate("h", 5), str)


def test_in_a_run_folder_too_and_with_a_tokenizer_of_its_own(adapter: Path, tiny: LM) -> None:
    run = adapter.parent / "run"
    (run / "model").parent.mkdir()
    adapter.rename(run / "model")
    tiny.tokenizer.save(run / "model")
    with pytest.raises(CheckpointError, match="not here") as caught:
        load(run)
    assert "--base" in caught.value.next_command
    (adapter.parent / "base" / "tokenizer.json").unlink()
    opened = load(run, base=adapter.parent / "base")
    assert opened.tokenizer.digest == tiny.tokenizer.digest
