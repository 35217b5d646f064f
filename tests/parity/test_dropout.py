"""Where dropout acts in training: at the same places as in transformers, and as often.

The numbers drawn differ, so places are told apart by what is zero: with one kind of dropout
alone at a half, half of what passes through that place.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

from ownlm.models.load import load_any  # noqa: E402
from ownlm.models.model import EncoderDecoder, SingleStack  # noqa: E402

Folder = Callable[[str], Path]
HALF = 0.5


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 97, (4, 320), generator=torch.Generator().manual_seed(5))


def zeros(x: Tensor) -> float:
    return float((x == 0).float().mean())


def halved(model: nn.Module) -> Any:
    """In training, with each dropout at a half."""
    for module in model.modules():
        if type(module).__name__ == "Dropout":
            module.p = HALF  # type: ignore[assignment]
    return model.train()


@torch.no_grad()
def test_t5_drops_what_leaves_each_stack(folder_of: Folder, ids: Tensor) -> None:
    folder = folder_of("t5-model")
    model, other = load_any(folder)[0], transformers.T5Model.from_pretrained(folder)
    assert isinstance(model, EncoderDecoder)
    assert model.stack.drop_last.p == model.encoder.drop_last.p == other.config.dropout_rate > 0
    torch.manual_seed(3)
    theirs = halved(other)(input_ids=ids, decoder_input_ids=ids)
    halved(model)
    ours = model.encode(ids).hidden, model(ids, ids).hidden
    rights = theirs.encoder_last_hidden_state, theirs.last_hidden_state
    for mine, right, terms in zip(ours, rights, (1 + 2 * 2, 1 + 3 * 3), strict=True):
        share = HALF + HALF * HALF**terms  # the stream is zero where all its terms were dropped
        assert zeros(right) == pytest.approx(share, abs=0.015)
        assert zeros(mine) == pytest.approx(share, abs=0.015)
    assert zeros(model.eval()(ids, ids).hidden) == 0


@torch.no_grad()
def test_modernbert_drops_what_attention_writes(folder_of: Folder, ids: Tensor) -> None:
    """As often as its weights, and nothing of the feed-forward part's output."""
    folder = folder_of("modernbert-attention-dropout")
    model, other = load_any(folder)[0], transformers.ModernBertModel.from_pretrained(folder)
    assert isinstance(model, SingleStack)
    torch.manual_seed(3)
    found = {"ours": watch(model, "attn.drop", ids), "theirs": watch(other, "attn.out_drop", ids)}
    assert len(found["ours"]) == len(found["theirs"]) == 3
    assert all(share == pytest.approx(0.3, abs=0.02) for each in found.values() for share in each)
    assert watch(model, "ffn.drop", ids) == [0, 0, 0]


def watch(model: Any, ending: str, ids: Tensor) -> list[float]:
    """The share of zeros that the modules of that name put out in training."""
    shares: list[float] = []

    def see(module: nn.Module, inputs: Any, output: Tensor) -> None:
        shares.append(zeros(output))

    hooks = [m.register_forward_hook(see) for n, m in model.named_modules() if n.endswith(ending)]
    model.train()(ids)
    for hook in hooks:
        hook.remove()
    return shares
