"""`ownlm data show`: the exact tokens a run would learn from, or labelled data as recognised;
of conversations with `--model` what that model would learn."""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ownlm.cli import conversations
from ownlm.cli.options import parse, value_of
from ownlm.cli.pretrain import starting_values
from ownlm.config import nearest
from ownlm.data.tasks.config import Task, TaskDataConfig
from ownlm.errors import ConfigError, DataError
from ownlm.recipes.config import RunConfig
from ownlm.recipes.named import recipe, table

if TYPE_CHECKING:
    from rich.text import Text

    from ownlm.inspection.example import Token

PROG = "ownlm data show"
SHOWN = "llama-mini"
"""The recipe whose values help shows."""
USAGE = """usage: ownlm data show RECIPE --data PATH [--example K] [--long] [options]
       ownlm data show CONVERSATIONS.jsonl --model MODEL [--example K] [--own-template]

Prints example K of the first update as the model gets it: control tokens, what is hidden, what is
learned, where documents begin. The options are those of `ownlm pretrain`.

       ownlm data show PATH --task classify|pair|regress|tag|span|seq2seq|chat [options]

Prints how labelled data were recognised: format, columns, labels by split, lengths, three
examples, what leaks between splits, and what is wrong. `ownlm data show --task classify --help`
lists the options.

The recipes are:

"""
LEGEND = (
    "underlined: learned as it stands or as what comes next; →: learned instead of what is read; "
    "italic: read both ways; "
)
STEPS = "(step N): predicted, from all tokens without a step and from those whose step is lower; "
RUNS = {"segment B": "", "read both ways": "italic "}
"""Notes of many tokens in a row: a style, not a word at each."""
SEQUENCES = ("", "on grey15")
"""Backgrounds of packed sequences, in turn."""


@dataclass(frozen=True)
class Options:
    """What `data show` understands besides the run's own configuration."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")]
    config: str = ""
    """YAML file with values of a run, such as the recipe.yaml of another one."""
    example: int = 0
    """Which example of the first update, from 0."""
    long: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """A line a token: place, position, sequence, what is read, what is learned."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the tokens, or the error, as one line of JSON."""


@dataclass(frozen=True)
class TaskOptions:
    """What `data show` understands of labelled data."""

    task: Task
    """What is to be learned: a label of a text or of a pair, a number, a tag for each word, an
    answer in a context, a text for a text, or the assistant's turns."""
    data: TaskDataConfig
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the report, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    if not args or args[0] in ("-h", "--help"):
        print(USAGE + table())
        return 0
    if args[0] != "show":
        guess = nearest(args[0], ["show"])
        raise ConfigError(
            f"unknown action {args[0]!r}" + (f", nearest is {guess}" if guess else ""),
            next_command="ownlm data show RECIPE --data PATH",
        )
    if value_of(args, "--task") is not None:
        return show_task(args[1:])
    if len(args) > 1 and Path(args[1]).is_file():
        return conversations.show(args[1:])
    options = read_options(args[1:])
    from ownlm.recipes.look import example

    with tempfile.TemporaryDirectory(prefix="ownlm-look-") as folder:
        found = example(options.run, Path(folder), options.example)
    if options.json:
        rows = {side: [token.as_dict() for token in tokens] for side, tokens in found.items()}
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    from rich.console import Console

    console = Console(highlight=False)
    for side, tokens in found.items():
        console.print(f"[bold]{side}[/]  {_counted(tokens)}")
        console.print(_lines(tokens) if options.long else _flow(tokens))
        console.print()
    console.print(_legend([token for side in found.values() for token in side]), style="dim")
    return 0


def show_task(args: list[str]) -> int:
    """Labelled data as recognised; exit code 3 when something is wrong with them."""
    path = args[0] if not args[0].startswith("-") else ""
    start = TaskOptions("classify", TaskDataConfig(path=path))
    options = parse(TaskOptions, args[bool(path) :], prog=PROG, default=start)
    from ownlm.data.tasks.load import read_task
    from ownlm.data.tasks.report import as_dict

    data = read_task(options.data, options.task)
    if options.json:
        print(json.dumps(as_dict(data), ensure_ascii=False))
    else:
        from rich.console import Console

        from ownlm.data.tasks.display import show

        show(data, Console(highlight=False))
    try:
        data.require_sound()
    except DataError as error:
        if not options.json:
            print(f"next: {error.next_command}", file=sys.stderr)
        return error.exit_code
    return 0


def read_options(args: list[str]) -> Options:
    """Recipe, then --config, then the command line, as for `ownlm pretrain`."""
    name = args[0] if args and not args[0].startswith("-") else ""
    rest = args[1:] if name else args
    if {"-h", "--help"} & set(rest):
        shown = recipe(name or SHOWN)
        return parse(Options, ["--help"], prog=f"{PROG} {shown.recipe}", default=Options(shown))
    start = starting_values(name or ("" if "--config" in rest else SHOWN), rest)
    return parse(Options, rest, prog=f"{PROG} {start.recipe}", default=Options(start))


def _counted(tokens: list["Token"]) -> str:
    """How long a side is, and how much of it teaches something."""
    learned = sum(token.learns is not None for token in tokens)
    real = sum(token.sequence > 0 for token in tokens)
    judged = sum(token.judged for token in tokens)
    words = f"{len(tokens)} places, {real} tokens, {learned} learned"
    return f"{words} by the generator, {judged} judged by the model" if judged else words


def _legend(tokens: list["Token"]) -> str:
    steps = STEPS if any("step " in token.note for token in tokens) else ""
    judged = "judged: replaced or not; " if any(token.judged for token in tokens) else ""
    return f"{LEGEND}{steps}{judged}a new background is another sequence"


def _flow(tokens: list["Token"]) -> "Text":
    """The tokens as running text."""
    from rich.text import Text

    flow = Text()
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.sequence == 0:
            flow.append("·", "dim")
            continue
        ground = SEQUENCES[token.sequence % 2]
        follows = token.learns in (token.text, after.text if after else None)
        style = "cyan" if token.control else "underline" if follows else ""
        style = RUNS.get(token.note, "") + style
        flow.append(token.text.replace("\n", "⏎\n"), f"{style} {ground}".strip())
        if token.learns is not None and not follows:
            shown = token.learns.strip() or repr(token.learns)
            flow.append(f"→{shown}", f"bold red {ground}".strip())
        if token.note and token.note not in RUNS:
            flow.append(f" ({token.note})", "yellow")
    return flow


def _lines(tokens: list["Token"]) -> "Text":
    """A line a token."""
    from rich.text import Text

    lines = Text("place  position  sequence  reads             learns\n", "dim")
    for token in tokens:
        lines.append(f"{token.place:5}  {token.position:8}  {token.sequence:8}  ")
        lines.append(f"{token.text!r:16}", "cyan" if token.control else "")
        lines.append("  " + ("" if token.learns is None else f"{token.learns!r:16}"), "bold red")
        lines.append(f"  {token.note}\n", "yellow")
    return lines
