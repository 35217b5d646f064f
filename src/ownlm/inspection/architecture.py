"""What a model is made of and what it needs: its modules, parameters and memory.

Works on models without storage (`torch.device("meta")`), so that a model of any size can be
looked at on any machine.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ownlm.models.families import family_of
from ownlm.models.load import count_parameters
from ownlm.models.model import EncoderDecoder, Model, make_model
from ownlm.models.patterns import architecture_of
from ownlm.nn.config import StackConfig
from ownlm.training.config import Precision
from ownlm.training.precision import narrowed

WIDTHS: dict[Precision, int] = {"fp32": 4, "mixed": 3, "bf16": 2}
"""Bytes a number that the backward pass needs; of a mixed run some are wide, some narrow."""


@dataclass(frozen=True)
class Part:
    """A module: its own tensors, the modules in it, and how often it stands there in a row."""

    name: str
    kind: str
    """Class of the module."""
    parameters: int
    """Of one such module with all that is in it; a shared tensor counts where it comes first."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Tensors that are parameters of this module itself."""
    parts: tuple["Part", ...] = ()
    repeats: int = 1


@dataclass(frozen=True)
class Memory:
    """Bytes a precision needs."""

    weights: int
    """To serve: parameters alone."""
    cache_1k: int
    """To serve: keys and values of 1,024 tokens of one conversation."""
    gradients: int
    optimizer: int
    """AdamW's two moments and, in bf16, the float32 masters."""
    activations: int
    """Kept for the backward pass of one sequence of full context; an estimate."""
    recomputed: int = 0
    """The same where blocks keep only what enters them, if they can."""

    @property
    def training(self) -> int:
        """Everything but the cache, for one sequence at a time."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Description:
    """A model in numbers; `as_dict` is what `ownlm show --json` prints."""

    family: str
    tree: Part
    parameters: int
    embedding_parameters: int
    """Tables of tokens and positions, in the total above; the rest computes."""
    context: int
    vocab: int
    layers: int
    dim: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    """The token table is the output matrix."""
    memory: dict[str, Memory]
    """By precision: fp32, bf16."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        for name, memory in self.memory.items():
            values["memory"][name]["training"] = memory.training
        return values


def describe(model: Model, context: int = 0) -> Description:
    """Everything that can be told without running the model on real numbers, of texts of the
    model's own context or of another length."""
    context = context or model.context
    stack = model.architecture.stack
    parameters = count_parameters(model)
    return Description(
        family=model.family.name,
        tree=tree(model, model.family.name),
        parameters=parameters,
        embedding_parameters=count_parameters(model.embed),
        context=context,
        vocab=model.vocab,
        layers=stack.layers,
        dim=stack.dim,
        heads=stack.heads,
        kv_heads=stack.kv_heads,
        head_dim=stack.head_dim,
        tied=model.architecture.head.tied,
        memory={name: _memory(model, context, parameters, name) for name in WIDTHS},
    )


def sketch(values: Mapping[str, Any], where: str = "config.json") -> Model:
    """The model that a config.json describes, without storage; it can be described, not run.

    Raises CheckpointError that names the key which cannot be understood.
    """
    family = family_of(dict(values), where)
    with torch.device("meta"):
        return make_model(architecture_of(family, dict(values), where), family, dict(values))


def tree(module: nn.Module, name: str) -> Part:
    """A module as nested parts; equal neighbours in a list become one part with `repeats`.

    Modules without parameters are left out, save the root's own (a tied head).
    """
    return _part(module, name, set(), all_parts=True)


def _part(module: nn.Module, name: str, seen: set[int], *, all_parts: bool = False) -> Part:
    own = {n: p for n, p in module.named_parameters(recurse=False) if id(p) not in seen}
    seen.update(map(id, own.values()))
    below = (_part(m, n, seen) for n, m in module.named_children())
    parts = tuple(_merged(part for part in below if part.parameters or all_parts))
    total = sum(p.numel() for p in own.values()) + sum(p.parameters * p.repeats for p in parts)
    shapes = {n: tuple(p.shape) for n, p in own.items()}
    return Part(name, type(module).__name__, total, shapes, parts)


def _merged(parts: Iterator[Part]) -> Iterator[Part]:
    """Runs of equal parts with numbers for names, as one part named by the run: "0-11"."""
    run: list[Part] = []
    for part in parts:
        if run and not (part.name.isdigit() and _same(run[0], part)):
            yield _joined(run)
            run = []
        run.append(part)
    if run:
        yield _joined(run)


def _joined(run: list[Part]) -> Part:
    first, last = run[0], run[-1]
    if len(run) == 1:
        return first
    name = f"{first.name}-{last.name}"
    return Part(name, first.kind, first.parameters, first.shapes, first.parts, len(run))


def _same(one: Part, other: Part) -> bool:
    return (one.kind, one.shapes, one.parts) == (other.kind, other.shapes, other.parts)


def _memory(model: Model, context: int, parameters: int, precision: Precision) -> Memory:
    """The table of `training.precision` in bytes; AdamW keeps two moments in float32."""
    width, split, named = WIDTHS[precision], precision != "fp32", dict(model.named_parameters())
    narrow = sum(named[name].numel() for name in narrowed(model, precision))
    weights = 4 * parameters - 2 * narrow
    kept, logits = activations(model, context), 4 * context * model.vocab
    stack = model.architecture.stack
    entering = kept // stack.layers + stack.layers * context * stack.dim
    return Memory(
        weights=weights,
        cache_1k=(2 if split else 4) * _cached(stack, 1024),
        gradients=weights + 4 * split * parameters,
        optimizer=8 * parameters + 4 * narrow,
        activations=width * kept + logits,
        recomputed=width * (min(kept, entering) if model.new_memory() is None else kept) + logits,
    )


def _cached(stack: StackConfig, tokens: int) -> int:
    """Numbers that generation keeps of so many tokens: keys and values of what a layer sees.

    An encoder cannot generate and keeps none; a decoder that reads one keeps as many of it.
    """
    if not stack.causal:
        return 0
    windows = (stack.kind(layer).window or tokens for layer in range(stack.layers))
    seen = sum(min(tokens, window) for window in windows)
    read = tokens * stack.layers if stack.cross else 0
    return 2 * (seen + read) * stack.kv_heads * stack.head_dim


def activations(model: Model, context: int) -> int:
    """Numbers that pass between modules for one sequence of `context` tokens, each counted once.

    That is nearly what the backward pass keeps with a fused attention; logits not included.
    """
    bare = _without_experts(model)
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []  # alive until the end, so that no storage address comes twice

    def see(module: nn.Module, inputs: Any, output: Any) -> None:
        for tensor in (*inputs, output):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                kept.append(tensor)
                sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes() // 4

    hooks = [
        module.register_forward_hook(see)
        for module in bare.modules()
        if not list(module.children()) and not isinstance(module, nn.Dropout | nn.Identity)
    ]
    with torch.no_grad():
        ids = torch.zeros(1, context, dtype=torch.long, device="meta")
        bare(ids, ids) if isinstance(bare, EncoderDecoder) else bare(ids)
    for hook in hooks:
        hook.remove()
    return sum(sizes.values())


def _without_experts(model: Model) -> Model:
    """A copy without storage; the experts that a token passes through are one wide part."""
    architecture, stack = model.architecture, model.architecture.stack
    if stack.experts is not None:
        hidden = stack.hidden * stack.experts.chosen
        stack = replace(stack, experts=None, gated=True, hidden=hidden)
        architecture = replace(architecture, stack=stack)
    with torch.device("meta"):
        return make_model(architecture, model.family, model.config)
