"""Models as GGUF files: the tables of gguf_layouts.py read backwards.

What llama.cpp keeps otherwise than a Hugging Face folder is done here as gguf_model.py undoes it:
rotary pairs side by side (LLaMA), norm weights around one (Gemma), GPT-2's matrices transposed.
The `gguf` package, which llama.cpp's own converter uses, writes the bytes.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.files import disk_errors, make_folder, sync_file
from ownlm.models.family import Architecture
from ownlm.models.gguf_layouts import LAYOUTS, ROPE_FACTORS, Layout, llama3_factors
from ownlm.models.model import Model
from ownlm.models.weights import export
from ownlm.nn.config import RopeConfig, StackConfig

Numbers = Literal["F32", "F16", "Q8_0"]
FILE_TYPES: Mapping[Numbers, int] = {"F32": 0, "F16": 1, "Q8_0": 7}
"""llama.cpp's number of a file that is mostly of one type."""
_NAMED = {"mistral": "llama", "gemma3_text": "gemma3"}
"""`model_type` -> `general.architecture`, where the two differ."""
_SLIDING = ("gemma2", "gemma3")
_BLOCK = 32
_LARGEST_HALF = 65_504.0
_LAYER = re.compile(r"(\d+)\.(.+)")


class Entry(NamedTuple):
    """A tensor of the file to be: its name, the type it gets, and its numbers."""

    name: str
    kind: Numbers
    values: Tensor


def architecture_named(model: Model) -> str:
    """llama.cpp's name for a model; ConfigError where our reader knows none."""
    kind = str(model.config.get("model_type"))
    name = _NAMED.get(kind, kind)
    if name not in LAYOUTS or not model.architecture.form.endswith(("ForCausalLM", "LMHeadModel")):
        known = ", ".join(sorted({*LAYOUTS, *_NAMED} - {*_NAMED.values()} | {"gemma3", "llama"}))
        raise ConfigError(
            f"{model.family.name}{model.architecture.form}: no such model can be written as GGUF",
            where="--to gguf",
            next_command=f"writable: models that continue text, of {known}",
        )
    return name


def metadata_of(model: Model, numbers: Numbers) -> dict[str, Any]:
    """What the file says about the model; the tokenizer's part is tokenization/to_gguf.py's."""
    name, a = architecture_named(model), model.architecture
    if name not in _SLIDING and any(0 < window < a.context for window in a.stack.windows):
        raise ConfigError(
            f"a sliding window of {max(a.stack.windows)} tokens has no place in llama.cpp's {name}",
            where="--to gguf",
            next_command="windows as long as the context are written, and those of Gemma 2 and 3",
        )
    keys = _shape(a) | (_gpt2(a) if name == "gpt2" else _rotary(a, model.config))
    return {
        "general.architecture": name,
        "general.file_type": FILE_TYPES[numbers],
        "general.quantization_version": 2,
        **{f"{name}.{key}": value for key, value in keys.items()},
    }


def _shape(a: Architecture) -> dict[str, Any]:
    s = a.stack
    return {
        "context_length": a.context,
        "embedding_length": s.dim,
        "block_count": s.layers,
        "feed_forward_length": s.hidden,
        "attention.head_count": s.heads,
        "vocab_size": a.embed.vocab,
    }


def _gpt2(a: Architecture) -> dict[str, Any]:
    return {"attention.layer_norm_epsilon": a.stack.norm_eps}


def _rotary(a: Architecture, config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of LLaMA and its relatives; windows and caps where there are any."""
    s, ropes = a.stack, _ropes(a.stack)
    window = max(s.windows)
    near = next((kind.rope for kind in s.kinds if kind.window and kind.rope), None)
    caps = {
        "final_logit_softcapping": a.head.softcap,
        "attn_logit_softcapping": config.get("attn_logit_softcapping") or 0.0,
    }
    return {
        "attention.head_count_kv": s.kv_heads,
        "attention.layer_norm_rms_epsilon": s.norm_eps,
        "attention.key_length": s.head_dim,
        "attention.value_length": s.head_dim,
        "rope.dimension_count": s.head_dim,
        **({"attention.sliding_window": window} if window else {}),
        **({"rope.freq_base_swa": near.theta} if near and len(ropes) > 1 else {}),
        **{key: float(cap) for key, cap in caps.items() if cap},
        **_stretched(ropes[0]),
    }


def _ropes(s: StackConfig) -> list[RopeConfig]:
    """The rotary positions of layers that see all, then of others."""
    kinds = sorted((s.kind(layer) for layer in range(s.layers)), key=lambda kind: bool(kind.window))
    found = dict.fromkeys(kind.rope for kind in kinds)
    if None in found:
        raise ConfigError("layers without positions have no place in a GGUF file", where="model")
    return [rope for rope in found if rope is not None]


def _stretched(rope: RopeConfig) -> dict[str, Any]:
    keys: dict[str, Any] = {"rope.freq_base": rope.theta}
    scaling = rope.scaling
    if scaling is None or scaling.kind in ("llama3", "longrope"):  # see `_factors`
        return keys
    keys |= {"rope.scaling.type": scaling.kind, "rope.scaling.factor": scaling.factor}
    if scaling.kind == "yarn":
        keys["rope.scaling.original_context_length"] = scaling.original
    return keys


def tensors_of(model: Model, numbers: Numbers) -> Iterator[Entry]:
    """All tensors under llama.cpp's names, as it keeps them."""
    layout, s = LAYOUTS[architecture_named(model)], model.architecture.stack
    heads = {"attn_q": s.heads, "attn_k": s.kv_heads}
    for name, tensor in export(model, model.family.names(model.architecture)).items():
        theirs = _theirs(layout, name)
        *_, part, leaf = theirs.split(".")
        if layout.around_one and theirs.endswith("norm.weight"):
            tensor = tensor.float() + 1
        if layout.rotated and part in heads:
            tensor = _paired(tensor, heads[part])
        if leaf == "weight" and part in layout.transposed:
            tensor = tensor.T
        yield Entry(theirs, _kind(theirs, tensor, numbers), tensor)
    yield from _factors(model.architecture)


def _theirs(layout: Layout, name: str) -> str:
    """llama.cpp's name of a tensor of a Hugging Face folder."""
    backwards = {inner: theirs for theirs, inner in layout.names.items()}
    base, _, leaf = name.rpartition(".")
    layer = _LAYER.fullmatch(base.removeprefix(layout.layers))
    inner = layer[2] if layer else base
    if inner not in backwards:
        raise ConfigError(f"{name}: this tensor has no place in a GGUF file", where="--to gguf")
    return f"{f'blk.{layer[1]}.' if layer else ''}{backwards[inner]}.{leaf}"


def _kind(name: str, tensor: Tensor, numbers: Numbers) -> Numbers:
    """The type of one tensor: vectors and positions keep float32, as llama.cpp wants them."""
    if tensor.dim() < 2 or name.startswith("position_embd"):
        return "F32"
    if numbers == "Q8_0" and tensor.shape[-1] % _BLOCK:
        numbers = "F16"
    too_large = numbers != "F32" and float(tensor.abs().max()) > _LARGEST_HALF
    return "F32" if too_large else numbers


def _paired(tensor: Tensor, heads: int) -> Tensor:
    """Rows of each head from first halves, then second halves, to pairs side by side."""
    halves: Tensor = tensor.unflatten(0, (heads, 2, -1))
    return halves.transpose(1, 2).flatten(0, 2)


def _factors(a: Architecture) -> Iterator[Entry]:
    """What divides each rotary frequency, where a file lists that."""
    rope = a.stack.kind(0).rope
    scaling = rope.scaling if rope is not None else None
    if rope is None or scaling is None or scaling.kind not in ("llama3", "longrope"):
        return
    if scaling.kind == "longrope":
        factors = np.array(scaling.long_factors, np.float32)
    else:
        factors = llama3_factors(scaling, rope.theta, a.stack.head_dim)
    yield Entry(ROPE_FACTORS, "F32", _tensor(factors))


def _tensor(values: NDArray[np.float32]) -> Tensor:
    import torch

    return torch.from_numpy(values)


def write_gguf(path: Path, metadata: Mapping[str, Any], entries: list[Entry]) -> None:
    """Write a file, one tensor in memory at a time beside the model. Raises DiskError."""
    gguf = _package()
    with disk_errors(path):
        make_folder(path.parent)
        writer = gguf.GGUFWriter(path, metadata["general.architecture"])
        try:
            for key, value in metadata.items():
                if key != "general.architecture":
                    writer.add_key_value(key, value, *_types(gguf, value))
            for entry in entries:
                data = _stored(gguf, entry)
                kind = gguf.GGMLQuantizationType[entry.kind]
                writer.add_tensor_info(entry.name, data.shape, data.dtype, data.nbytes, kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for entry in entries:
                writer.write_tensor_data(_stored(gguf, entry))
        finally:
            writer.close()
        sync_file(path)


def _stored(gguf: Any, entry: Entry) -> NDArray[Any]:
    """The numbers of a tensor in its type."""
    values = entry.values.detach().float().contiguous().numpy()
    if entry.kind == "Q8_0":
        packed: NDArray[np.uint8] = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        return packed
    return values.astype(np.float16) if entry.kind == "F16" else values


def _types(gguf: Any, value: Any) -> tuple[Any, ...]:
    """A value's type, and of a list that of what it holds, as llama.cpp asks for them."""
    t = gguf.GGUFValueType
    if isinstance(value, list):
        inner = {str: t.STRING, float: t.FLOAT32, int: t.INT32}
        return t.ARRAY, inner[type(value[0])]
    return ({str: t.STRING, float: t.FLOAT32, int: t.UINT32, bool: t.BOOL}[type(value)],)


def _package() -> Any:
    try:
        import gguf
    except ImportError:
        raise ConfigError(
            "writing GGUF files needs the gguf package",
            where="--to gguf",
            next_command="pip install 'ownlm[convert]'",
        ) from None
    return gguf
