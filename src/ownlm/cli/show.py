"""`ownlm show MODEL`: a model's parts, shapes, parameters and memory, without loading it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ownlm.cli.options import parse
from ownlm.config import nearest
from ownlm.errors import CheckpointError
from ownlm.files import readable
from ownlm.models.families import SIZES

if TYPE_CHECKING:
    from rich.table import Table
    from rich.tree import Tree

    from ownlm.inspection.architecture import Description, Part
    from ownlm.inspection.traits import Lineage
    from ownlm.models.model import Model


@dataclass(frozen=True)
class Options:
    """Show what a model is made of and what it needs."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder, run folder, GGUF file, or the name of a size, such as gpt2-124m."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print all numbers, or the error, as one line of JSON."""
    drawing: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Draw one layer and what is around it, in place of the tree."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(Options, args, prog="ownlm show", description=__doc__)
    from ownlm.inspection.architecture import describe
    from ownlm.inspection.drawing import draw
    from ownlm.inspection.traits import lineage

    model, where = find(options.model)
    description, kin = describe(model), lineage(model)
    if options.json:
        values = {"model": where} | description.as_dict() | kin.as_dict()
        print(json.dumps(values, ensure_ascii=False))
        return 0
    from rich.console import Console

    console = Console(highlight=False)
    if options.drawing:
        print(draw(model))
    else:
        console.print(_tree(description, where))
    console.print(_facts(description))
    console.print(_memory(description))
    console.print(_kin(kin))
    return 0


def find(model: str) -> tuple["Model", str]:
    """The model of a folder or of a named size, without storage, and what was found.

    Raises CheckpointError that names the nearest size where there is no such folder.
    """
    from ownlm.inference.find import find_model
    from ownlm.inspection.architecture import sketch
    from ownlm.models.load import hf_values, sketched

    path = Path(model)
    if model in SIZES and not path.exists():
        return sketch(hf_values(SIZES[model])), model
    if not path.exists():
        guess = nearest(model, list(SIZES))
        raise CheckpointError(
            "no such folder, and no size of that name" + (f", nearest is {guess}" if guess else ""),
            where=model,
            next_command=f"name a model folder, a run folder, or one of {', '.join(SIZES)}",
        )
    found = find_model(path)
    return sketched(found)[1], str(found)


def _tree(description: "Description", where: str) -> "Tree":
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text.assemble((where, "bold"), f"  {description.family}"), guide_style="dim")
    for part in description.tree.parts:
        _branch(root, part)
    return root


def _branch(tree: "Tree", part: "Part") -> None:
    from rich.text import Text

    times = f" {part.repeats} x" if part.repeats > 1 else ""
    label = Text.assemble((part.name, "bold"), times, (f" {part.kind}", "cyan"))
    label.append(f"  {part.parameters:,}" if part.parameters else "  tied to the token table")
    shapes = (f"{name} {' x '.join(map(str, shape))}" for name, shape in part.shapes.items())
    label.append("".join(f"  {shape}" for shape in shapes), "dim")
    below = tree.add(label)
    for inner in part.parts:
        _branch(below, inner)


def _facts(d: "Description") -> "Table":
    share = d.embedding_parameters / max(1, d.parameters)
    rows = {
        "parameters": f"{d.parameters:,}, {share:.0%} of them in the token and position tables",
        "context": f"{d.context:,} tokens",
        "vocabulary": f"{d.vocab:,} ids, output matrix {'tied' if d.tied else 'of its own'}",
        "attention": f"{d.layers} layers of {d.heads} heads of {d.head_dim}"
        + (f", {d.kv_heads} for keys and values" if d.kv_heads != d.heads else ""),
    }
    if not d.heads:
        rows["attention"] = f"none: {d.layers} recurrent layers"
    return _grid([[name, text] for name, text in rows.items()], "")


def _memory(d: "Description") -> "Table":
    """Bytes by precision: what serving and training take."""
    fields = {
        "weights": "weights",
        "cache of 1,024 tokens": "cache_1k",
        "gradients": "gradients",
        "optimizer": "optimizer",
        f"activations of {d.context:,} tokens": "activations",
        "training, one sequence": "training",
    }
    rows = [
        [title, *(readable(getattr(memory, name)) for memory in d.memory.values())]
        for title, name in fields.items()
    ]
    return _grid([["memory", *d.memory], *rows], "right")


def _kin(kin: "Lineage") -> "Table":
    """Papers, and what differs from the family before."""
    rows = [["paper" if i == 0 else "", str(paper)] for i, paper in enumerate(kin.papers)]
    if kin.after:
        rows.append([f"against {kin.after}", f"{kin.compared}:"])
    for trait, here, before in kin.differences:
        rows.append(
            [
                f"  {trait}",
                f"{here or 'nothing of this kind'}; there {before or 'nothing of this kind'}",
            ]
        )
    return _grid(rows, "")


def _grid(rows: list[list[str]], justify: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 3))
    for row in rows:
        grid.add_row(Text(row[0], "dim"), *(Text(cell) for cell in row[1:]))
    for column in grid.columns[1:]:
        column.justify = "right" if justify else "left"
    return grid
