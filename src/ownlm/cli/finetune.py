"""`ownlm finetune TASK MODEL --data PATH`: teach a model a task from labelled data."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from ownlm.cli.options import parse, value_of
from ownlm.config import nearest, read_yaml
from ownlm.errors import ConfigError
from ownlm.objectives.tasks.config import TaskKind
from ownlm.recipes.tuning import LEARNS, FinetuneConfig, tuning

PROG = "ownlm finetune"
KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
TABLE = "\n".join(f"  {kind:<9} {what}" for kind, what in LEARNS.items())
INTRODUCTION = f"""Teach a model a task from labelled data, and measure it beside simple baselines:

  ownlm finetune TASK MODEL --data PATH [options]

MODEL is a model folder, a run, a GGUF file, or a recipe such as gpt-tiny for a new model. The
format of the data is recognised; `ownlm data show PATH --task TASK` shows how. The tasks:

{TABLE}

What moves is --adapt.kind: all, last (with --adapt.layers), head, lora, dora, qlora.
"""


@dataclass(frozen=True)
class Options:
    """What `finetune` understands besides the run's own configuration."""

    run: Annotated[FinetuneConfig, tyro.conf.arg(name="")]
    config: str = ""
    """YAML file with values of a run, such as the recipe.yaml of another one."""
    resume: Literal["no", "yes", "auto"] = "no"
    """Go on with the run in --out from its newest checkpoint. `--resume` alone means yes, which
    refuses a folder without a run; auto begins where there is none."""
    allow_change: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --resume: accept values that differ from the run's and change its course."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """Finetune as the arguments say; 0, or 130 and 143 for a run that was stopped and saved."""
    options = read_options(args)
    from ownlm.recipes.finetune import finetune

    result = finetune(options.run, resume=options.resume, allow_change=options.allow_change)
    if options.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False))
    else:
        from rich.console import Console

        result.show(Console(highlight=False))
    return result.exit_code


def read_options(args: list[str]) -> Options:
    """Task and model, then --config, then the command line; the later ones win."""
    words = [word for word in args[:2] if not word.startswith("-")]
    if len(words) < 2:
        if not words or {"-h", "--help"} & set(args):
            print(INTRODUCTION)
        if {"-h", "--help"} & set(args):
            shown = Options(FinetuneConfig())
            return parse(Options, ["--help"], prog=f"{PROG} TASK MODEL", default=shown)
        raise ConfigError(
            "which task and which model?" if not words else "which model?",
            next_command=f"{PROG} classify MODEL --data PATH",
        )
    task, model, rest = known(words[0]), words[1], args[2:]
    prog = f"{PROG} {task} {model}"
    path = value_of(rest, "--config")
    written: dict[str, Any] = read_yaml(Path(path)) if path else {}
    start = tuning(task, model).with_values(written, path or "")
    start = start.with_values({"task": task, "model": model})
    spelled = ["--resume=yes" if word == "--resume" and _alone(rest, at) else word
               for at, word in enumerate(rest)]  # fmt: skip
    return parse(Options, spelled, prog=prog, default=Options(start))


def known(word: str) -> TaskKind:
    """The task that a word names; ConfigError with the nearest."""
    if word in KINDS:
        return word
    guess = nearest(word, list(KINDS))
    raise ConfigError(
        f"unknown task {word!r}" + (f", nearest is {guess}" if guess else ""),
        where="TASK",
        next_command=f"{PROG} TASK MODEL --data PATH; the tasks:\n{TABLE}",
    )


def _alone(words: list[str], at: int) -> bool:
    return at + 1 == len(words) or words[at + 1].startswith("-")
