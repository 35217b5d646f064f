"""Encoders and the heads of all families against transformers: the same folder, the same answers.

fp32 on the CPU, rows of 320, 301 and 9 tokens padded on the right and on the left. Each row's
reference reads it alone, so that a leak of padding shows. The control perturbs one option.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

transformers = pytest.importorskip("transformers")

from ownlm.models.config import ModelConfig  # noqa: E402
from ownlm.models.load import build_model, load_model, save_model  # noqa: E402
from ownlm.models.weights import export  # noqa: E402
from ownlm.nn.head import Output  # noqa: E402

LENGTHS, LIMIT = (320, 301, 9), 1e-5
"""Largest difference of any number, relative to the largest number."""
Folder = Callable[[str], Path]
Tell = Callable[[str, float, float], None]
Off = Callable[[Any], Any]


@pytest.fixture
def rows() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(3, 97, (length,), generator=generator) for length in LENGTHS]


def theirs(folder: Path) -> Any:
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    model, told = getattr(transformers, name).from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@torch.no_grad()
def asked(model: Any, ids: Tensor) -> list[Tensor]:
    """What a reference answers to one row: (T, C) for each token, (C,) for the whole."""
    types = {"token_type_ids": sentences(ids)[None]} if has_types(model.config.to_dict()) else {}
    choice = "MultipleChoice" in type(model).__name__
    given = {"input_ids": ids[None], **types}
    out = model(**{key: value[None] for key, value in given.items()} if choice else given)
    if "start_logits" in out:
        return [torch.stack((out.start_logits[0], out.end_logits[0]), dim=-1)]
    if "prediction_logits" in out:
        return [out.prediction_logits[0], out.seq_relationship_logits[0]]
    if "logits" not in out:
        return [out.last_hidden_state[0], *(out.pooler_output if "pooler_output" in out else ())]
    if type(model).__name__ == "ElectraForPreTraining":
        return [out.logits[0][:, None]]
    return [out.logits[0]]


def has_types(config: dict[str, Any]) -> bool:
    return int(config.get("type_vocab_size", 0)) > 1


def sentences(ids: Tensor) -> Tensor:
    """The second half of a row is sentence B."""
    return (torch.arange(len(ids)) >= len(ids) // 2).long()


@torch.no_grad()
def answered(model: Any, rows: list[Tensor], left: bool) -> list[list[Tensor]]:
    """The same of our model, all rows in one padded batch."""
    side = "left" if left else "right"

    def batch(parts: list[Tensor]) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_side=side)

    types = batch([sentences(ids) for ids in rows]) if has_types(model.config) else None
    mask = batch([torch.ones_like(ids) for ids in rows])
    assert bool(mask[-1, 0]) == (not left), "the shortest row shows the side"
    out: Output = model(batch(rows), mask, types=types)
    parts = [out.logits, *([out.task.logits] if out.task else [])]
    if model.architecture.form.endswith("Model"):
        parts = [out.hidden, *([out.features] if out.features.ndim == 2 else [])]
    return [
        [part[i] if part.ndim == 2 else part[i][mask[i] == 1] for part in parts]
        for i in range(len(rows))
    ]


def difference(model: Any, other: Any, rows: list[Tensor], *, left: bool = False) -> float:
    """Of any row, relative to its largest number; where it has one only, to that of all rows."""
    worst, expected = 0.0, [asked(other, ids) for ids in rows]
    for ours, rights in zip(answered(model, rows, left), expected, strict=True):
        for part, (mine, right) in enumerate(zip(ours, rights, strict=True)):
            assert mine.shape == right.shape
            numbers = right if right.numel() > 1 else torch.cat([each[part] for each in expected])
            worst = max(worst, float((mine - right).abs().max() / numbers.abs().max()))
    return worst


def test_reads_what_transformers_wrote(
    encoder: str, folder_of: Folder, rows: list[Tensor], tell: Tell, off: Off
) -> None:
    model, other = load_model(folder_of(encoder))[0], theirs(folder_of(encoder))
    found = max(difference(model, other, rows, left=left) for left in (False, True))
    tell(encoder, found, difference(off(model), other, rows))


def test_round_trip_is_byte_equal(encoder: str, folder_of: Folder, tmp_path: Path) -> None:
    model, _ = load_model(folder_of(encoder))
    save_model(model, tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (folder_of(encoder), tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    ids = torch.arange(3, 40)
    pairs = zip(asked(theirs(tmp_path), ids), asked(theirs(folder_of(encoder)), ids), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


TINY = ModelConfig(vocab=97, dim=32, heads=4, layers=3, context=330, window=40)
BUILT = [("bert", ""), ("bert", "ForSequenceClassification"), ("roberta", ""), ("modernbert", ""),
         ("modernbert", "ForTokenClassification"), ("distilbert", ""), ("electra", ""),
         ("electra", "ForMaskedLM")]  # fmt: skip


@pytest.mark.parametrize(("family", "head"), BUILT)
def test_transformers_reads_what_we_built(
    family: str, head: str, rows: list[Tensor], tmp_path: Path
) -> None:
    window = 40 if family == "modernbert" else 0
    chosen = {"family": family, "head": head, "window": window, "labels": 5}
    model = build_model(TINY.with_values(chosen), seed=3).eval()
    save_model(model, tmp_path)
    assert difference(model, theirs(tmp_path), rows) < LIMIT
    again, _ = load_model(tmp_path)
    pairs = zip(model.named_parameters(), again.named_parameters(), strict=True)
    assert all(a == b and torch.equal(p, q) for (a, p), (b, q) in pairs)
    assert again.architecture == model.architecture


def test_control_a_wrong_option_is_noticed(
    encoder: str, wrong: dict[str, Any], folder_of: Folder, rows: list[Tensor], tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(folder_of(encoder), folder)
    config = json.loads((folder / "config.json").read_text())
    if wrong == {"layer_types": None}:
        wrong = {"layer_types": config["layer_types"][::-1]}
        wrong["layer_types"][0] = "sliding_attention"
    (folder / "config.json").write_text(json.dumps(config | wrong))
    assert difference(load_model(folder)[0], theirs(folder_of(encoder)), rows) > 10 * LIMIT


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_loss_and_gradients(name: str, folder_of: Folder, rows: list[Tensor]) -> None:
    """A third of the tokens are asked for; the mean is taken at the end, as theirs is."""
    model, other = load_model(folder_of(name))[0], theirs(folder_of(name))
    ids = rows[0][None]
    targets = torch.where(torch.arange(ids.shape[1]) % 3 == 0, ids, -100)
    total, count = model(ids).cross_entropy(targets)
    (total / count).backward()
    loss = other(input_ids=ids, labels=targets).loss
    loss.backward()
    assert (total / count).item() == pytest.approx(loss.item(), rel=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)  # so that the table of names speaks of gradients
    ours = export(model, model.family.names(model.architecture))
    expected = {n: p.grad for n, p in other.named_parameters() if n in ours}
    assert expected.keys() == ours.keys()
    largest = max(float(right.abs().max()) for right in expected.values())
    for key, right in expected.items():
        assert torch.allclose(ours[key], right, rtol=1e-3, atol=1e-6 * largest), key
