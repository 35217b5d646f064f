"""`ownlm tokenizer train PATH --out FOLDER` and `ownlm tokenizer show FOLDER`."""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ownlm import files
from ownlm.cli.options import parse
from ownlm.config import nearest
from ownlm.data.config import DataConfig
from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    from ownlm.tokenization.report import TokenizerReport

USAGE = """usage: ownlm tokenizer train PATH --out FOLDER   learn a vocabulary from text
       ownlm tokenizer show FOLDER [TEXT]       what a tokenizer does to text"""

SHOWN_BYTES = 1 << 20
"""Of each text that `show` encodes."""


@dataclass(frozen=True)
class TrainOptions:
    """Learn a vocabulary from text."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A file or a folder of text, as --data of `ownlm pretrain`."""
    out: str
    """Folder for tokenizer.json and tokenizer_config.json."""
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the report, or the error, as one line of JSON."""


@dataclass(frozen=True)
class ShowOptions:
    """What a tokenizer does to text: size, compression by text, idle and longest tokens."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """A tokenizer.json, or a folder with one: a model, a run, prepared data."""
    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")] = ""
    """A text to show token by token."""
    texts: tuple[str, ...] = ()
    """Text files to measure, such as one a language."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the report, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    actions = {"train": train, "show": show}
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if args[0] not in actions:
        guess = nearest(args[0], list(actions))
        raise ConfigError(
            f"unknown action {args[0]!r}" + (f", nearest is {guess}" if guess else ""),
            next_command=USAGE.removeprefix("usage: "),
        )
    return actions[args[0]](args[1:])


def train(args: list[str]) -> int:
    """`ownlm tokenizer train`."""
    options = parse(TrainOptions, _spelled_out(args), prog="ownlm tokenizer train")
    from ownlm.recipes.stages import shown_stages
    from ownlm.recipes.vocabulary import learn_vocabulary

    config = options.data.with_values({"path": options.path})
    _require_no_model(Path(options.out))
    files.require_writable(Path(options.out))
    with shown_stages() as tell:
        tokenizer, report = learn_vocabulary(config, options.tokenizer, tell)
    tokenizer.save(Path(options.out))
    if options.json:
        print(json.dumps(report.as_dict(), ensure_ascii=False))
        return 0
    _print(report)
    path, out = shlex.quote(options.path), shlex.quote(options.out)
    print(f"\nnext:\n  ownlm prepare {path} --out DATA --tokenizer.path {out}")
    return 0


def show(args: list[str]) -> int:
    """`ownlm tokenizer show`."""
    options = parse(ShowOptions, args, prog="ownlm tokenizer show")
    from ownlm.tokenization.load import load_tokenizer
    from ownlm.tokenization.report import report

    tokenizer = load_tokenizer(Path(options.folder))
    samples = {Path(name).name: _beginning(Path(name)) for name in options.texts}
    found = report(tokenizer, samples)
    tokens = [(id, tokenizer.readable(id)) for id in tokenizer.encode(options.text)]
    if options.json:
        print(json.dumps(found.as_dict() | {"tokens": tokens}, ensure_ascii=False))
        return 0
    _print(found)
    for id, token in tokens:
        print(f"{id:>8}  {_quoted(token)}")
    return 0


def _require_no_model(folder: Path) -> None:
    """ConfigError for a folder whose model or shards were made with the tokenizer in it."""
    used = [name for name in ("config.json", "manifest.json") if (folder / name).exists()]
    if used or (folder.parent / "manifest.json").exists():
        raise ConfigError(
            "holds a tokenizer that a model or shards depend on; it will not be replaced",
            where=str(folder),
            next_command="name a new folder with --out",
        )


def _quoted(token: str) -> str:
    """In quotes, one token a line; bytes that are no character come as \\xe4 already."""
    return repr(token).replace("\\\\x", "\\x")


def _spelled_out(args: list[str]) -> list[str]:
    """`--vocab-size` means `--tokenizer.vocab-size`: nothing else is trained here."""
    short = {f"--{name}".replace("_", "-") for name in TokenizerConfig.model_fields}
    names = [word.partition("=")[0].replace("_", "-") for word in args]
    return ["--tokenizer." + word[2:] if name in short else word for name, word in zip(names, args)]


def _beginning(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(SHOWN_BYTES).decode("utf-8", "ignore")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _print(report: "TokenizerReport") -> None:
    from rich.console import Console

    Console(highlight=False).print(report)
