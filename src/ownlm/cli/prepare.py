"""`ownlm prepare PATH --out DATA`: text to token shards, for several runs to train on."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ownlm.cli.options import parse
from ownlm.data.config import DataConfig
from ownlm.tokenization.config import TokenizerConfig


@dataclass(frozen=True)
class Options:
    """Turn text into token shards, bound to their tokenizer and published at once."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A file or a folder of text, as --data of `ownlm pretrain`."""
    out: str
    """Folder for the shards, the tokenizer and the report."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what was found in the text, or the error, as one line of JSON."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(Options, args, prog="ownlm prepare")
    from ownlm.data.prepare import prepare
    from ownlm.recipes.material import summary
    from ownlm.recipes.stages import shown_stages

    config = options.data.with_values({"path": options.path})
    with shown_stages() as tell:
        data = prepare(config, Path(options.out), options.tokenizer, tell)
    if options.json:
        print(json.dumps(data.manifest | {"report": data.report}, ensure_ascii=False))
        return 0
    print(f"{options.out}: {summary(data)}")
    for name, share in data.report["languages"].items():
        print(f"  {share:6.1%} {name}")
    for entry in data.report["skipped"]:
        print(f"  left out: {entry['count']} in {entry['first']}: {entry['reason']}")
    print(f"\nnext:\n  ownlm pretrain llama-mini --data {options.out}")
    return 0
