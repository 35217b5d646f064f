"""`ownlm doctor RECIPE`: prove on a run's own configuration what a long run relies on."""

import json
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ownlm.cli import finetune
from ownlm.cli.options import parse
from ownlm.cli.pretrain import starting_values
from ownlm.log import say
from ownlm.recipes.config import RunConfig
from ownlm.recipes.named import recipe, table
from ownlm.recipes.tuning import LEARNS

if TYPE_CHECKING:
    from rich.table import Table

    from ownlm.evaluation.finding import Finding

PROG = "ownlm doctor"
SHOWN = "llama-mini"
"""The recipe that is examined, and whose values help shows, when none is named."""
INTRODUCTION = """Check a run before it is started, on its own model, tokenizer and text:

  ownlm doctor RECIPE --data PATH [options]

The options are those of `ownlm pretrain`. The model is built in float32 and works on a few
sequences from the beginning of the text.

  ownlm doctor TASK MODEL --data PATH [options]

checks a finetuning, with the options of `ownlm finetune`. The recipes are:

"""
MARKS = {True: ("pass", "green"), False: ("FAIL", "bold red"), None: ("-", "dim")}


@dataclass(frozen=True)
class Options:
    """What `doctor` understands besides the run's own configuration."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")]
    config: str = ""
    """YAML file with values of a run, such as the recipe.yaml of another one."""
    reduce: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Examine a narrow model of two layers in place of the real one: quicker."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the findings, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """0 when every check that applies has passed, else 1."""
    if args and args[0] in LEARNS:
        return run_task(args)
    options = read_options(args)
    from ownlm.evaluation.doctor import examine, timed
    from ownlm.recipes.doctor import subject

    with tempfile.TemporaryDirectory(prefix="ownlm-doctor-") as folder:
        if not options.json:
            say(examined(options))
        patient = subject(options.run, Path(folder), reduce=options.reduce)
        tell = None if options.json else lambda name: say(f"  {name} ...")
        findings = list(timed(examine(patient, tell)))
    failed = [finding for finding, _ in findings if finding.passed is False]
    if options.json:
        rows = [finding.as_dict() | {"seconds": seconds} for finding, seconds in findings]
        print(json.dumps({"passed": not failed, "checks": rows}, ensure_ascii=False))
    else:
        _show(findings, f"ownlm pretrain {shlex.join(pretrain_words(options.run, args))}")
    return 1 if failed else 0


def run_task(args: list[str]) -> int:
    """The checks of a finetuning, whose words are those of `ownlm finetune`."""
    as_json = "--json" in args
    options = finetune.read_options([word for word in args if word != "--json"])
    from ownlm.evaluation.doctor import timed
    from ownlm.recipes.task_doctor import task_findings

    findings = list(timed(task_findings(options.run)))
    failed = [finding for finding, _ in findings if finding.passed is False]
    if as_json:
        rows = [finding.as_dict() | {"seconds": seconds} for finding, seconds in findings]
        print(json.dumps({"passed": not failed, "checks": rows}, ensure_ascii=False))
    else:
        _show(findings, f"ownlm finetune {shlex.join(args)}")
    return 1 if failed else 0


def read_options(args: list[str]) -> Options:
    """Recipe, then --config, then the command line, as for `ownlm pretrain`."""
    name = args[0] if args and not args[0].startswith("-") else ""
    rest = args[1:] if name else args
    if {"-h", "--help"} & set(rest):
        shown = recipe(name or SHOWN)
        print(INTRODUCTION + table(), end="\n\n")
        return parse(Options, ["--help"], prog=f"{PROG} {shown.recipe}", default=Options(shown))
    start = starting_values(name or ("" if "--config" in rest else SHOWN), rest)
    return parse(Options, rest, prog=f"{PROG} {start.recipe}", default=Options(start))


def examined(options: Options) -> str:
    """What is looked at, in a line."""
    text = options.run.data.path or "the built-in text"
    narrow = ", narrowed to two layers" if options.reduce else ""
    return f"examining {options.run.recipe} on {text}{narrow}"


def pretrain_words(config: RunConfig, args: list[str]) -> list[str]:
    """The words after `ownlm pretrain` that begin the run that was examined."""
    named = args if args and not args[0].startswith("-") else [config.recipe, *args]
    data = [] if config.data.path else ["--data", "FILE_OR_FOLDER"]
    return [word for word in named if word not in ("--reduce", "--json")] + data


def _show(findings: list[tuple["Finding", float]], command: str) -> None:
    from rich.console import Console

    Console(highlight=False).print(_table(findings))
    failed = sum(finding.passed is False for finding, _ in findings)
    if failed:
        print(f"{failed} of {len(findings)} checks failed: a run would not do what it says.")
    else:
        print(f"All checks passed.\n\nnext:\n  {command}")


def _table(findings: list[tuple["Finding", float]]) -> "Table":
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table("check", "measured", "allowed", "", "seconds", box=None, pad_edge=False)
    for column in (grid.columns[1], grid.columns[2], grid.columns[4]):
        column.justify = "right"
    for finding, seconds in findings:
        mark, style = MARKS[finding.passed]
        below = ": ".join(text for text in (finding.unit, finding.detail) if text)
        grid.add_row(
            Group(Text(finding.name, "bold"), Padding(Text(below, "dim"), (0, 0, 0, 2))),
            _number(finding.measured),
            _number(finding.allowed),
            Text(mark, style),
            f"{seconds:.1f}",
        )
    return grid


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
