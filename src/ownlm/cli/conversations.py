"""`ownlm data show FILE --model MODEL`: what a model would learn of conversations, in colour."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

from ownlm.cli.options import parse
from ownlm.config import Config
from ownlm.errors import DataError

if TYPE_CHECKING:
    from rich.text import Text

    from ownlm.inspection.conversation import Said

LARGEST = 1 << 30
"""Bytes of a file that is read whole."""


class ShowOptions(Config):
    """Show conversations as a model reads them."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """.jsonl, an object a line with "messages" and perhaps "tools", or .json, a list of them."""
    model: str
    """Model folder, run folder or GGUF file, whose tokenizer and chat template are used."""
    example: int = Field(default=0, ge=0)
    """Which conversation, from 0."""
    own_template: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Use ownlm's chat template, as for a model that has none."""
    json_output: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False
    """Print the tokens as one line of JSON."""


def show(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(ShowOptions, args, prog="ownlm data show", description=__doc__)
    messages, tools = conversation(Path(options.file), options.example)
    from ownlm.inference.language_model import load_tokenizer_of
    from ownlm.inspection.conversation import said
    from ownlm.tokenization.templates import with_template

    tokenizer = load_tokenizer_of(options.model)
    if options.own_template:
        tokenizer = with_template(tokenizer)
    found = said(tokenizer, messages, tools)
    if options.json_output:
        print(json.dumps([[t._asdict() for t in one] for one in found], ensure_ascii=False))
        return 0
    from rich.console import Console

    console = Console(highlight=False)
    for number, tokens in enumerate(found, 1):
        learned = sum(token.learned for token in tokens)
        of = f"sequence {number} of {len(found)}: " if len(found) > 1 else ""
        console.print(f"[bold]{of}{len(tokens)} tokens, {learned} learned[/]")
        console.print(_flow(tokens))
    console.print("green: learned; cyan: control tokens; reversed: both", style="dim")
    return 0


def conversation(path: Path, number: int) -> tuple[Any, Any]:
    """Messages and tools of conversation `number` of a file; DataError names the line."""
    rows = _rows(path)
    if number >= len(rows):
        raise DataError(
            f"conversation {number} of {len(rows)}",
            where=str(path),
            next_command=f"--example with 0 to {len(rows) - 1}",
        )
    where, row = rows[number]
    if isinstance(row, list):
        return row, ()
    if not isinstance(row, dict) or "messages" not in row:
        raise DataError('no object with "messages"', where=where)
    return row["messages"], row.get("tools") or ()


def _rows(path: Path) -> list[tuple[str, Any]]:
    """The values of a file, each with its place."""
    try:
        if path.stat().st_size > LARGEST:
            raise DataError("too large to be shown; show a part of it", where=str(path))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from None
    if path.suffix == ".json":
        values = _value(text, str(path))
        values = values if isinstance(values, list) else [values]
        return [(f"{path}: {number}", value) for number, value in enumerate(values)]
    lines = [(f"{path}:{n}", line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [(where, _value(line, where)) for where, line in lines]


def _value(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", where=where) from None


def _flow(tokens: "list[Said]") -> "Text":
    from rich.text import Text

    flow = Text()
    for token in tokens:
        style = "green" if token.learned else "cyan" if token.control else ""
        style += " reverse" if token.learned and token.control else ""
        flow.append(token.text, style)
    return flow
