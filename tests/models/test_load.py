"""Model folders that are wrong, foreign or half there; initialisation; what is allocated."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ownlm.errors import CheckpointError, ConfigError
from ownlm.files import publish_folder
from ownlm.models import tensors
from ownlm.models.config import ModelConfig
from ownlm.models.load import (
    build_model,
    count_parameters,
    load_model,
    save_model,
    saved_config,
    set_tokens,
)

GPT = ModelConfig(vocab=11, dim=8, heads=2, layers=2, context=16, bias=True)
LLAMA = ModelConfig(family="llama", vocab=11, dim=8, heads=2, layers=2, context=16)


@pytest.fixture(params=[GPT, LLAMA], ids=["gpt2", "llama"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    save_model(build_model(request.param, seed=1), tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    held = {k: v.clone() for k, v in load_file(folder / "model.safetensors").items()}
    change(held)
    save_file(held, folder / "model.safetensors")


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    return str(caught.value)


def test_all_faults_are_listed_at_once(folder: Path) -> None:
    """C3: each missing, unexpected and misshapen tensor, with expected and found."""

    def change(held: dict[str, torch.Tensor]) -> None:
        names = sorted(held)
        held["surprise.weight"] = torch.ones(3)
        held[names[0]] = torch.ones(2, 2, 2)
        held[names[1]] = held[names[1]].to(torch.int64)
        del held[names[2]]
        changed.extend(names[:3])

    changed: list[str] = []
    edit_tensors(folder, change)
    text = refusal(folder)
    assert "4 tensors do not fit" in text
    assert f"wrong shape {changed[0]}: expected [" in text
    assert "found [2, 2, 2]" in text
    assert f"wrong type {changed[1]}: expected floating point, found I64" in text
    assert f"missing {changed[2]}: expected [" in text
    assert "unexpected surprise.weight: found [3]" in text
    assert str(folder) in text


def test_nothing_is_allocated_for_a_folder_that_does_not_fit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: a config.json of terabytes is refused by shape, from the meta device."""
    key = "n_embd" if "n_embd" in (folder / "config.json").read_text() else "hidden_size"
    edit(folder, **{key: 1 << 18, "head_dim": None, "n_inner": None})
    monkeypatch.setattr(tensors.TensorFiles, "read", None)
    assert "wrong shape" in refusal(folder)


CAPS = [
    ("vocab_size", 10**12), ("vocab_size", 0), ("vocab_size", -5), ("vocab_size", "11"),
    ("vocab_size", True), ("vocab_size", 11.0), ("vocab_size", [11]),
    ("num_hidden_layers", 10**9), ("num_attention_heads", 10**5), ("hidden_size", 2**40),
    ("intermediate_size", 10**15), ("max_position_embeddings", 10**12), ("rms_norm_eps", "1e-5"),
    ("rms_norm_eps", -1), ("rms_norm_eps", 10**400), ("vocab_size", 10**400),
    ("rope_parameters", [1]),
    ("rope_parameters", {"rope_type": "longrope"}), ("tie_word_embeddings", 1),
    ("rope_parameters", {"rope_type": "linear"}), ("hidden_act", "mish"), ("hidden_act", {}),
    ("num_key_value_heads", 3), ("head_dim", 5), ("pretraining_tp", 2), ("attention_dropout", 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), CAPS)
def test_config_values_are_refused_by_key(key: str, value: Any, tmp_path: Path) -> None:
    save_model(build_model(LLAMA, seed=1), tmp_path)
    edit(tmp_path, **{key: value})
    text = refusal(tmp_path)
    assert str(tmp_path / "config.json") in text
    assert key in text or "factor" in text


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe{}", b'{"a": ' + b"[" * 200_000, b"9" * 5000],
    ids=["empty", "torn", "list", "null", "not UTF-8", "deep", "long number"],
)
def test_config_that_is_no_object(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert "config.json" in refusal(tmp_path)


def test_config_beyond_any_sense_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b" " * (16 * 1024**2 + 1))
    assert "larger than" in refusal(tmp_path)


def test_folder_without_config(tmp_path: Path) -> None:
    assert "no model folder" in refusal(tmp_path)


def test_unknown_family_names_the_nearest(folder: Path) -> None:
    edit(folder, model_type="lama")
    assert "'lama' is unknown, nearest is llama; known: " in refusal(folder)
    edit(folder, model_type=["gpt2"])
    assert "unknown" in refusal(folder)
    edit(folder, model_type=None)
    assert "model_type: missing" in refusal(folder)


def test_python_files_in_a_folder_are_never_imported(folder: Path) -> None:
    """C4: auto_map names code; it is not looked at."""
    (folder / "modeling_evil.py").write_text("raise SystemExit('ran')")
    edit(folder, auto_map={"AutoModel": "modeling_evil.Evil"}, trust_remote_code=True)
    load_model(folder)


def test_quantized_folder_is_refused(folder: Path) -> None:
    edit(folder, quantization_config={"quant_method": "gptq"})
    assert "quantization_config" in refusal(folder)


def test_manifest_is_held_against_the_files(folder: Path, tmp_path: Path) -> None:
    """C7: a published folder that was changed afterwards."""
    model, _ = load_model(folder)
    published = tmp_path / "published"
    publish_folder(published, lambda partial: save_model(model, partial))
    load_model(published)
    path = published / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    text = refusal(published)
    assert hashlib.sha256(content).hexdigest()[:16] in text
    assert "the manifest says" in text


def test_damaged_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")
    assert "manifest.json" in refusal(folder)


def test_loading_converts_type_without_touching_the_file(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    model, _ = load_model(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert (folder / "model.safetensors").read_bytes() == before


def test_loaded_parameters_can_be_trained(folder: Path) -> None:
    model, _ = load_model(folder)
    total, count = model(torch.tensor([[1, 2, 3]])).cross_entropy(torch.tensor([[2, 3, 4]]))
    (total / count).backward()
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())
    assert not model.training


def test_model_without_biases_is_written_with_zeros(tmp_path: Path) -> None:
    model = build_model(GPT.with_values({"bias": False}), seed=1)
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())
    save_model(model, tmp_path)
    biases = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if "bias" in k}
    assert len(biases) == 2 * 6 + 1
    assert not any(bias.any() for bias in biases.values())
    again, values = load_model(tmp_path)
    assert values["ownlm"] == {"bias": False}
    assert not any(name.endswith("bias") for name, _ in again.named_parameters())
    edit_tensors(tmp_path, lambda held: held["transformer.ln_f.bias"].add_(1))
    assert "transformer.ln_f.bias is not zero" in refusal(tmp_path)


def test_initialisation_follows_the_table() -> None:
    config = ModelConfig(vocab=500, dim=64, heads=4, layers=8, bias=True)
    for family in ("gpt2", "llama"):
        model = build_model(config.with_values({"family": family}), seed=1)
        deviation = {n: float(p.detach().std()) for n, p in model.named_parameters() if p.ndim == 2}
        for name, found in deviation.items():
            branch = name.endswith(("body.o.weight", "body.down.weight"))
            assert found == pytest.approx(0.02 / 4 if branch else 0.02, rel=0.06), name
        ones = {n for n, p in model.named_parameters() if p.ndim == 1 and bool((p == 1).all())}
        zeros = {n for n, p in model.named_parameters() if p.ndim == 1 and not p.any()}
        assert all("norm" in name and name.endswith("weight") for name in ones)
        assert all(name.endswith("bias") for name in zeros)
        assert len(ones) + len(zeros) + len(deviation) == len(list(model.parameters()))


def test_initialisation_is_a_function_of_seed_and_name() -> None:
    one, same, other, deep = (
        dict(build_model(GPT.with_values({"layers": n}), seed=seed).named_parameters())
        for n, seed in ((2, 1), (2, 1), (2, 2), (3, 1))
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["embed.tokens.weight"], other["embed.tokens.weight"])
    name = "stack.blocks.1.attn.body.qkv.weight"
    assert torch.equal(one[name], deep[name])
    assert not torch.equal(one[name], one[name.replace("1", "0")])


def test_seed_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    build_model(GPT, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_vocabulary_must_be_known() -> None:
    with pytest.raises(ConfigError, match="vocabulary"):
        build_model(GPT.with_values({"vocab": 0}), seed=1)


def test_unknown_family_in_a_configuration() -> None:
    with pytest.raises(ConfigError, match="nearest is gpt2"):
        build_model(GPT.with_values({"family": "gpt-2"}), seed=1)


def test_tokens_and_dropout_are_kept(tmp_path: Path) -> None:
    for config in (GPT, LLAMA):
        model = build_model(config.with_values({"dropout": 0.25}), seed=1)
        set_tokens(model, bos=None, eos=3, pad=4)
        save_model(model, tmp_path)
        again, values = load_model(tmp_path)
        assert (values["bos_token_id"], values["eos_token_id"], values["pad_token_id"]) == (
            None, 3, 4,
        )  # fmt: skip
        assert json.loads((tmp_path / "generation_config.json").read_text()) == {
            "eos_token_id": 3,
            "pad_token_id": 4,
        }
        assert again.architecture == model.architecture
        assert saved_config(again) == values


def test_sizes_are_what_the_papers_say() -> None:
    """As published with the weights; GPT-3's come within 3 % of its table 2.1."""
    from ownlm.models.families import SIZES
    from ownlm.models.load import empty_model, family_of, hf_values

    expected = {
        "gpt2-124m": 124_439_808, "gpt2-355m": 354_823_168, "gpt2-774m": 774_030_080,
        "gpt2-1.5b": 1_557_611_200, "llama-260k": 260_032, "llama-15m": 15_191_712,
        "llama-7b": 6_738_415_616, "llama3-8b": 8_030_261_248, "gpt1-117m": 116_534_784,
        "gpt3-125m": 125_226_240, "gpt3-175b": 174_604_259_328, "ctrl-1.6b": 1_637_964_550,
        "pythia-160m": 162_322_944, "gpt-neox-20b": 20_554_567_680,
        "mistral-7b-v0.1": 7_241_732_096, "mixtral-8x7b": 46_702_792_704,
        "qwen2.5-0.5b": 494_032_768, "qwen3-0.6b": 596_049_920, "qwen3-8b": 8_190_735_360,
        "qwen3-30b-a3b": 30_532_122_624, "olmo2-7b": 7_298_617_344, "smollm3-3b": 3_075_098_624,
        "gemma-2b": 2_506_172_416, "gemma2-2b": 2_614_341_888, "gemma3-1b": 999_885_952,
        "phi3-mini-4k": 3_821_079_552,
    }  # fmt: skip
    for name, count in expected.items():
        values = hf_values(SIZES[name])
        assert count_parameters(empty_model(family_of(values), values, "")) == count, name


def test_many_faults_are_told_in_a_few_lines(tmp_path: Path) -> None:
    """Thousands of experts differ in a number only; each kind of fault is still told."""
    config = LLAMA.with_values({"family": "mixtral", "experts": 16, "experts_chosen": 2})
    save_model(build_model(config, seed=1), tmp_path)
    edit(tmp_path, intermediate_size=48)
    text = refusal(tmp_path)
    assert "96 tensors do not fit" in text and len(text.splitlines()) < 8
    for part in ("w1", "w2", "w3"):
        (line,) = [line for line in text.splitlines() if f".{part}.weight" in line]
        assert line.startswith("  wrong shape model.layers.0.block_sparse_moe.experts.0.")
        assert line.endswith("found [32, 8] (and 31 like it)") or part == "w2"


def test_unknown_family_without_a_near_name_is_told_by_its_keys(folder: Path) -> None:
    family = json.loads((folder / "config.json").read_text())["model_type"]
    for kind in ("stable-something", None):
        edit(folder, model_type=kind)
        assert f"nearest is by its keys {family}; known: " in refusal(folder)


@pytest.mark.parametrize(("pad", "kept"), [(7, 1), (None, 1), (1, 1)])
def test_roberta_keeps_the_number_that_its_positions_begin_behind(
    pad: int | None, kept: int, tmp_path: Path
) -> None:
    config = ModelConfig(family="roberta", vocab=11, dim=8, heads=2, layers=1, context=16)
    model, ids = build_model(config, seed=1).eval(), torch.tensor([[3, 4, 5]])
    set_tokens(model, bos=0, eos=2, pad=pad)
    save_model(model, tmp_path)
    again, values = load_model(tmp_path)
    assert (values["pad_token_id"], values["eos_token_id"]) == (kept, 2)
    assert torch.equal(again(ids).logits, model(ids).logits)
    edit(tmp_path, pad_token_id=4)  # the trap: other rows of the position table
    edit_tensors(tmp_path, lambda held: held)
    assert not torch.allclose(load_model(tmp_path)[0](ids).logits, model(ids).logits)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt-neox", "ctrl", "mixtral", "gemma3"])
def test_a_new_decoder_under_a_head(family: str, tmp_path: Path) -> None:
    head = {"head": "ForSequenceClassification", "labels": 3}
    config = LLAMA.with_values({"family": family, "dim": 16, **head})
    model = build_model(config, seed=1).eval()
    ids = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    scores = model(ids, mask).logits
    assert scores.shape == (2, 3) and torch.allclose(
        scores[:1], model(ids[:1, :3]).logits, atol=1e-6
    )
    save_model(model, tmp_path)
    again, values = load_model(tmp_path)
    assert values["architectures"][0].endswith("ForSequenceClassification")
    assert torch.equal(again(ids, mask).logits, scores)
    with pytest.raises(ConfigError, match="nearest is ForSequenceClassification"):
        build_model(config.with_values({"head": "ForSequenceClasification"}), seed=1)


def spoil(folder: Path, name: str, value: float) -> None:
    def change(held: dict[str, torch.Tensor]) -> None:
        held[name].view(-1)[-1] = value

    edit_tensors(folder, change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(
    value: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C5: warned of, refused, or let through; of a fused matrix only the part that is broken."""
    save_model(build_model(LLAMA, seed=1), tmp_path)
    names = ("model.norm.weight", "model.layers.1.self_attn.k_proj.weight")
    for name in names:
        spoil(tmp_path, name, value)
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path, nonfinite="refuse")
    for name in names:
        assert name in caught.value.what
    assert "NaN or infinity in 2 tensors" in caught.value.what
    assert "q_proj" not in caught.value.what
    assert caught.value.where == str(tmp_path)
    model, _ = load_model(tmp_path)
    assert "warning" in (shown := capsys.readouterr().err)
    assert names[1] in shown.replace("\n", "")
    load_model(tmp_path, nonfinite="allow")
    assert not capsys.readouterr().err
    assert not torch.isfinite(dict(model.named_parameters())["stack.norm.weight"]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_large_weights_are_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    """Their sum overflows; they do not."""
    model = build_model(LLAMA, seed=1, dtype=dtype)
    with torch.no_grad():
        model.embed.tokens.weight.fill_(torch.finfo(dtype).max)
    save_model(model, tmp_path)
    load_model(tmp_path, nonfinite="refuse")


def test_weights_beyond_the_wanted_type_are_not_let_in_silently(tmp_path: Path) -> None:
    save_model(build_model(LLAMA, seed=1), tmp_path)
    spoil(tmp_path, "model.norm.weight", 1e6)
    load_model(tmp_path, nonfinite="refuse")
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
        load_model(tmp_path, dtype=torch.float16, nonfinite="refuse")


def test_a_file_cut_while_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "model.safetensors"
    files = tensors.find_files(folder)
    path.write_bytes(path.read_bytes()[:-4])
    last = max(files.entries, key=lambda name: files.entries[name].end)
    with pytest.raises(CheckpointError, match="ends early"):
        files.read(last)
    assert files.mapped([last], torch.float32) is None  # reading tells why


def plainly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The parameters of a folder where nothing can be mapped."""

    def fail(*args: Any, **options: Any) -> None:
        raise OSError("no such device")

    with monkeypatch.context() as patch:
        patch.setattr(tensors.mmap, "mmap", fail)
        return list(load_model(folder)[0].parameters())


def test_mapped_weights_are_those_that_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plainly(folder, monkeypatch)
    before = (folder / "model.safetensors").read_bytes()
    model, _ = load_model(folder)
    pairs = list(zip(model.named_parameters(), expected, strict=True))
    assert all(torch.equal(p, q) and p.stride() == q.stride() for (_, p), q in pairs)
    mapped = {n for n, p in model.named_parameters() if p.untyped_storage().nbytes() >= len(before)}
    assert not [q for q in expected if q.untyped_storage().nbytes() >= len(before)]
    names = dict(model.named_parameters())
    assert mapped < set(names)  # GPT-2's are transposed, LLaMA's q, k and v lie apart
    gates = {name for name in names if name.endswith("gate_up.weight")}
    assert mapped >= gates  # whose two halves lie end to end
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert (folder / "model.safetensors").read_bytes() == before
    save_model(model, folder)  # over the file that is mapped
    again, _ = load_model(folder)
    assert all(map(torch.equal, again.parameters(), model.parameters()))
    assert not any(map(torch.equal, again.parameters(), expected))


def test_weights_of_another_type_or_at_odd_places_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old files do not pad their header, so numbers may stand at any byte."""
    save_model(build_model(LLAMA, seed=1), tmp_path)
    expected = plainly(tmp_path, monkeypatch)
    half, _ = load_model(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length] + b" "
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    found = load_model(tmp_path)[0].parameters()
    assert all(map(torch.equal, found, expected))
