"""`ownlm demo`: the whole way from text to a model, on what this Python installation carries."""

import json
import shlex

from ownlm.cli.options import value_of
from ownlm.cli.pretrain import read_options
from ownlm.log import say
from ownlm.recipes.config import RunConfig
from ownlm.recipes.demo import write_corpus

INTRODUCTION = """Learn a tokenizer, train a small model, measure it and look at what it writes:

  ownlm demo [options]

The text is the documentation and source code that come with Python; nothing is downloaded.
It takes three to five minutes on two cores. When it is broken off, the same line goes on.
The options are those of `ownlm pretrain demo` (try its --help), such as --out FOLDER,
--train.steps 100, or --data PATH for a text of your own.
"""


def run(args: list[str]) -> int:
    """Train the demonstration, or go on with it; the exit code is that of `pretrain`."""
    if {"-h", "--help"} & set(args):
        print(INTRODUCTION, end="")
        return 0
    resume = [] if value_of(args, "--resume") or "--resume" in args else ["--resume", "auto"]
    options = read_options(["demo", *args, *resume])
    config = options.run if options.run.data.path else with_text(options.run)
    from ownlm.recipes.pretrain import pretrain

    result = pretrain(config, resume=options.resume, allow_change=options.allow_change)
    if options.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False))
    else:
        print(result)
        if result.finished:
            print(farewell(config))
    return result.exit_code


def with_text(config: RunConfig) -> RunConfig:
    """The configuration with the built-in text, written into the run's folder, as its data."""
    summary = write_corpus(config.folder / "text")
    say(
        f"text: {summary.topics} topics of Python's documentation and {summary.sources} files "
        f"of its library, {summary.text_bytes / 1e6:.1f} MB, nothing downloaded"
    )
    return config.with_values({"data": {"path": str(summary.path)}})


def farewell(config: RunConfig) -> str:
    """What to type after the demonstration: a prompt of its kind, and a text of one's own."""
    folder = shlex.quote(str(config.folder))
    return "\n".join(
        [
            "",
            "It writes what it read, Python. Try these, then a text of your own:",
            f'  ownlm generate {folder} "def read_file(path):" --temperature 0.6',
            f'  ownlm generate {folder} "The \\"yield\\" statement" --temperature 0.6',
            "  ownlm pretrain llama-mini --data FILE_OR_FOLDER",
        ]
    )
