"""Models written as ONNX and read by onnxruntime, in all three families; faults are found."""

from pathlib import Path
from typing import Any

import pytest

from ownlm.errors import ConfigError
from ownlm.evaluation.exported_onnx import check_onnx
from ownlm.evaluation.finding import Finding
from ownlm.evaluation.parity import sharpened
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.recipes import export
from ownlm.recipes.export import passed
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.to_gguf import PROBES
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer

SIZE: dict[str, Any] = {"layers": 2, "dim": 64, "heads": 4, "context": 224, "hidden": 96}
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "qwen3": {"kv_heads": 2, "head_dim": 32},
    "gpt2-classes": {"family": "gpt2", "head": "ForSequenceClassification", "labels": 3},
    "bert": {},
    "bert-hidden": {"family": "bert", "head": "Model"},
    "bert-classes": {"family": "bert", "head": "ForSequenceClassification", "labels": 3},
    "bert-score": {"family": "bert", "head": "ForSequenceClassification", "labels": 1},
    "roberta-tags": {"family": "roberta", "head": "ForTokenClassification", "labels": 5},
    "modernbert": {"window": 16},
    "t5": {},
    "bart": {},
}
OUTPUTS = {"bert-hidden": "last hidden state", "bert-score": "logits"}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return with_template(train_tokenizer(list(PROBES), TokenizerConfig(vocab_size=400)))


def made(name: str, tokenizer: Tokenizer) -> LM:
    """A model with all its numbers drawn."""
    values = {"family": name, "vocab": tokenizer.vocab_size} | SIZE | MODELS[name]
    return LM(sharpened(build_any(ModelConfig(**values), seed=0)), tokenizer)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_written_model_says_the_same(
    name: str, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    lm, out = made(name, tokenizer), tmp_path / "m"
    found = by_name(export.export_onnx(lm, out))
    assert passed([*found.values()]), found
    first = OUTPUTS.get(name, "likeliest token")
    assert {*found} >= {first, "tokens", "chat template", "control ids"}
    kept = {path.name for path in out.iterdir()}
    assert kept >= {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"}
    # The control: a model with one row of one matrix moved, held against the file.
    lm.model.stack.blocks[1].attn.body.o.weight.data[0] += 1.0
    assert not passed(check_onnx(lm, out)[:1])
    # And such a folder is not published over what stands there.
    model = (out / "model.onnx").read_bytes()
    monkeypatch.setattr(export, "write_onnx", lambda _, path: path.write_bytes(model))
    assert not passed(export.export_onnx(lm, tmp_path / "n"))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    shape = {"family": "xlnet", "layers": 1, "dim": 16, "heads": 2, "context": 32}
    config = ModelConfig.model_validate(shape | {"vocab": tokenizer.vocab_size})
    lm = LM(build_any(config, seed=0), tokenizer)
    with pytest.raises(ConfigError, match="cannot be written as ONNX"):
        export.export_onnx(lm, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    (tmp_path / "m").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        export.export_onnx(lm, tmp_path / "m")
