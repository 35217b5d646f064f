"""Whole GGUF files, written by ggml's own package, against transformers with the same weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ownlm.errors import CheckpointError
from ownlm.models.gguf import read_gguf
from ownlm.models.load import load_model, save_model, sketched

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

LENGTH, LIMIT = 300, 1e-5
SMALL: dict[str, Any] = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2}
LLAMA: dict[str, Any] = SMALL | {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "head_dim": 16,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 340,
    "rms_norm_eps": 1e-5,
}  # fmt: skip
GEMMA = LLAMA | {"head_dim": 32, "pad_token_id": 0}
WINDOWS = {"sliding_window": 48, "query_pre_attn_scalar": 32}


def rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **values}}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)  # fmt: skip
GEMMA3 = {"rope_parameters": {
    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}}  # fmt: skip
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "LlamaForCausalLM", LLAMA),
    "llama-tied": ("llama", "LlamaForCausalLM", LLAMA | {"tie_word_embeddings": True}),
    "llama-biases": (
        "llama", "LlamaForCausalLM", LLAMA | {"attention_bias": True, "mlp_bias": True},
    ),
    "llama-linear": ("llama", "LlamaForCausalLM", LLAMA | rope("linear", factor=4.0)),
    "llama-llama3": ("llama", "LlamaForCausalLM", LLAMA | LLAMA3),
    "llama-yarn": (
        "llama", "LlamaForCausalLM",
        LLAMA | rope("yarn", factor=4.0, original_max_position_embeddings=85),
    ),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", LLAMA),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", LLAMA | {"head_dim": 32}),
    "gemma": ("gemma", "GemmaForCausalLM", GEMMA),
    "gemma2": ("gemma2", "Gemma2ForCausalLM", GEMMA | WINDOWS | {
        "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}),
    "gemma3": ("gemma3", "Gemma3ForCausalLM", GEMMA | WINDOWS | GEMMA3 | {
        "num_hidden_layers": 7}),
    "gpt2": ("gpt2", "GPT2LMHeadModel", SMALL | {
        "n_positions": 340, "n_embd": 64, "n_layer": 3, "n_head": 4}),
}  # fmt: skip


def reference(name: str) -> Any:
    """A random model of transformers, its norms and biases random too."""
    _, kind, values = CASES[name]
    torch.manual_seed(len(name))
    kind_of_config = getattr(transformers, kind).config_class
    model = getattr(transformers, kind)._from_config(
        kind_of_config(**values), attn_implementation="eager"
    )
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    return model.eval()


Store = Callable[[str, np.ndarray], tuple[np.ndarray, Any]]


def plain(name: str, data: np.ndarray) -> tuple[np.ndarray, Any]:
    return data, None


def as_type(kind: str, kept: dict[str, np.ndarray]) -> Store:
    """Matrices in a type of ggml's, as its converters do; the rest stays in float32. `kept` gets
    what the matrices then mean."""
    number = gguf.GGMLQuantizationType[kind]

    def store(name: str, data: np.ndarray) -> tuple[np.ndarray, Any]:
        if data.ndim != 2:
            return data, None
        if kind.endswith("_K"):  # the package reads these, but does not write them
            _, size = gguf.GGML_QUANT_SIZES[number]
            draw = np.random.default_rng(len(name))
            raw = draw.integers(0, 256, (data.shape[0], data.shape[1] // 256, size), np.uint8)
            for place in (0, 2) if kind == "Q4_K" else (208,):
                raw[..., place : place + 2] = np.frombuffer(
                    np.float16(1e-3 if kind == "Q4_K" else 3e-5).tobytes(), np.uint8
                )
            raw = raw.reshape(data.shape[0], -1)
        else:
            raw = gguf.quants.quantize(data, number)
        kept[name] = gguf.quants.dequantize(raw, number).astype(np.float32)
        return (raw.view(np.float16), None) if kind == "F16" else (raw, number)

    return store


def rotated(data: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's order of rows: rotary pairs side by side."""
    parts = data.reshape(heads, 2, data.shape[0] // heads // 2, *data.shape[1:])
    return parts.swapaxes(1, 2).reshape(data.shape)


def stored_tensors(arch: str, model: Any) -> dict[str, np.ndarray]:
    """A model's tensors under ggml's names, kept as llama.cpp's converter keeps them."""
    values = model.config.to_dict()
    layers = values.get("num_hidden_layers") or values["n_layer"]
    names = gguf.get_tensor_name_map(
        next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch), layers
    )
    found = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and values["tie_word_embeddings"]:
            continue
        data = tensor.float().numpy()
        if arch == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = "num_attention_heads" if "q_proj" in name else "num_key_value_heads"
            data = rotated(data, values[heads])
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            data = data + 1
        if arch == "gpt2" and any(p in name for p in ("c_attn.w", "c_proj.w", "c_fc.w")):
            data = data.T
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert theirs, name
        found[theirs] = np.ascontiguousarray(data)
    return found


def write_keys(writer: Any, arch: str, values: dict[str, Any]) -> None:
    get = values.get
    writer.add_context_length(get("max_position_embeddings") or get("n_positions"))
    writer.add_embedding_length(get("hidden_size") or get("n_embd"))
    writer.add_block_count(get("num_hidden_layers") or get("n_layer"))
    writer.add_feed_forward_length(get("intermediate_size") or 4 * values["n_embd"])
    writer.add_head_count(get("num_attention_heads") or get("n_head"))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if arch == "gpt2":
        writer.add_layer_norm_eps(values["layer_norm_epsilon"])
        return
    writer.add_head_count_kv(values["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(values["rms_norm_eps"])
    if arch == "llama":
        writer.add_rope_dimension_count(values["head_dim"])
    if arch in ("qwen3", "gemma", "gemma2", "gemma3"):
        writer.add_key_length(values["head_dim"])
        writer.add_value_length(values["head_dim"])
    if "sliding_window" in values and arch in ("gemma2", "gemma3"):
        writer.add_sliding_window(values["sliding_window"])
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(values["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(values["final_logit_softcapping"])
    write_rope(writer, values["rope_parameters"])


def write_rope(writer: Any, rope: dict[str, Any]) -> None:
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(rope["rope_theta"])
    kinds = {"linear": gguf.RopeScalingType.LINEAR, "yarn": gguf.RopeScalingType.YARN}
    if rope["rope_type"] in kinds:
        writer.add_rope_scaling_type(kinds[rope["rope_type"]])
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def llama3_factors(values: dict[str, Any]) -> np.ndarray:
    """llama.cpp's converter: what each frequency is divided by, in words of its own."""
    rope, wide = values["rope_parameters"], values["head_dim"]
    factors = []
    for frequency in rope["rope_theta"] ** -(np.arange(0, wide, 2) / wide):
        length, wave = rope["original_max_position_embeddings"], 2 * np.pi / frequency
        if wave < length / rope["high_freq_factor"]:
            factors.append(1.0)
        elif wave > length / rope["low_freq_factor"]:
            factors.append(rope["factor"])
        else:
            low, high = rope["low_freq_factor"], rope["high_freq_factor"]
            smooth = (length / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def write(path: Path, name: str, model: Any, store: Store = plain, **more: Any) -> Path:
    arch = CASES[name][0]
    writer = gguf.GGUFWriter(path, arch)
    values = model.config.to_dict()
    write_keys(writer, arch, values)
    for key, value in more.items():
        writer.add_uint32(key, value)
    for theirs, data in stored_tensors(arch, model).items():
        raw, kind = store(theirs, data)
        writer.add_tensor(theirs, raw, raw_dtype=kind)
    if name == "llama-llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 97, (2, LENGTH), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
@pytest.mark.parametrize("name", [*CASES])
def test_logits_of_every_architecture(name: str, ids: Tensor, tmp_path: Path) -> None:
    theirs = reference(name)
    model, values = load_model(write(tmp_path / "x.gguf", name, theirs))
    expected = theirs(ids).logits
    assert apart(model(ids).logits, expected) < LIMIT
    assert values["model_type"] == theirs.config.model_type
    # The control: one weight of one norm is another.
    model.stack.blocks[1].ffn.norm_in.weight[3] += 0.5
    assert apart(model(ids).logits, expected) > LIMIT


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_saved_as_a_folder_that_transformers_opens(name: str, ids: Tensor, tmp_path: Path) -> None:
    theirs = reference(name)
    model, _ = load_model(write(tmp_path / "x.gguf", name, theirs))
    save_model(model, tmp_path / "saved")
    opened = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "saved", attn_implementation="eager"
    )
    assert type(opened) is type(theirs)
    assert apart(opened(ids).logits, theirs(ids).logits) < LIMIT
    again, values = load_model(tmp_path / "saved")
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert (values["bos_token_id"], values["eos_token_id"]) == (1, 2)


WIDE = LLAMA | {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64}
CASES["llama-wide"] = ("llama", "LlamaForCausalLM", WIDE)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, kind) for name in ("llama", "gemma", "gpt2") for kind in ("F16", "Q8_0", "Q4_1")),
        *(("llama", kind) for kind in ("BF16", "Q4_0", "Q5_0", "Q5_1")),
        *(("llama-wide", kind) for kind in ("Q4_K", "Q6_K")),
    ],
)
def test_types_of_numbers(name: str, kind: str, ids: Tensor, tmp_path: Path) -> None:
    """A file in some type is the file of the float32 numbers that the type stands for."""
    theirs, kept = reference(name), dict[str, np.ndarray]()
    path = write(tmp_path / "x.gguf", name, theirs, as_type(kind, kept))
    assert {s.form.name for s in read_gguf(path).tensors.values()} == {"F32", kind}
    meant = write(tmp_path / "y.gguf", name, theirs, lambda n, data: (kept.get(n, data), None))
    model, _ = load_model(path, dtype=torch.float32)
    expected, _ = load_model(meant)
    pairs = zip(model.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    save_model(model, tmp_path / "saved")
    opened = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "saved", attn_implementation="eager"
    )
    assert apart(model(ids).logits, opened(ids).logits) < LIMIT
    assert apart(model(ids).logits, theirs(ids).logits) > LIMIT  # types do round


def test_stored_types_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", "llama", reference("llama"), as_type("F16", {}))
    assert load_model(path)[0].dtype == torch.float16
    assert load_model(path, dtype=torch.bfloat16)[0].dtype == torch.bfloat16
    path = write(tmp_path / "y.gguf", "llama", reference("llama"), as_type("Q8_0", {}))
    assert load_model(path)[0].dtype == torch.float32


def test_an_output_equal_to_the_table_is_tied(tmp_path: Path) -> None:
    model = reference("llama")
    model.lm_head.weight.data.copy_(model.model.embed_tokens.weight.data)
    loaded, values = load_model(write(tmp_path / "x.gguf", "llama", model))
    assert values["tie_word_embeddings"] is True
    assert loaded.architecture.head.tied


def test_factors_that_are_no_rule_of_llama_3_are_kept_as_they_are(tmp_path: Path) -> None:
    def shifted(values: dict[str, Any]) -> np.ndarray:
        return np.linspace(1, 3, values["head_dim"] // 2, dtype=np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "llama3_factors", shifted)
        path = write(tmp_path / "x.gguf", "llama-llama3", reference("llama-llama3"))
    rope = sketched(path)[0]["rope_parameters"]
    assert rope["rope_type"] == "longrope"
    assert (
        rope["long_factor"] == rope["short_factor"] == [float(x) for x in shifted({"head_dim": 16})]
    )
    load_model(path)


def test_end_of_turn_ends_too(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", "llama", reference("llama"),
                 **{"tokenizer.ggml.eot_token_id": 5})  # fmt: skip
    assert sketched(path)[0]["eos_token_id"] == [2, 5]


# Refusals.


def changed(tmp_path: Path, change: Callable[[Any], None], arch: str = "llama") -> str:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", arch)
    model = reference("llama")
    write_keys(writer, "llama", model.config.to_dict())
    for theirs, data in stored_tensors("llama", model).items():
        writer.add_tensor(theirs, data)
    change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "x.gguf")
    assert str(tmp_path / "x.gguf") in str(caught.value)
    return str(caught.value)


def drop(key: str) -> Callable[[Any], None]:
    return lambda writer: writer.kv_data[0].pop(key)


def put(key: str, value: Any, kind: Any) -> Callable[[Any], None]:
    def change(writer: Any) -> None:
        writer.kv_data[0].pop(key, None)
        writer.add_key_value(key, value, kind)

    return change


UINT, TEXT = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.STRING
REFUSED: dict[str, tuple[Callable[[Any], None], str]] = {
    "no width": (drop("llama.embedding_length"), "llama.embedding_length: missing"),
    "no layers": (drop("llama.block_count"), "llama.block_count: missing"),
    "no eps": (drop("llama.attention.layer_norm_rms_epsilon"), "epsilon: missing"),
    "too many layers": (put("llama.block_count", 10**9, UINT), "num_hidden_layers: expected 1 to"),
    "no heads": (put("llama.attention.head_count", 0, UINT), "head_count: 0 heads"),
    "too wide": (
        put("llama.feed_forward_length", 2**31, UINT), "intermediate_size: expected 1 to",
    ),
    "words for a number": (put("llama.block_count", "three", TEXT), "expected a whole number"),
    "half a head turns": (put("llama.rope.dimension_count", 8, UINT), "only whole heads can turn"),
    "experts": (put("llama.expert_count", 8, UINT), "mixtures of experts cannot be read"),
    "unknown scaling": (put("llama.rope.scaling.type", "su", TEXT), "'su' is not supported"),
    "a tensor too many": (
        lambda w: w.add_tensor("blk.0.odd.weight", np.zeros((2, 2), np.float32)),
        "unexpected blk.0.odd.weight: found [2, 2]",
    ),
    "a wrong shape": (put("llama.feed_forward_length", 95, UINT), "wrong shape model.layers.0.mlp"),
    "a layer too few": (put("llama.block_count", 4, UINT), "missing model.layers.3"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_key_or_tensor(name: str, tmp_path: Path) -> None:
    change, words = REFUSED[name]
    assert words in changed(tmp_path, change)


def test_unknown_architectures_name_the_nearest(tmp_path: Path) -> None:
    text = changed(tmp_path, lambda w: None, arch="qwen2vl")
    assert "'qwen2vl' is not supported, nearest is qwen2; known: llama, qwen2" in text


def test_config_is_json(tmp_path: Path) -> None:
    """What a file amounts to can be written as config.json."""
    for name in CASES:
        path = write(tmp_path / f"{name}.gguf", name, reference(name))
        json.dumps(sketched(path)[0])
