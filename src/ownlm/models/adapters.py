"""Adapter folders: low-rank additions, and heads that were trained beside them, as PEFT keeps them.

adapter_config.json  adapter_model.safetensors  config.json (of ours: the head, its labels)

PEFT calls an addition by the module of the reference that it belongs to:

    base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight     (R, I)
    base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight     (O, R)
    base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector     (O,), of DoRA

Here queries, keys and values are the rows of one layer, and so are their additions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ownlm.errors import CheckpointError, ConfigError
from ownlm.files import write_json
from ownlm.models.adapt import Slot, adapted, outline, replace_part, slots, with_addition
from ownlm.models.adapt_config import AdaptConfig
from ownlm.models.heads import SEQUENCE, SPAN, TOKEN
from ownlm.models.hf_config import Reader, read_config
from ownlm.models.load import saved_config
from ownlm.models.model import EncoderDecoder, Model
from ownlm.models.tensors import TensorFiles, Tensors
from ownlm.models.weights import Item, Piece, shortened
from ownlm.models.write import write_file
from ownlm.nn.lora import Adapted
from ownlm.nn.quantize import QuantizedLinear

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
BITS = "ownlm_base_bits"
"""Key of config.json, of ours: how many bits the base's matrices had in training."""
TASKS = {SEQUENCE: "SEQ_CLS", TOKEN: "TOKEN_CLS", SPAN: "QUESTION_ANS"}
"""PEFT's names of what a head is for."""
# fmt: off
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",), "bias": ("none",), "lora_bias": (False,),
    "rank_pattern": ({}, None), "alpha_pattern": ({}, None), "layer_replication": (None,),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
    "trainable_token_indices": (None,), "target_parameters": (None, []),
    "alora_invocation_tokens": (None,), "use_qalora": (False,), "use_bdlora": (None,),
    "velora_config": (None,), "monteclora_config": (None,), "kasa_config": (None,),
    "arrow_config": (None,),
}
# fmt: on
"""Options of adapter_config.json that would change the result; absent ones are as PEFT's own."""


class Entry(NamedTuple):
    """A tensor of an adapter folder, and where it is here."""

    name: str
    """Below PREFIX."""
    here: Tensor
    """A view of a parameter."""
    piece: Piece | None = None
    """How its rows lie on disk, where not as here."""

    @property
    def on_disk(self) -> Tensor:
        """As it is written."""
        there = self.here.detach()
        there = there if self.piece is None else self.piece.to_disk(there)
        return there.contiguous().cpu()

    def fill(self, there: Tensor) -> None:
        """Read what was written so."""
        with torch.no_grad():
            self.here.copy_(there if self.piece is None else self.piece.from_disk(there))


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / CONFIG).is_file()


# ---- writing ----------------------------------------------------------------------------------


def save_adapter(model: Model, folder: Path | str, base: str) -> None:
    """Write the additions of an adapted model, and all else that trained, for PEFT and for us.

    `base` is the folder or the name of the model they belong to. Raises ConfigError for a model
    without additions, DiskError.
    """
    folder, layers = Path(folder), adapted(model)
    if not layers:
        raise ConfigError(
            "this model has no low-rank additions to save",
            where="save",
            next_command="save it as a model (models.load.save_model)",
        )
    items = outline(model)
    found = [*additions(layers, items), *trained_heads(model, items)]
    tensors = {PREFIX + entry.name: entry.on_disk for entry in found}
    write_file(tensors, folder / WEIGHTS)
    write_json(folder / CONFIG, _config(model, layers, items, base))
    write_json(folder / "config.json", saved_config(model) | _bits(layers))


def additions(layers: Mapping[str, Adapted], items: Sequence[Item]) -> Iterator[Entry]:
    """A, B and lengths of every matrix that has an addition."""
    table = {item.ours: item for item in items}
    for name, layer in layers.items():
        pieces = {(piece.begin, piece.end): piece for piece in table[f"{name}.weight"].pieces}
        yield from _of_layer(layer, [pieces[part.begin, part.end] for part in layer.lora.parts])


def _of_layer(layer: Adapted, pieces: Sequence[Piece]) -> Iterator[Entry]:
    lora = layer.lora
    bs = lora.b.split(lora.sizes)
    lengths = None if lora.magnitude is None else lora.magnitude.split(lora.sizes)
    for number, (piece, a, b) in enumerate(zip(pieces, lora.a.split(lora.rank), bs, strict=True)):
        module = piece.theirs.removesuffix(".weight")
        rows = replace(piece, transpose=False)  # PEFT turns Conv1D's weight, not A and B
        yield Entry(f"{module}.lora_A.weight", a)
        yield Entry(f"{module}.lora_B.weight", b, rows)
        if lengths is not None:
            yield Entry(f"{module}.lora_magnitude_vector", lengths[number], rows)


def trained_heads(model: Model, items: Sequence[Item]) -> list[Entry]:
    """Parameters that train beside the additions."""
    live = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return [entry for item in items if item.ours in live for entry in _of_item(model, item)]


def _of_item(model: Model, item: Item) -> list[Entry]:
    whole = model.get_parameter(item.ours)
    return [Entry(piece.theirs, piece.rows(whole), piece) for piece in item.pieces]


def _config(
    model: Model, layers: Mapping[str, Adapted], items: Sequence[Item], base: str
) -> dict[str, Any]:
    lora = next(iter(layers.values())).lora
    modules = {piece.theirs.rpartition(".")[0] for item in items for piece in item.pieces}
    targets = {entry.name.partition(".lora_")[0] for entry in additions(layers, items)}
    heads = {entry.name.rpartition(".")[0] for entry in trained_heads(model, items)}
    turned = any(piece.transpose for item in items for piece in item.pieces)
    return {
        "peft_type": "LORA",
        "task_type": _task(model),
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha.is_integer() else lora.alpha,
        "lora_dropout": lora.drop.p,
        "target_modules": endings(targets, modules),
        "modules_to_save": roofs(heads, modules) or None,
        "fan_in_fan_out": turned,
        "use_dora": lora.magnitude is not None,
        "use_rslora": False,
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _task(model: Model) -> str | None:
    a = model.architecture
    if a.form in TASKS:
        return TASKS[a.form]
    if isinstance(model, EncoderDecoder):
        return "SEQ_2_SEQ_LM"
    return "CAUSAL_LM" if a.stack.causal and a.head.vocab else None


def _bits(layers: Mapping[str, Adapted]) -> dict[str, int]:
    base = next(iter(layers.values())).base
    return {BITS: base.bits} if isinstance(base, QuantizedLinear) else {}


def endings(wanted: set[str], modules: set[str]) -> list[str]:
    """The shortest endings of names that mean those wanted and no other module.

    >>> endings({"layers.0.q", "layers.1.q"}, {"layers.0.q", "layers.1.q", "layers.0.k"})
    ['q']
    """
    means: dict[str, set[str]] = {}
    for module in modules | wanted:
        words = module.split(".")
        for first in range(len(words)):
            means.setdefault(".".join(words[first:]), set()).add(module)

    def ending(module: str) -> str:
        words = module.split(".")
        tails = (".".join(words[first:]) for first in reversed(range(len(words))))
        return next(tail for tail in tails if means[tail] <= wanted)

    return sorted({ending(module) for module in wanted})


def roofs(wanted: set[str], modules: set[str]) -> list[str]:
    """The highest modules that hold nothing but those wanted.

    >>> roofs({"head.dense", "head.out"}, {"head.dense", "head.out", "body.dense"})
    ['head']
    """

    def roof(module: str) -> str:
        words = module.split(".")
        heads = (".".join(words[:count]) for count in range(1, len(words) + 1))
        return next(
            h for h in heads if {m for m in modules if f"{m}.".startswith(f"{h}.")} <= wanted
        )

    return sorted({roof(module) for module in wanted})


# ---- reading ----------------------------------------------------------------------------------


def load_adapter(model: Model, folder: Path | str, bits: int = 0) -> None:
    """Give a pretrained model the additions and heads of a folder, in place; they train.

    `bits` 4 or 8 quantizes the matrices below them. CheckpointError lists all that does not fit.
    """
    folder = Path(folder)
    config = read_adapter_config(folder, bits)
    files = TensorFiles([folder / WEIGHTS])
    prefix = model.family.names(model.architecture).prefix
    stored = {name.removeprefix(PREFIX).removeprefix(prefix): name for name in files.entries}
    made = _additions_of(model, config, stored, prefix)
    items = outline(model)
    found = list(additions(made, items))
    heads = [i for i in items if any(p.theirs.removeprefix(prefix) in stored for p in i.pieces)]
    found += [entry for item in heads for entry in _of_item(model, item)]
    names = {entry.name.removeprefix(prefix): entry for entry in found}
    _check(names, stored, files, str(folder / WEIGHTS))
    for name, entry in names.items():
        entry.fill(files.read(stored[name]))
    for name, layer in made.items():
        replace_part(model, name, layer.train(model.training))
    moving = {item.ours for item in heads}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora." in name or name in moving)


def read_adapter_config(folder: Path, bits: int = 0) -> AdaptConfig:
    """What adapter_config.json says; CheckpointError for what would change the result and is not
    supported here."""
    where = str(folder / CONFIG)
    h = Reader(read_config(folder, CONFIG), where)
    h.require(SUPPORTED)
    rank = h.integer("r", "width", 8)
    alpha = h.number("lora_alpha", 1e-6, 1e6, 8)
    if h.flag("use_rslora", False):  # Kalajdzievski 2023, arXiv:2312.03732: alpha / sqrt(rank)
        alpha *= rank**0.5
    values = {"rank": rank, "alpha": alpha, "dropout": h.number("lora_dropout", 0, 0.999, 0)}
    kind = "dora" if h.flag("use_dora", False) else "qlora" if bits else "lora"
    return AdaptConfig.parse({**values, "kind": kind, "bits": bits or 4}, where)


def _additions_of(
    model: Model, config: AdaptConfig, stored: Mapping[str, str], prefix: str
) -> dict[str, Adapted]:
    """Layers with additions, still of zeros, where the folder has some."""
    made = {}
    for slot in list(slots(model)):
        quantized = QuantizedLinear(slot.layer, config.bits) if config.kind == "qlora" else None
        if pieces := _held(slot, stored, prefix):
            made[slot.name] = with_addition(slot, pieces, config, quantized)
        elif quantized is not None:
            replace_part(model, slot.name, quantized)
    return made


def _held(slot: Slot, stored: Mapping[str, str], prefix: str) -> list[Piece]:
    modules = ((p, p.theirs.removesuffix(".weight").removeprefix(prefix)) for p in slot.pieces)
    return [p for p, m in modules if any(f"{m}.lora_{x}.weight" in stored for x in "AB")]


def _check(
    names: Mapping[str, Entry], stored: Mapping[str, str], files: Tensors, where: str
) -> None:
    faults = [f"missing {name}" for name in names if name not in stored]
    faults += [f"unexpected {there}" for name, there in stored.items() if name not in names]
    for name in names.keys() & stored.keys():
        expected, found = names[name].on_disk.shape, files.entries[stored[name]].shape
        if tuple(expected) != found:
            faults.append(f"wrong shape {name}: expected {list(expected)}, found {list(found)}")
    if not names:
        faults.append("no addition to a matrix of this model")
    if faults:
        raise CheckpointError(
            f"{len(faults)} tensors do not fit the base:\n  " + "\n  ".join(shortened(faults)),
            where=where,
            next_command="--base FOLDER, the model that the adapter was trained on",
        )
