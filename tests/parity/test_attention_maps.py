"""The weights of every layer and head against transformers' output_attentions, all families."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

transformers = pytest.importorskip("transformers")

from ownlm.inspection.attention_maps import attention_weights  # noqa: E402
from ownlm.inspection.given import Given  # noqa: E402
from ownlm.models.load import load_any  # noqa: E402

Folder = Callable[[str], Path]
Tell = Callable[[str, float, float], None]
WANTED = ("bert", "roberta", "modernbert", "distilbert", "electra", "T5EncoderModel",
          "BertForSequenceClassification", "LlamaForSequenceClassification")  # fmt: skip
"""One an encoder family, and a head over classes on an encoder and on a decoder."""


def ids(count: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, 97, (count,), generator=generator).tolist())


@torch.no_grad()
def theirs(folder: Path, **given: Tensor) -> dict[str, Tensor]:
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    model = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager").eval()
    out = model(**given, output_attentions=True)
    names = {"attentions": "self", "encoder_attentions": "encoder",
             "decoder_attentions": "decoder", "cross_attentions": "cross"}  # fmt: skip
    return {ours: torch.cat(tuple(out[key])) for key, ours in names.items() if out.get(key)}


def off(model: Any) -> Any:
    """A copy whose first layers' feed-forward parts are wrong: what later layers read moves."""
    copied = copy.deepcopy(model)
    for stack in (copied.stack, getattr(copied, "encoder", None)):
        if stack is not None:
            with torch.no_grad():
                stack.blocks[0].ffn.body.down.weight[::2] *= 1.5
    return copied


def apart(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    assert found.keys() == expected.keys()
    assert all(found[kind].shape == expected[kind].shape for kind in found)
    return {kind: float((found[kind] - expected[kind]).abs().max()) for kind in found}


def check(name: str, folder: Path, read: Given, tell: Tell, **given: Tensor) -> None:
    model, _ = load_any(folder)
    expected, found = theirs(folder, **given), attention_weights(model.eval(), read)
    for kind, weights in found.items():
        assert torch.allclose(weights.sum(-1), torch.ones(weights.shape[:-1]), atol=1e-5), kind
    right, wrong = apart(found, expected), apart(attention_weights(off(model), read), expected)
    for kind in found:
        tell(f"{name}: attention, {kind}", right[kind], wrong[kind])


def test_decoders_look_back(decoder: str, folder_of: Folder, tell: Tell) -> None:
    read = Given(ids(120, 5))
    check(decoder, folder_of(decoder), read, tell, input_ids=torch.tensor([read.reads]))


@pytest.mark.parametrize("name", WANTED)
def test_encoders_look_both_ways(name: str, folder_of: Folder, tell: Tell) -> None:
    read = Given(ids(120, 6))
    check(name, folder_of(name), read, tell, input_ids=torch.tensor([read.reads]))


@pytest.mark.parametrize("name", ["t5", "mt5", "bart", "marian"])
def test_decoders_look_at_themselves_and_at_an_encoder(
    name: str, folder_of: Folder, tell: Tell
) -> None:
    read = Given(ids(120, 7), ids(70, 8))
    sides = torch.tensor([read.reads]), torch.tensor([read.written])
    check(name, folder_of(name), read, tell, input_ids=sides[0], decoder_input_ids=sides[1])
