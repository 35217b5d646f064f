"""`ownlm pretrain RECIPE --data PATH`: train a model from raw text or prepared shards."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ownlm.cli.options import parse, value_of
from ownlm.config import read_yaml
from ownlm.errors import ConfigError
from ownlm.recipes.config import RunConfig
from ownlm.recipes.named import RECIPES, recipe, table

PROG = "ownlm pretrain"
INTRODUCTION = """Train a model from files of text, or from the shards `ownlm prepare` made of them:

  ownlm pretrain RECIPE --data PATH [options]

Values come from the recipe, then from --config, then from this line; the later ones win.
The recipes are:

"""
SHOWN = "llama-mini"
"""The recipe whose values help shows when none is named."""


@dataclass(frozen=True)
class Options:
    """What `pretrain` understands besides the run's own configuration."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")]
    config: str = ""
    """YAML file with values of a run, such as the recipe.yaml of another one."""
    resume: Literal["no", "yes", "auto"] = "no"
    """Go on with the run in --out from its newest checkpoint. `--resume` alone means yes,
    which refuses a folder without a run; auto passes over damaged checkpoints, and begins where
    there is none."""
    allow_change: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --resume: accept values that differ from the run's and change its course."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """Train as the arguments say; 0, or 130 and 143 for a run that was stopped and saved."""
    options = read_options(args)
    from ownlm.recipes.pretrain import pretrain

    result = pretrain(options.run, resume=options.resume, allow_change=options.allow_change)
    print(json.dumps(result.as_dict(), ensure_ascii=False) if options.json else result)
    return result.exit_code


def read_options(args: list[str]) -> Options:
    """Recipe, then recipe.yaml of a resumed run, then --config, then the command line."""
    name = args[0] if args and not args[0].startswith("-") else ""
    rest = _spelled_out(args[1:] if name else args)
    if {"-h", "--help"} & set(rest):
        shown = recipe(name or SHOWN)
        print(INTRODUCTION + table(), end="\n\n")
        return parse(Options, ["--help"], prog=f"{PROG} {shown.recipe}", default=Options(shown))
    start = starting_values(name, rest)
    return parse(Options, rest, prog=f"{PROG} {start.recipe}", default=Options(start))


def starting_values(name: str, rest: list[str]) -> RunConfig:
    """The configuration that the command line is laid over."""
    path = value_of(rest, "--config")
    written = read_yaml(Path(path)) if path else {}
    name = name or str(written.get("recipe", ""))
    resumed = _values_of_run(name, rest, written)
    name = name or str(resumed.get("recipe", ""))
    if not name:
        raise ConfigError(
            "which recipe? Name one first, or a --config that does",
            next_command=f"{PROG} {SHOWN} --data PATH; the recipes are:\n{table()}",
        )
    start = recipe(name).with_values(resumed, "recipe.yaml of the run")
    return start.with_values(written, path or "").with_values({"recipe": name})


def _values_of_run(name: str, rest: list[str], written: dict[str, Any]) -> dict[str, Any]:
    """What the run to be resumed was told; nothing without --resume, or where there is none."""
    if value_of(rest, "--resume") in (None, "no"):
        return {}
    out = value_of(rest, "--out") or written.get("out") or (f"runs/{name}" if name else "")
    path = Path(str(out)) / "recipe.yaml"
    found = read_yaml(path) if out and path.is_file() else {}
    if name and found:
        _require_same(name, found, path.parent)
    return found


def _require_same(name: str, found: dict[str, Any], folder: Path) -> None:
    """ConfigError when the run to be resumed was begun with a recipe for another model.

    The run's own values would win over the recipe's, so that its model would go on under the
    other one's name.
    """
    asked, began = recipe(name), str(found.get("recipe", ""))
    family = str((found.get("model") or {}).get("family", ""))
    if began in RECIPES:
        own = recipe(began)
        same = (asked.model, asked.objective) == (own.model, own.objective)
    else:
        same = asked.model.family == family
    if not same:
        raise ConfigError(
            f"holds a run of {began or 'another recipe'} ({family}), which cannot go on as "
            f"{name} ({asked.model.family})",
            where=str(folder),
            kept="the run, as it is",
            next_command=f"{PROG} --out {folder} --resume, or another place with --out",
        )


def _spelled_out(args: list[str]) -> list[str]:
    """`--resume` alone means `--resume yes`."""
    words = []
    for word, following in zip(args, [*args[1:], "--"]):
        words += [word, "yes"] if word == "--resume" and following.startswith("-") else [word]
    return words
