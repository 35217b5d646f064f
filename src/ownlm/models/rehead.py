"""A pretrained body under another head: what its folder holds is read, the rest is new.

What is new and what lost its place are part of the answer, so that a head of random numbers is
never mistaken for a trained one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ownlm.errors import CheckpointError
from ownlm.models.heads import numbered, told_head
from ownlm.models.load import checked_files, empty_model, report_nonfinite, sketched
from ownlm.models.model import Model
from ownlm.models.tensors import Tensors
from ownlm.models.weights import Item, match, place, plan, put, shortened, stored_type
from ownlm.nn.initialise import initialise


class Reheaded(NamedTuple):
    """A model whose body is trained and whose head may not be."""

    model: Model
    config: dict[str, Any]
    """Its config.json."""
    new: tuple[str, ...]
    """Tensors that the folder lacks, filled by the family's table."""
    dropped: tuple[str, ...]
    """Tensors of the folder that this model has no place for."""

    @property
    def report(self) -> str:
        """Both lists in words."""
        lists = {"new, not trained": self.new, "of the old head, dropped": self.dropped}
        return "\n".join(f"{what}: {', '.join(n) or 'nothing'}" for what, n in lists.items())


def load_with_head(
    folder: Path | str,
    head: str,
    *,
    seed: int,
    labels: Sequence[str] | int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Reheaded:
    """The body in a folder under `head`, such as "ForSequenceClassification".

    `labels` names or counts the classes; 0 leaves them as the folder says. What the new head
    shares with the old one (BERT's pooler) is read; the matrix that classes are read off is
    read only where the head stays the same. Raises ConfigError for a head that the family does
    not have, CheckpointError where the body is not all there.
    """
    folder = Path(folder)
    _, old = sketched(folder)
    files, where = checked_files(folder), str(folder)
    table = old.family.names(old.architecture)
    items = plan(old, table)
    stored = match(items, table, files, where)
    model = empty_model(old.family, under_head(old, head, labels), where)
    held = {name.removeprefix(table.prefix): file for name, file in stored.items()}
    found, new = _divide(model, old, held, files)
    _refuse_half_a_body(new, where)
    place_on, kind = torch.device(device), dtype or stored_type(items, files, stored)
    broken = [
        name for item, names in found for name in place(model, item, files, names, place_on, kind)
    ]
    report_nonfinite(broken, where, "warn")
    _fill(model, new, seed, place_on, kind)
    used = {file for _, names in found for file in names.values()}
    before = {stored[p.theirs] for item in items if not item.zeros for p in item.pieces}
    return Reheaded(model.eval(), model.config, _names(new), tuple(sorted(before - used)))


def under_head(model: Model, head: str, labels: Sequence[str] | int) -> dict[str, Any]:
    """config.json of the same model under another head."""
    named = numbered(labels) if isinstance(labels, int) else labels
    told = told_head(head, model.family.heads, named, model.family.name)
    if not named:
        return model.config | {"architectures": told["architectures"]}
    before = ("num_labels", "id2label", "label2id", "problem_type")
    return {key: value for key, value in model.config.items() if key not in before} | told


def _divide(
    model: Model, old: Model, held: Mapping[str, str], files: Tensors
) -> tuple[list[tuple[Item, dict[str, str]]], list[Item]]:
    """Parameters that the files hold, with the names of their pieces there, and all others.

    `held` gives a tensor's name in the files by its name below the body's prefix.
    """
    names = model.family.names(model.architecture)
    same = old.architecture.form == model.architecture.form
    found, new = [], []
    for item in plan(model, names):
        if item.zeros:
            continue
        there = {p.theirs: held.get(p.theirs.removeprefix(names.prefix), "") for p in item.pieces}
        fits = all(
            there[p.theirs] and files.entries[there[p.theirs]].shape == p.shape for p in item.pieces
        )
        if fits and (same or not item.ours.startswith("task.out.")):
            found.append((item, there))
        else:
            new.append(item)
    return found, new


def _fill(
    model: Model, new: Sequence[Item], seed: int, device: torch.device, dtype: torch.dtype
) -> None:
    """Give parameters that no file holds the numbers that a new model would have."""
    for item in new:
        shape = model.get_parameter(item.ours).shape
        put(model, item.ours, torch.empty(shape, device=device, dtype=dtype))
    a = model.architecture
    initialise(model, a.init, 2 * a.stack.layers, seed, only={item.ours for item in new})


def _refuse_half_a_body(new: Sequence[Item], where: str) -> None:
    body = [item for item in new if not item.ours.startswith(("task.", "head."))]
    if body:
        lines = shortened([f"missing {name}" for name in _names(body)])
        raise CheckpointError(
            "the body under this head is larger than the one here:\n  " + "\n  ".join(lines),
            where=where,
            next_command="choose a head that stands on the same body",
        )


def _names(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(piece.theirs for item in items for piece in item.pieces)
