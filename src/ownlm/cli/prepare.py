"""`ownlm prepare PATH --out DATA`: text to token shards, for several runs to train on."""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ownlm.cli.options import parse
from ownlm.data.config import DataConfig
from ownlm.data.report import counted
from ownlm.data.sources import shown
from ownlm.errors import ConfigError
from ownlm.tokenization.config import TokenizerConfig

if TYPE_CHECKING:
    from rich.table import Table

    from ownlm.data.shards import PreparedData, TokenStream

SHOWN = 5
"""Entries of a list in the table; all of them are in report.json."""


@dataclass(frozen=True)
class Options:
    """Turn text into token shards, bound to their tokenizer and published at once."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A file or a folder of text, as --data of `ownlm pretrain`; with --verify prepared data."""
    out: str = ""
    """Folder for the shards, the tokenizer and the report."""
    verify: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Change nothing: compare every file of the prepared data at PATH with its manifest."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what was found in the text, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(Options, args, prog="ownlm prepare")
    if options.verify:
        return _verify(options)
    if not options.out:
        raise ConfigError(
            "where to? Name a folder with --out",
            next_command=f"ownlm prepare {shlex.quote(options.path)} --out DATA",
        )
    from ownlm.data.prepare import prepare
    from ownlm.recipes.material import summary
    from ownlm.recipes.stages import shown_stages

    config = options.data.with_values({"path": options.path})
    with shown_stages() as tell:
        data = prepare(config, Path(options.out), options.tokenizer, tell)
    if options.json:
        print(json.dumps(data.manifest | {"report": data.report}, ensure_ascii=False))
        return 0
    from rich.console import Console

    print(f"{shown(options.out)}: {summary(data)}\n")
    Console(highlight=False).print(_table(data))
    print(f"\nnext:\n  ownlm pretrain llama-mini --data {shlex.quote(shown(options.out))}")
    return 0


def _verify(options: Options) -> int:
    """Every hash; DataError lists all files that differ."""
    from ownlm.data.shards import open_prepared

    data = open_prepared(Path(options.path), verify=True)
    if options.json:
        print(json.dumps({"folder": options.path, "digest": data.digest, "faults": []}))
    else:
        print(f"{shown(options.path)}: every file is as it was published; digest {data.digest}")
    return 0


def _table(data: "PreparedData") -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 3))
    for name, entries in {**_found(data.report), **_left_out(data.report), **_made(data)}.items():
        style = "yellow" if name.startswith("left out") else ""
        for number, entry in enumerate(entries):
            grid.add_row(Text("" if number else name, "dim"), Text(entry, style))
    return grid


def _found(report: dict[str, Any]) -> dict[str, list[str]]:
    """What the corpus holds: rows of the table, each a name and its lines."""
    about = "about " if report["duplicates_are_an_estimate"] else ""
    repeated, empty = report["duplicates"], report["empty"]
    return {
        "documents": [
            f"{report['documents']:,}"
            + (f", {about}{repeated:,} of them repeat another" if repeated else "")
            + (f"; besides {empty:,} without any text" if empty else "")
        ],
        "text": [f"{report['bytes']:,} bytes of UTF-8"],
        "files": [
            f"{kind['files']:,} {name}: {counted(kind['documents'], 'document')}, "
            f"{counted(kind['bytes'], 'byte')}"
            for name, kind in report["kinds"].items()
        ],
        "languages": [
            ", ".join(f"{name} {share:.0%}" for name, share in report["languages"].items())
            + " of a sample"
        ],
        "longest": [f"{e['bytes']:,} bytes  {e['where']}" for e in report["longest"][:SHOWN]],
    }


def _left_out(report: dict[str, Any]) -> dict[str, list[str]]:
    """Bad records with an example of each, and files of kinds that are not read."""
    skipped, ignored = report["skipped"], report["ignored"]
    lines = [f"{e['count']:,} in {e['first']}: {e['reason']}" for e in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        lines.append(f"and {len(skipped) - SHOWN:,} more kinds or files: see report.json")
    rows = {f"left out: {report['bad']:,}": lines} if skipped else {}
    kinds = ", ".join(f"{count:,} {ending}" for ending, count in ignored.items())
    return rows | ({"not read": [kinds]} if kinds else {})


def _made(data: "PreparedData") -> dict[str, list[str]]:
    """What was written."""
    facts = data.manifest
    how = {"documents": "whole documents, by their hash", "tail": "the end of every document"}
    return {
        "tokenizer": [f"{facts['vocab_size']:,} ids, digest {data.tokenizer_digest[:16]}"],
        "to train on": [_size(data.train)],
        "to validate": [f"{_size(data.validation)}: {how[facts['split']]}"]
        if data.validation.tokens
        else ["nothing"],
    }


def _size(stream: "TokenStream") -> str:
    ratio = stream.text_bytes / max(1, stream.tokens)
    tokens, documents = counted(stream.tokens, "token"), counted(len(stream.starts), "document")
    return f"{tokens} of {documents}, {ratio:.2f} bytes a token"
