"""Build, load and save models; a model folder is a Hugging Face folder.

config.json  model.safetensors  generation_config.json  (tokenizer files beside them)

A GGUF file is read as if it were such a folder.
"""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ownlm.errors import CheckpointError, ConfigError
from ownlm.files import MANIFEST, sha256, write_json
from ownlm.log import warn
from ownlm.models.config import ModelConfig
from ownlm.models.families import family_named, family_of
from ownlm.models.family import Family, refuse
from ownlm.models.gguf import is_gguf, read_gguf
from ownlm.models.gguf_model import GGUFTensors, config_of
from ownlm.models.hf_config import read_config
from ownlm.models.model import Model, SingleStack, make_model
from ownlm.models.patterns import architecture_of, with_pattern_written
from ownlm.models.tensors import Tensors, find_files
from ownlm.models.weights import export, fill
from ownlm.models.write import write_tensors
from ownlm.nn.initialise import initialise
from ownlm.nn.lora import Adapted
from ownlm.nn.quantize import QuantizedLinear

Nonfinite = Literal["warn", "refuse", "allow"]


def build_model(
    config: ModelConfig | dict[str, Any],
    *,
    seed: int,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SingleStack:
    """A new model of one stack, filled by its family's initialisation policy.

    `config` is what a user chose or the content of a config.json. Raises ConfigError when the
    vocabulary's size is still open.
    """
    return _single(build_any(config, seed=seed, device=device, dtype=dtype), "config.json")


def build_any(
    config: ModelConfig | dict[str, Any],
    *,
    seed: int,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Model:
    """The same for a model of any kind, an EncoderDecoder too."""
    values = hf_values(config) if isinstance(config, ModelConfig) else config
    model = empty_model(family_of(values), values, "config.json")
    model.to(dtype).to_empty(device=device)
    architecture = model.architecture
    initialise(model, architecture.init, 2 * architecture.stack.layers, seed)
    return model


def hf_values(config: ModelConfig) -> dict[str, Any]:
    """The config.json of a new model."""
    if not config.vocab:
        raise ConfigError(
            "the vocabulary's size is not known yet",
            where="model.vocab",
            next_command="set model.vocab, or give the data or tokenizer that decides it",
        )
    values = family_named(config.family).to_hf(config)
    if "mem_len" not in values:
        refuse(config, "memory")
    return with_pattern_written(values, config)


def load_model(
    folder: Path | str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    nonfinite: Nonfinite = "warn",
) -> tuple[SingleStack, dict[str, Any]]:
    """The model of one stack in a folder, and its config.json; in evaluation mode.

    `dtype` None keeps the stored type. Weights that are NaN or infinite are warned of, refused,
    or allowed. Raises CheckpointError that names the file, key or tensors, before any parameter
    is allocated.
    """
    model, values = load_any(folder, device, dtype, nonfinite)
    return _single(model, _described(Path(folder))), values


def load_any(
    folder: Path | str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    nonfinite: Nonfinite = "warn",
) -> tuple[Model, dict[str, Any]]:
    """The same for a model of any kind, an EncoderDecoder too."""
    folder = Path(folder)
    values, model = sketched(folder)
    broken = fill(
        model,
        model.family.names(model.architecture),
        checked_files(folder),
        device=torch.device(device),
        dtype=dtype,
        where=str(folder),
    )
    report_nonfinite(broken, str(folder), nonfinite)
    return model.eval(), values


def sketched(folder: Path) -> tuple[dict[str, Any], Model]:
    """config.json of a folder, or what a GGUF file amounts to, and the model that it describes,
    without storage."""
    where = _described(folder)
    values = config_of(read_gguf(folder)) if is_gguf(folder) else read_config(folder)
    _refuse_quantized(values, where)
    return values, empty_model(family_of(values, where), values, where)


def _described(folder: Path) -> str:
    return str(folder if is_gguf(folder) else folder / "config.json")


def report_nonfinite(names: list[str], where: str, nonfinite: Nonfinite) -> None:
    """Warn of tensors that hold NaN or infinity, or refuse them."""
    if not names or nonfinite == "allow":
        return
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    what = f"NaN or infinity in {len(names)} tensors: {shown}"
    if nonfinite == "refuse":
        raise CheckpointError(what, where=where, next_command="use an earlier checkpoint")
    warn(f"{where}: {what}")


def checked_files(folder: Path) -> Tensors:
    """The weights of a folder, held against its manifest when it has one, or of a GGUF file."""
    if is_gguf(folder):
        return GGUFTensors(read_gguf(folder))
    files = find_files(folder)
    _check_manifest(folder, {folder / "config.json", *files.paths.values()})
    return files


def save_model(model: Model, folder: Path | str, max_shard_bytes: int | None = None) -> None:
    """Write config.json, model.safetensors and generation_config.json, each at once.

    `max_shard_bytes` cuts weights that take more into several files and an index of them.
    ConfigError for a model with low-rank additions, which such a folder cannot hold.
    """
    folder = Path(folder)
    _refuse_additions(model)
    tensors = export(model, model.family.names(model.architecture))
    write_tensors(tensors, folder, max_shard_bytes)
    write_json(folder / "config.json", saved_config(model))
    write_json(folder / "generation_config.json", _generation(model.config))


def _refuse_additions(model: Model) -> None:
    if any(isinstance(part, (Adapted, QuantizedLinear)) for part in model.modules()):
        raise ConfigError(
            "a model folder cannot hold low-rank additions or quantized weights",
            where="save",
            next_command="save the adapter (models.adapters), or merge it first (models.adapt)",
        )


def saved_config(model: Model) -> dict[str, Any]:
    """config.json as it will be written: the model's, with the type of its parameters."""
    values = {k: v for k, v in model.config.items() if k != "torch_dtype"}
    return values | {"dtype": str(model.dtype).removeprefix("torch.")}


def set_tokens(model: Model, *, bos: int | None, eos: int | None, pad: int | None) -> None:
    """Name the tokenizer's control ids in the config.json that the model will be saved with.

    A number that the model counts on stays as it is: RoBERTa's positions begin behind its
    padding's.
    """
    if "decoder_start_token_id" in model.config:
        start = {"pad": pad, "end": eos}[decoder_start(model.config)]
        model.config["decoder_start_token_id"] = start
    for key, value in {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}.items():
        if _is_the_same(model, model.config | {key: value}):
            model.config[key] = value


def _is_the_same(model: Model, changed: dict[str, Any]) -> bool:
    try:
        return architecture_of(model.family, changed) == model.architecture
    except CheckpointError:
        return False


def decoder_start(values: dict[str, Any]) -> Literal["pad", "end"]:
    """Which token a config.json gives the decoder first: padding (T5, Marian), the end (BART)."""
    first = values.get("decoder_start_token_id")
    return "end" if first is not None and first == values.get("eos_token_id") else "pad"


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers; a tied table counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def empty_model(family: Family, values: dict[str, Any], where: str) -> Model:
    """The model that a config.json describes, without storage."""
    architecture = architecture_of(family, values, where)
    with torch.device("meta"):
        return make_model(architecture, family, dict(values))


def _single(model: Model, where: str) -> SingleStack:
    if isinstance(model, SingleStack):
        return model
    raise CheckpointError(
        f"{model.family.name} is an encoder-decoder, which this cannot use",
        where=where,
        next_command="name a model of one stack, such as GPT-2 or BERT",
    )


def _refuse_quantized(values: dict[str, Any], where: str) -> None:
    if values.get("quantization_config"):
        raise CheckpointError(
            "quantization_config: quantized folders cannot be read",
            where=where,
            next_command="load the model it was made from",
        )


def _check_manifest(folder: Path, used: set[Path]) -> None:
    """Hash the files that are read against the folder's manifest, when it has one."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        expected = {path: str(entries[path.name]["sha256"]) for path in used}
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError("damaged, or a file is not listed", where=str(manifest)) from None
    for path, digest in sorted(expected.items()):
        if (found := sha256(path)) != digest:
            raise CheckpointError(
                f"damaged: sha256 {found[:16]}…, the manifest says {digest[:16]}…",
                where=str(path),
                next_command="use an earlier checkpoint",
            )


def _generation(values: dict[str, Any]) -> dict[str, Any]:
    kept = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {key: values[key] for key in kept if values.get(key) is not None}
