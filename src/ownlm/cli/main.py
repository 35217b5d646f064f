"""The command `ownlm`: one table of commands, and what becomes of their errors.

A command is a module of this folder with `run(args) -> int`, imported only when it is typed, so
that help costs no torch. Every refusal ends as a short message and an exit code; a traceback is
never shown, and that of an unexpected error goes to a file.
"""

import importlib
import io
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ownlm.errors import ConfigError, OwnlmError

INTERRUPTED, BROKEN_PIPE, BUG = 130, 141, 1


class Command(NamedTuple):
    """Where a command lives and what it is for."""

    module: str
    help: str


COMMANDS = {
    "demo": Command("ownlm.cli.demo", "the whole way on a small built-in text, in minutes"),
    "tokenizer": Command("ownlm.cli.tokenizer", "train a tokenizer, or show what one does"),
    "prepare": Command("ownlm.cli.prepare", "turn text files into token shards"),
    "pretrain": Command("ownlm.cli.pretrain", "train a model from raw text or prepared shards"),
    "finetune": Command("ownlm.cli.finetune", "teach a model a task from labelled data"),
    "merge": Command("ownlm.cli.merge", "an adapter and its base as one plain model, checked"),
    "export": Command("ownlm.cli.export", "a model as GGUF or ONNX, compared with what it was"),
    "predict": Command("ownlm.cli.predict", "what a finetuned model says of a file of records"),
    **{
        verb: Command("ownlm.cli.ask", what)
        for verb, what in {
            "classify": "the label of a text",
            "tag": "a tag for each word of a text",
            "answer": "the part of a text that answers a question",
            "translate": "a text in the language that a model was taught",
            "summarize": "a text in short",
            "embed": "a text as a vector",
        }.items()
    },
    "evaluate": Command("ownlm.cli.evaluate", "loss, perplexity and bits per byte of a model"),
    "compare": Command("ownlm.cli.compare", "runs side by side, and whether they differ by chance"),
    "generate": Command("ownlm.cli.generate", "continue a prompt"),
    "chat": Command("ownlm.cli.chat", "talk to a model in the terminal"),
    "serve": Command(
        "ownlm.cli.serve", "models behind OpenAI's interface, and pages for the browser"
    ),
    "data": Command("ownlm.cli.data", "look at the exact tokens a run would learn from"),
    "show": Command("ownlm.cli.show", "a model's parts, shapes, parameters and memory"),
    "inside": Command("ownlm.cli.inside", "what a model does with a text, token by token"),
    "doctor": Command("ownlm.cli.doctor", "check a run on its own parts before it is started"),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code of the process."""
    given = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(given)
        sys.stdout.flush()
    except OwnlmError as error:
        error.next_command = error.next_command or _help_of(given)
        return _refuse(error, as_json="--json" in given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return _close_quietly()
    except Exception as error:  # noqa: BLE001 (the last line of defence)
        return _report_bug(error, as_json="--json" in given)
    return code


def table() -> str:
    """What `ownlm` prints when asked for nothing."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ownlm COMMAND [...]        ownlm COMMAND --help explains one",
            "",
            *rows,
            "",
            "First time here: ownlm demo",
        ]
    )


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(table())
        return 0
    if given[0] == "--version":
        print(f"ownlm {importlib.import_module('ownlm').__version__}")
        return 0
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        raise _unknown(name)
    module = COMMANDS[name].module
    shared = [c.module for c in COMMANDS.values()].count(module) > 1
    named = [name] if shared else []
    return int(importlib.import_module(module).run([*named, *rest]))


def _unknown(name: str) -> ConfigError:
    from ownlm.config import nearest  # brings pydantic, which the table can do without

    guess = nearest(name, list(COMMANDS))
    return ConfigError(
        f"unknown command {name!r}" + (f", nearest is {guess}" if guess else ""),
        next_command=f"ownlm {guess} --help" if guess else "ownlm --help",
    )


def _help_of(given: list[str]) -> str:
    """What to type after an error that knows of nothing better."""
    return f"ownlm {given[0]} --help" if given and given[0] in COMMANDS else "ownlm --help"


def _refuse(error: OwnlmError, as_json: bool) -> int:
    text = json.dumps(error.as_dict(), ensure_ascii=False) if as_json else f"ownlm: {error}"
    print(text, file=sys.stderr)
    return error.exit_code


def _close_quietly() -> int:
    """The reader of our output went away (`ownlm show M | head`): nothing is left to say."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _report_bug(error: Exception, as_json: bool) -> int:
    with tempfile.NamedTemporaryFile(
        "w", prefix="ownlm-bug-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    what = f"bug in ownlm: {type(error).__name__}: {error}".splitlines()[0]
    found = {"error": "Bug", "exit_code": BUG, "what": what, "traceback": str(Path(file.name))}
    print(
        json.dumps(found, ensure_ascii=False) if as_json else f"{what}\ntraceback: {file.name}",
        file=sys.stderr,
    )
    return BUG
