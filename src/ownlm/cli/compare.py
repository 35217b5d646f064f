"""`ownlm compare RUN RUN...`: what runs reached at which cost, and whether it is chance."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ownlm import files
from ownlm.cli.options import parse
from ownlm.errors import ConfigError
from ownlm.log import say

if TYPE_CHECKING:
    from rich.table import Table

    from ownlm.evaluation.compare import Comparison


@dataclass(frozen=True)
class Options:
    """Compare runs: figures at their costs, configuration differences, and seeds' spread."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """Folders of runs; those that differ in train.seed alone count as repetitions."""
    out: Path = Path("comparison.html")
    """The page with the curves over updates, tokens, FLOPs and time."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the comparison, or the error, as one line of JSON; no page is written."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(Options, args, prog="ownlm compare", description=__doc__)
    from ownlm.evaluation.compare import compare, said, write_comparison

    if not options.json:
        _require_file(options.out)
    found = compare(options.runs)
    if options.json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
        return 0
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_runs(found))
    console.print(_differences(found))
    for sentence in said(found):
        print(sentence)
    say(f"curves: {write_comparison(found, options.out)}")
    return 0


def _require_file(out: Path) -> None:
    if out.is_dir():
        raise ConfigError("a folder, not a file", where=f"--out {out}",
                          next_command=f"--out {out / 'comparison.html'}")  # fmt: skip
    files.require_writable(out.parent)


def _runs(found: "Comparison") -> "Table":
    from rich.table import Table

    from ownlm.evaluation.compare import words

    columns = ("run", words(found.key), "updates", "tokens", "parameters", "FLOPs", "seconds")
    grid = Table(*columns, box=None, pad_edge=False)
    for column in grid.columns[1:]:
        column.justify = "right"
    for name, group in found.experiments.items():
        for one in group:
            cost = one.costs[one.step]
            grid.add_row(
                one.name,
                f"{one.best(found.key):.4f}",
                f"{one.step:,}" if one.finished else f"{one.step:,} of {one.steps:,}",
                f"{cost['tokens']:,.0f}",
                f"{one.parameters:,}" if one.parameters else "",
                f"{cost['flops']:.3g}",
                f"{cost['seconds']:,.0f}",
            )
        if (spread := found.spread(group)) is not None:
            grid.add_row(
                f"[dim]{name}: {len(found.values(group))} seeds[/]", f"[dim]± {spread:.4f}[/]"
            )
    return grid


def _differences(found: "Comparison") -> "Table":
    from rich.table import Table

    grid = Table("differs", *(one.name for one in found.runs), box=None, pad_edge=False)
    for key, values in found.differences.items():
        grid.add_row(key, *map(str, values))
    return grid
