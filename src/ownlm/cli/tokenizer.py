"""`ownlm tokenizer train PATH --out FOLDER` and `ownlm tokenizer show FOLDER`."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ownlm.cli.options import parse
from ownlm.config import nearest
from ownlm.data.config import DataConfig
from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    from ownlm.tokenization.report import TokenizerReport
    from ownlm.tokenization.tokenizer import Tokenizer

USAGE = """usage: ownlm tokenizer train PATH --out FOLDER   learn a vocabulary from text
       ownlm tokenizer show FOLDER              what a tokenizer does to text"""

SHOWN_BYTES = 1 << 20
"""Of each text that `show` encodes."""


@dataclass(frozen=True)
class TrainOptions:
    """Learn a vocabulary from text."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A file or a folder of text, as --data of `ownlm pretrain`."""
    out: str
    """Folder for tokenizer.json and tokenizer_config.json."""
    tokenizer: Annotated[TokenizerConfig, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=TokenizerConfig
    )
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the report, or the error, as one line of JSON."""


@dataclass(frozen=True)
class ShowOptions:
    """What a tokenizer does to text: size, compression by text, idle and longest tokens."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folder with a tokenizer.json, or that file."""
    texts: tuple[str, ...] = ()
    """Text files to encode, such as one a language."""
    text: str = ""
    """A text to show token by token."""
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
    options = parse(TrainOptions, args, prog="ownlm tokenizer train")
    from ownlm.recipes.stages import shown_stages
    from ownlm.recipes.vocabulary import learn_vocabulary
    from ownlm.tokenization.report import report

    config = options.data.with_values({"path": options.path})
    with shown_stages() as tell:
        tokenizer = learn_vocabulary(config, options.tokenizer, tell)
    tokenizer.save(Path(options.out))
    _print(report(tokenizer, {}), options.json)
    if not options.json:
        print(f"\nnext:\n  ownlm tokenizer show {options.out} --texts {options.path}")
    return 0


def show(args: list[str]) -> int:
    """`ownlm tokenizer show`."""
    options = parse(ShowOptions, args, prog="ownlm tokenizer show")
    from ownlm.tokenization.load import load_tokenizer
    from ownlm.tokenization.report import report

    tokenizer = load_tokenizer(Path(options.folder))
    samples = {Path(name).name: _beginning(Path(name)) for name in options.texts}
    _print(report(tokenizer, samples), options.json)
    if options.text and not options.json:
        print(_pieces(tokenizer, options.text))
    return 0


def _pieces(tokenizer: "Tokenizer", text: str) -> str:
    """A text token by token: each id and what it stands for."""
    rows = [f"{id:>8}  {tokenizer.token(id)!r}" for id in tokenizer.encode(text)]
    return "\n".join(["", *rows])


def _beginning(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(SHOWN_BYTES).decode("utf-8", "ignore")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _print(report: "TokenizerReport", as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.as_dict(), ensure_ascii=False))
        return
    from rich.console import Console

    Console(highlight=False).print(report)
