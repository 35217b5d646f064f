"""Models written as GGUF: read again as they were, in every family; faults are found."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.cli.main import main
from ownlm.errors import ConfigError
from ownlm.evaluation import exported
from ownlm.evaluation.finding import Finding
from ownlm.evaluation.parity import sharpened
from ownlm.evaluation.with_llama_cpp import Asked, Told, ask_llama_cpp
from ownlm.inference.language_model import LM, load
from ownlm.models.config import ModelConfig
from ownlm.models.gguf import read_gguf
from ownlm.models.gguf_write import Entry, tensors_of
from ownlm.models.load import build_model, hf_values
from ownlm.recipes import export
from ownlm.recipes.export import export_gguf, passed, whole_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.to_gguf import PROBES
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer

pytest.importorskip("gguf")

SIZE: dict[str, Any] = {"layers": 2, "dim": 64, "heads": 4, "context": 224, "hidden": 96}
TURNED = SIZE | {"kv_heads": 2}
SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 56},
    "llama3": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": SIZE,
    "gpt2-no-bias": SIZE | {"family": "gpt2", "bias": False},
    "llama": TURNED,
    "llama-biases": TURNED | {"family": "llama", "bias": True, "tied": False},
    "mistral": TURNED,
    "qwen2": TURNED | {"tied": False},
    "qwen3": TURNED | {"head_dim": 32},
    "gemma": TURNED,
    "gemma2": TURNED | {"window": 48},
    "gemma3": TURNED | {"window": 48, "layers": 7},
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    text = [*PROBES, "Is it noon? Yes it is. No."]
    return with_template(train_tokenizer(text, TokenizerConfig(vocab_size=400)))


def made(name: str, tokenizer: Tokenizer, **changes: Any) -> LM:
    """A model with all its numbers drawn, and three rows more than there are tokens."""
    values = {"family": name, "vocab": tokenizer.vocab_size + 3, "seed": 0} | FAMILIES[name]
    seed = values.pop("seed")
    config = hf_values(ModelConfig(**values)) | changes
    return LM(sharpened(build_model(config, seed=seed)), tokenizer)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_comes_back(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    lm, out = made(name, tokenizer), tmp_path / "m.gguf"
    found = by_name(export_gguf(lm, out, "F32"))
    assert passed([*found.values()]), found
    largest = found["logits"].measured
    assert largest is not None and largest < 1e-5
    again = load(out, dtype="fp32")
    assert again.model.vocab == again.tokenizer.vocab_size + 3
    assert again.turn_ids == lm.turn_ids
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize("kind", SCALINGS)
def test_stretched_positions_come_back(kind: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    rope = {"rope_type": kind, "rope_theta": 10_000.0, **SCALINGS[kind]}
    lm = made("llama", tokenizer, rope_parameters=rope)
    found = export_gguf(lm, tmp_path / "m.gguf", "F32")
    assert passed(found), found
    rope["factor"] *= 2  # the control
    other = made("llama", tokenizer, rope_parameters=rope)
    wrong = by_name(exported.check_gguf(other, tmp_path / "m.gguf", "F32"))
    assert wrong["architecture"].passed is False


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma"])
@pytest.mark.parametrize("numbers", ["F16", "Q8_0"])
def test_numbers_of_fewer_bits(
    name: str, numbers: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    lm, out = made(name, tokenizer), tmp_path / "m.gguf"
    found = by_name(export_gguf(lm, out, numbers))
    assert passed([*found.values()]), found
    measured = found["logits"].measured
    assert measured is not None and measured > 1e-5  # types do round
    kinds = {key: stored.form.name for key, stored in read_gguf(out).tensors.items()}
    assert kinds["token_embd.weight"] == kinds["blk.1.ffn_down.weight"] == numbers
    assert kinds["output_norm.weight"] == kinds.get("position_embd.weight", "F32") == "F32"


def test_rows_of_no_whole_blocks_and_numbers_too_large(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    values = FAMILIES["llama"] | {"hidden": 72}
    config = ModelConfig(family="llama", vocab=tokenizer.vocab_size, **values)
    lm = LM(sharpened(build_model(config, seed=0)), tokenizer)
    lm.model.stack.blocks[0].ffn.body.gate_up.weight.data[0, 0] = 70_000.0
    kinds = {entry.name: entry.kind for entry in tensors_of(lm.model, "Q8_0")}
    assert kinds["blk.1.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_gate.weight"] == "F32"
    assert kinds["blk.1.ffn_gate.weight"] == "Q8_0"


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    made("llama", tokenizer).save(tmp_path / "model")
    return tmp_path / "model"


def permuted(*asked: Any) -> Iterator[Entry]:
    """The tensors with two heads of one matrix swapped."""
    for entry in tensors_of(*asked):
        swap = entry.name == "blk.1.attn_q.weight"
        yield entry._replace(values=entry.values.roll(16, 0)) if swap else entry


def test_a_permuted_tensor_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control: what fails is removed, and what stood there before stays."""
    monkeypatch.setattr(export, "tensors_of", permuted)
    out = folder.parent / "m.gguf"
    out.write_bytes(b"before")
    args = ["export", str(folder), "--to", "gguf", "--out", str(out), "--numbers", "Q8_0"]
    assert main([*args, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    failed = {row["name"]: row["measured"] for row in told["checks"] if row["passed"] is False}
    assert "logits" in failed and failed["logits"] > 2 * exported.LIMITS["Q8_0"]
    assert (told["passed"], told["out"]) == (False, None)
    assert out.read_bytes() == b"before"
    assert {path.name for path in folder.parent.iterdir()} == {"model", "m.gguf"}
    assert main(args) == 1
    assert "was not kept" in capsys.readouterr().out


def test_the_command_writes_and_tells(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "m.gguf"
    assert main(["export", str(folder), "--to", "gguf", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "likeliest token" in told and "pass" in told and "FAIL" not in told
    assert {s.form.name for s in read_gguf(out).tensors.values()} == {"F16", "F32"}


def test_other_tokens_template_and_ends_are_found(tokenizer: Tokenizer, tmp_path: Path) -> None:
    lm, out = made("llama", tokenizer), tmp_path / "m.gguf"
    export_gguf(lm, out, "F32")
    text = [*PROBES[::-1], "A boat came in, and nobody looked up."]
    other = train_tokenizer(text, TokenizerConfig(vocab_size=400, controls=("<|x|>",)))
    other.settings["chat_template"] = "{% for m in messages %}{{ m.content }}<|x|>{% endfor %}"
    found = by_name(exported.check_gguf(LM(lm.model, other), out, "F32"))
    failed = {name for name, finding in found.items() if finding.passed is False}
    assert failed >= {"tokens", "chat template", "control ids"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"family": "gpt3", "window": 16}, "gpt3LMHeadModel: no such model"),
        ({"family": "mistral", "window": 16}, "a sliding window of 16 tokens"),
        ({"family": "bert"}, "no such model"),
    ],
)
def test_models_without_a_place_are_refused(
    config: dict[str, Any], words: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    values = {k: v for k, v in SIZE.items() if k != "hidden"}
    model = build_model(ModelConfig(vocab=tokenizer.vocab_size, **values | config), seed=0)
    with pytest.raises(ConfigError, match=words):
        export_gguf(LM(model, tokenizer), tmp_path / "m.gguf", "F16")
    assert not [*tmp_path.iterdir()]


def test_an_adapter_is_merged_first(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        whole_model(str(tmp_path))
    assert "ownlm merge" in str(caught.value.next_command)


def test_the_file_is_named_as_one(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a GGUF file is named so"):
        export_gguf(made("llama", tokenizer), tmp_path / "m.bin", "F16")


def test_llama_cpp_that_cannot_open_it_says_why(tmp_path: Path) -> None:
    told = ask_llama_cpp(tmp_path / "none.gguf", Asked([1], []), python="/bin/false")
    assert told == "llama.cpp ended with 1: it said nothing"


@pytest.mark.parametrize("name", [*FAMILIES])
def test_llama_cpp_says_the_same(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    out = tmp_path / "m.gguf"
    found = by_name(export_gguf(made(name, tokenizer), out, "F16"))
    assert found["in llama.cpp: logits"].passed and found["in llama.cpp: tokens"].passed
    assert isinstance(ask_llama_cpp(out, Asked([1, 2], ["a"])), Told)


def test_logits_that_are_not_finite_fail() -> None:
    good = np.ones((3, 5), np.float32)
    (bad,) = exported.check_logits(good * np.nan, good, "F32", "")
    assert bad.passed is False


def test_the_likeliest_token_counts_where_the_model_is_clear() -> None:
    expected = np.array([[0, 0.001, 0], [0, 5, 0], [5, 0, 0], [4, 0, 0]], np.float32)
    rounded = expected + np.array([[0.002, 0, 0], [0] * 3, [0] * 3, [0] * 3], np.float32)
    found = exported.check_logits(rounded, expected, "F16", "")
    assert passed(found)
    assert found[1].detail == "0.750 of all 4"
    found = exported.check_logits(expected[::-1], expected, "F16", "")
    assert [finding.passed for finding in found] == [False, False]
    (_, nowhere) = exported.check_logits(expected[:1] * 0, expected[:1] * 0, "F16", "")
    assert nowhere.passed is None
