"""Which weights of a pretrained model move: all, the last blocks, the head, or low-rank additions.

model, _ = load_any(folder)
adapt(model, AdaptConfig(kind="lora", targets=("q", "v")), seed=1)
...                                  # train: what does not require a gradient stays as it is
merge(model)                         # a plain model again, checked against the adapted one
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from ownlm.errors import ConfigError
from ownlm.models.adapt_config import AdaptConfig
from ownlm.models.model import Model, make_model
from ownlm.models.weights import Item, Piece, plan
from ownlm.nn.linear import Linear
from ownlm.nn.lora import Adapted, Lora, Part
from ownlm.nn.quantize import QuantizedLinear

MATRICES = {
    "qkv": ("q", "k", "v"), "q": ("q",), "kv": ("k", "v"), "o": ("o",),
    "gate_up": ("gate", "up"), "up": ("up",), "down": ("down",),
}  # fmt: skip
"""Layers of a block, by the last part of their names, and the matrices that their rows are."""


def adapt(model: Model, config: AdaptConfig, seed: int) -> None:
    """Freeze what is not to move, and give frozen matrices their additions, in place.

    A head over classes always trains, and so it does with an addition. The additions follow from
    `seed` and their names. ConfigError where nothing would move.
    """
    if frozen_forms(model):
        raise ConfigError(
            "this model has low-rank additions already",
            where="adapt.kind",
            next_command="merge it first, or begin with the model it was made from",
        )
    if config.low_rank:
        _attach(model, config, seed)
    wanted = _chosen(model, config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)


def trainable(model: nn.Module) -> list[str]:
    """Names of the parameters that train."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def adapted(model: nn.Module) -> dict[str, Adapted]:
    """Layers with an addition, by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, Adapted)}


def frozen_forms(model: nn.Module) -> dict[str, Adapted | QuantizedLinear]:
    """Layers that are no longer plain: with an addition, or quantized."""
    kinds = (Adapted, QuantizedLinear)
    found = {name: part for name, part in model.named_modules() if isinstance(part, kinds)}
    return {name: part for name, part in found.items() if not name.endswith(".base")}


def _chosen(model: Model, config: AdaptConfig) -> set[str]:
    names = [name for name, _ in model.named_parameters()]
    if config.kind == "all":
        return set(names)
    if config.low_rank:
        begins: tuple[str, ...] = ("task.",)
        found = {name for name in names if ".lora." in name}
    else:
        begins, found = ("task.", "head."), set()
    if config.kind == "last":
        begins += _last(model, config.layers)
    found |= {name for name in names if name.startswith(begins)}
    if not found:
        raise ConfigError(
            f"the head of {model.family.name} is its token table, and nothing else would train",
            where="adapt.kind",
            next_command="--adapt.kind last, or lora",
        )
    return found


def _last(model: Model, count: int) -> tuple[str, ...]:
    """Beginnings of the names of the last blocks and the norm after them."""
    blocks = getattr(model.stack, "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ConfigError(
            f"{model.family.name} has no blocks to choose the last ones of",
            where="adapt.kind",
            next_command="--adapt.kind all",
        )
    if count > len(blocks):
        raise ConfigError(
            f"{count} blocks were asked for, the model has {len(blocks)}",
            where="adapt.layers",
            next_command=f"--adapt.layers {len(blocks)} or fewer, or --adapt.kind all",
        )
    return "stack.norm.", *(f"stack.blocks.{n}." for n in range(len(blocks) - count, len(blocks)))


# ---- low-rank additions -----------------------------------------------------------------------


class Slot(NamedTuple):
    """A layer that can have an addition, and the matrices that the family keeps its rows in."""

    name: str
    layer: Linear
    pieces: tuple[Piece, ...]
    matrices: tuple[tuple[str, ...], ...]
    """Of each piece, what people call it: ("q",), or ("q", "k", "v") where it is all of them."""

    @property
    def targets(self) -> set[str]:
        """All the names."""
        return {name for names in self.matrices for name in names}

    def chosen(self, targets: set[str]) -> list[Piece]:
        """Pieces that one of `targets` names."""
        return [p for p, names in zip(self.pieces, self.matrices) if targets.intersection(names)]


def slots(model: Model) -> Iterator[Slot]:
    """Every layer of the blocks that can have an addition."""
    items = {item.ours: item for item in outline(model)}
    for name, layer in model.named_modules():
        names = MATRICES.get(name.rpartition(".")[2], ())
        if not (names and ".blocks." in name and isinstance(layer, Linear)):
            continue
        pieces = items[f"{name}.weight"].pieces
        parted = tuple((n,) for n in names) if len(pieces) == len(names) else (names,)
        assert len(parted) == len(pieces), f"{name}: {len(pieces)} pieces for {names}"
        yield Slot(name, layer, pieces, parted)


def outline(model: Model) -> list[Item]:
    """The table of a model's tensors as it is without additions."""
    with torch.device("meta"):
        bare = make_model(model.architecture, model.family, model.config)
    return plan(bare, model.family.names(model.architecture))


def _attach(model: Model, config: AdaptConfig, seed: int) -> None:
    found = list(slots(model))
    known = {name for slot in found for name in slot.targets}
    targets: set[str] = known if "all" in config.targets else set(config.targets)
    if not known or targets - known:
        raise ConfigError(
            f"{model.family.name} has no {', '.join(sorted(targets - known) or ['matrices'])} "
            "that can be adapted by low rank",
            where="adapt.targets",
            next_command=f"choose among {', '.join(sorted(known))}" if known else
            "--adapt.kind all",
        )  # fmt: skip
    for slot in found:
        quantized = QuantizedLinear(slot.layer, config.bits) if config.kind == "qlora" else None
        if pieces := slot.chosen(targets):
            made = with_addition(slot, pieces, config, quantized)
            _begin(made, slot.name, seed)
            replace_part(model, slot.name, made.train(model.training))
        elif quantized is not None:
            replace_part(model, slot.name, quantized)


def with_addition(
    slot: Slot, pieces: list[Piece], config: AdaptConfig, quantized: QuantizedLinear | None = None
) -> Adapted:
    """A slot's layer, or its quantized form, with an addition to some pieces, still of zeros."""
    weight, parts = slot.layer.weight, [Part(piece.begin, piece.end) for piece in pieces]
    outputs, inputs = weight.shape
    lora = Lora(
        inputs,
        outputs,
        parts,
        config.rank,
        config.alpha,
        config.dropout,
        dora=config.kind == "dora",
    )
    return Adapted(quantized or slot.layer, lora.to(weight))


def _begin(made: Adapted, name: str, seed: int) -> None:
    """B zero, so that all begins with the pretrained model; A uniform in +-1 / sqrt(inputs), as
    PEFT has it (He et al. 2015, with a gain of 1 / sqrt(3)); DoRA's lengths those of the rows."""
    lora = made.lora
    digest = hashlib.sha256(f"{seed}:{name}.lora.a".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
    bound = lora.a.shape[1] ** -0.5
    with torch.no_grad():
        lora.a.copy_(torch.empty(lora.a.shape).uniform_(-bound, bound, generator=generator))
        if lora.magnitude is not None:
            lora.magnitude.copy_(lora.rows(made.lengths()))


def replace_part(model: nn.Module, name: str, part: nn.Module) -> None:
    """Put `part` in the place of the module of that name."""
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, part)
