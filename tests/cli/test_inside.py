"""`ownlm inside`: what it prints of a text is what the model does with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ownlm.cli.main import main
from ownlm.inference.language_model import LM, load
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer


def saved(folder: Path, family: str, **values: object) -> str:
    controls = ("<|begin|>", "<|mask|>", "<|pad|>")
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="byte", controls=controls))
    shape = {"dim": 32, "heads": 2, "layers": 3, "context": 64, "vocab": tokenizer.vocab_size}
    LM(build_any(ModelConfig(family=family, **shape | values), seed=1), tokenizer).save(folder)
    return str(folder)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["inside", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_all_of_it_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, saved(tmp_path / "it", "llama"), "a boat")
    lm = load(tmp_path / "it", "cpu")
    with torch.inference_mode():
        logits = lm.model(torch.tensor([lm.tokenizer.encode("a boat")])).logits[0]
    shares = logits[:, : lm.tokenizer.vocab_size].log_softmax(-1)
    tokens = found["tokens"]
    assert [one["text"] for one in tokens] == [*"a boat"] and tokens[0]["logprob"] is None
    for place, one in enumerate(tokens[1:]):
        assert one["logprob"] == pytest.approx(float(shares[place, one["id"]]), abs=1e-5)
    last = [place[0][0] for place in found["lens"]["layers"][-1]]
    assert last == shares.argmax(-1).tolist() and len(found["lens"]["layers"]) == 4
    seen = found["attention"]["self"]
    weights = torch.tensor(seen["weights"])
    assert weights.shape == (3, 2, 6, 6) and seen["queries"] == seen["keys"] == [*"a boat"]
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 6), atol=1e-4)
    assert float(weights.triu(1).abs().max()) == 0


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "it", "llama")
    assert main(["inside", folder, "a[bold]b", "--layer", "2", "--head", "2"]) == 0
    out = capsys.readouterr().out
    seen = told(capsys, folder, "a[bold]b")["attention"]["self"]
    assert "self attention, layer 2 of 3, head 2 of 2" in out
    line = seen["weights"][1][1][7]
    best = max(range(8), key=lambda n: line[n])
    assert f"{seen['keys'][best]} ({best}) {line[best]:.3f}" in out
    assert out.index("How likely") < out.index("each layer would") < out.index("reads most")
    assert "layer 3" in out and "before" in out


def test_what_each_kind_of_model_has_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = told(capsys, saved(tmp_path / "t5", "t5"), "ab", "--written", "cd")
    assert [*pair["attention"]] == ["encoder", "decoder", "cross"]
    bare = told(capsys, saved(tmp_path / "bert", "bert", head="Model"), "ab", "--other", "c")
    assert bare.keys() == {"model", "text", "attention"}
    assert len(bare["attention"]["self"]["keys"]) == 6
    lstm = told(capsys, saved(tmp_path / "lstm", "lstm"), "ab")
    assert lstm.keys() == {"model", "text", "tokens"}


def test_a_layer_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inside", saved(tmp_path / "it", "llama"), "ab", "--layer", "4"]) == 2
    assert "3 layers of 2 heads" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["gpt2", "ctrl", "llama", "bert", "t5"])
def test_a_text_that_is_too_long(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["inside", saved(tmp_path / "it", family), "a" * 65])
    said = capsys.readouterr().err
    assert code == 0 or (code == 2 and "64" in said), said
