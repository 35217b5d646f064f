"""Encoder-decoders against transformers: the same folder, the same answers, both ways.

fp32 on the CPU. Texts of 320, 301 and 9 tokens are read and 310, 40 and 305 written, padded on
either side; each row's reference works on it alone. T5's distances reach its last bucket.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

from ownlm.errors import CheckpointError  # noqa: E402
from ownlm.models.config import ModelConfig  # noqa: E402
from ownlm.models.load import build_any, load_any, load_model, save_model  # noqa: E402
from ownlm.models.model import EncoderDecoder, Model  # noqa: E402
from ownlm.models.weights import export  # noqa: E402

READ, WRITTEN, LIMIT, EOS = (320, 301, 9), (310, 40, 305), 1e-5, 2
Folder = Callable[[str], Path]
Tell = Callable[[str, float, float], None]
Off = Callable[[Any], Any]
Rows = list[tuple[Tensor, Tensor]]


@pytest.fixture
def rows() -> Rows:
    generator = torch.Generator().manual_seed(5)

    def text(length: int) -> Tensor:
        ids = torch.randint(3, 97, (length,), generator=generator)
        ids[-1] = EOS  # classifiers read it off here
        return ids

    return [(text(read), text(written)) for read, written in zip(READ, WRITTEN, strict=True)]


def pair_of(model: Model) -> EncoderDecoder:
    assert isinstance(model, EncoderDecoder)
    return model


def load(folder: Path) -> EncoderDecoder:
    return pair_of(load_any(folder)[0])


def theirs(folder: Path) -> Any:
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    model, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def classifies(model: Any) -> bool:
    return type(model).__name__.endswith("SequenceClassification")


def begun(ids: Tensor, model: Any) -> Tensor:
    """A text shifted by one place: what classifiers give the decoder."""
    return torch.cat((ids.new_tensor([model.config.decoder_start_token_id]), ids[:-1]))


@torch.no_grad()
def asked(model: Any, read: Tensor, written: Tensor) -> Tensor:
    if classifies(model):
        return model(input_ids=read[None]).logits[0]  # type: ignore[no-any-return]
    out = model(input_ids=read[None], decoder_input_ids=written[None])
    if "start_logits" in out:
        return torch.stack((out.start_logits[0], out.end_logits[0]), dim=-1)
    return (out.logits if "logits" in out else out.last_hidden_state)[0]  # type: ignore[no-any-return]


@torch.no_grad()
def answered(model: EncoderDecoder, rows: Rows, left: bool) -> list[Tensor]:
    """The same of our model, all rows in one padded batch."""
    side = "left" if left else "right"

    def batch(parts: list[Tensor]) -> Tensor:
        return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_side=side)

    reads, writes = [r for r, _ in rows], [w for _, w in rows]
    masks = [batch([torch.ones_like(ids) for ids in texts]) for texts in (reads, writes)]
    shortest = min(range(len(rows)), key=lambda i: len(reads[i]))
    assert bool(masks[0][shortest, 0]) == (not left), "the shortest row shows the side"
    out = model(batch(reads), batch(writes), *masks)
    found = out.hidden if model.architecture.form == "Model" else out.logits
    return [found[i] if found.ndim == 2 else found[i][masks[1][i] == 1] for i in range(len(rows))]


def difference(model: EncoderDecoder, other: Any, rows: Rows, *, left: bool = False) -> float:
    if classifies(other):
        rows = [(read, begun(read, other)) for read, _ in rows]
    worst = 0.0
    for (read, written), mine in zip(rows, answered(model, rows, left), strict=True):
        right = asked(other, read, written)
        assert mine.shape == right.shape
        worst = max(worst, float((mine - right).abs().max() / right.abs().max()))
    return worst


def test_reads_what_transformers_wrote(
    pair: str, folder_of: Folder, rows: Rows, tell: Tell, off: Off
) -> None:
    model, other = load(folder_of(pair)), theirs(folder_of(pair))
    found = max(difference(model, other, rows, left=left) for left in (False, True))
    tell(pair, found, difference(off(model), other, rows))


def test_round_trip_is_byte_equal(pair: str, folder_of: Folder, rows: Rows, tmp_path: Path) -> None:
    """An output matrix that was the token table in disguise comes back as a copy of it."""
    save_model(load(folder_of(pair)), tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (folder_of(pair), tmp_path))
    if added := after.keys() - before.keys():
        assert added == {"lm_head.weight"}
        assert torch.equal(after["lm_head.weight"], before["shared.weight"])
    assert all(torch.equal(before[key], after[key]) for key in before)
    read, written = rows[2]
    assert torch.equal(
        asked(theirs(tmp_path), read, written), asked(theirs(folder_of(pair)), read, written)
    )


@torch.no_grad()
@pytest.mark.parametrize("name", ["t5", "mt5", "bart", "marian"])
def test_cached_decoding_equals_whole_decoding(name: str, folder_of: Folder, rows: Rows) -> None:
    model = load(folder_of(name))
    reads = [row[0] for row in rows[1:]]
    ids = nn.utils.rnn.pad_sequence(reads, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(r) for r in reads], batch_first=True)
    written = torch.stack([rows[0][1][:200], rows[0][1][100:300]])
    memory, cache = model.encode(ids, mask), model.new_cache(2)
    whole = model(ids, written, mask).logits
    parts = [
        model.decode(part, memory, cache=cache).logits for part in written.split([150, 1, 48, 1], 1)
    ]
    assert torch.allclose(
        torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5 * float(whole.abs().max())
    )
    assert not torch.allclose(whole, model(ids.flip(1), written, mask).logits, atol=1e-2)


def test_output_matrix_of_its_own(folder_of: Folder, rows: Rows, tmp_path: Path) -> None:
    """T5 v1.1 as it was published: config.json says tied, the file holds two matrices."""
    model = theirs(folder_of("t5-v1.1"))
    model.lm_head.weight = nn.Parameter(torch.randn(97, 32))
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" in load_file(tmp_path / "model.safetensors")
    assert difference(load(tmp_path), theirs(tmp_path), rows) < LIMIT


TINY = ModelConfig(vocab=97, dim=32, heads=4, layers=2, decoder_layers=3, context=330)
BUILT = [("t5", {"act": "relu"}), ("t5", {"tied": False}), ("mt5", {"tied": False}), ("bart", {}),
         ("bart", {"head": "ForSequenceClassification", "labels": 4}), ("marian", {})]  # fmt: skip


@pytest.mark.parametrize(("family", "chosen"), BUILT)
def test_transformers_reads_what_we_built(
    family: str, chosen: dict[str, Any], rows: Rows, tmp_path: Path
) -> None:
    model = pair_of(build_any(TINY.with_values({"family": family} | chosen), seed=3)).eval()
    save_model(model, tmp_path)
    assert difference(model, theirs(tmp_path), rows) < LIMIT
    again = load(tmp_path)
    pairs = zip(model.named_parameters(), again.named_parameters(), strict=True)
    assert all(a == b and torch.equal(p, q) for (a, p), (b, q) in pairs)


def test_control_a_wrong_option_is_noticed(
    pair: str, wrong: dict[str, Any], folder_of: Folder, rows: Rows, tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(folder_of(pair), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | wrong))
    assert difference(load(folder), theirs(folder_of(pair)), rows) > 10 * LIMIT


def test_a_pair_is_no_single_stack(folder_of: Folder) -> None:
    with pytest.raises(CheckpointError, match="t5 is an encoder-decoder"):
        load_model(folder_of("t5"))


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_loss_and_gradients(name: str, folder_of: Folder, rows: Rows) -> None:
    model, other = load(folder_of(name)), theirs(folder_of(name))
    read, targets = (ids[None] for ids in rows[0])
    written = begun(targets[0], other)[None]
    total, count = model(read, written).cross_entropy(targets)
    (total / count).backward()
    loss = other(input_ids=read, decoder_input_ids=written, labels=targets).loss
    loss.backward()
    assert (total / count).item() == pytest.approx(loss.item(), rel=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)  # so that the table of names speaks of gradients
    ours = export(model, model.family.names(model.architecture))
    expected = {n: p.grad for n, p in other.named_parameters() if n in ours}
    assert expected.keys() | {"final_logits_bias"} == ours.keys() | {"final_logits_bias"}
    largest = max(float(right.abs().max()) for right in expected.values())
    for key, right in expected.items():
        assert torch.allclose(ours[key], right, rtol=1e-3, atol=1e-6 * largest), key
