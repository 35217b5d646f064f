"""`ownlm inside MODEL "text"`: how likely a model finds each token of a text, who reads whom in
it, and what each layer would say. The page Inside of `ownlm serve` draws the same."""

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

from ownlm.cli.options import parse
from ownlm.config import Config
from ownlm.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Group

    from ownlm.inference.language_model import LM
    from ownlm.inspection.attention_maps import AttentionMap
    from ownlm.inspection.given import Given, Piece
    from ownlm.inspection.token_scores import Scored


class InsideOptions(Config):
    """Look into a model at work on a text."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder, run folder or GGUF file."""
    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]
    """What the model reads."""
    other: str = ""
    """A second text, which an encoder reads behind the first."""
    written: str = ""
    """What an encoder-decoder says to the text; empty: what it says by itself."""
    layer: int = Field(default=0, ge=0)
    """Layer whose attention is printed, from 1; 0: the middle one."""
    head: int = Field(default=1, ge=1)
    """Head whose attention is printed, from 1."""
    last: int = Field(default=10, ge=1)
    """Places, the last ones of the text, for which it is printed what each layer would say."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    json_output: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False
    """Print everything, the weights of every head included, as one line of JSON."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(InsideOptions, args, prog="ownlm inside", description=__doc__)
    from rich.console import Console

    from ownlm.inference.language_model import load
    from ownlm.inspection.given import given
    from ownlm.inspection.ways import ways

    lm = load(options.model, options.device or None)
    read = given(lm, options.text, other=options.other, written=options.written)
    there = ways(lm)
    if not there:
        raise ConfigError(f"{lm.model.family.name} has nothing to look into", where=options.model)
    if options.json_output:
        found: dict[str, Any] = {"model": options.model, "text": options.text}
        for way in there:
            found |= AS_DICT[way](lm, read)
        print(json.dumps(found, ensure_ascii=False))
        return 0
    console = Console(highlight=False, emoji=False)
    for way in reversed(there):
        for table in TABLES[way](lm, read, options):
            console.print(table)
    return 0


def _scores(lm: "LM", read: "Given", options: InsideOptions) -> list["Group"]:
    """A row a token: its probability, its rank, and what else could stand there."""
    from ownlm.inspection.token_scores import token_scores

    rows = []
    for number, one in enumerate(token_scores(lm, read, top=3)):
        likely = "  ".join(f"{_shown(a.token)} {a.probability:.1%}" for a in one.alternatives)
        share = "" if one.logprob is None else f"{math.exp(one.logprob):.2%}"
        rows.append([str(number), _shown(one.token), share, str(one.rank or ""), likely])
    return [_table("How likely each token is", ["", "token", "", "rank", "likeliest"], rows)]


def _attention(lm: "LM", read: "Given", options: InsideOptions) -> list["Group"]:
    """A table a kind of attention: what each token reads most under one head."""
    from ownlm.inspection.attention_maps import attention_maps

    made = []
    for seen in attention_maps(lm, read):
        layers, heads = seen.weights.shape[:2]
        layer = options.layer or (layers + 1) // 2
        if layer > layers or options.head > heads:
            raise ConfigError(
                f"layer {layer}, head {options.head}: there are {layers} layers of {heads} heads",
                where=f"{seen.kind} attention",
            )
        title = f"What each token reads: {seen.kind} attention, layer {layer} of {layers}, head "
        rows = [[str(n), *row] for n, row in enumerate(_read(seen, layer - 1, options.head - 1))]
        title += f"{options.head} of {heads}"
        made.append(_table(title, ["", "token", "reads most"], rows))
    return made


def _read(seen: "AttentionMap", layer: int, head: int) -> list[list[str]]:
    """Each token that reads, and the three that it reads most."""
    found = []
    for piece, line in zip(seen.queries, seen.weights[layer, head], strict=True):
        shares, places = line.topk(min(3, len(line)))
        most = zip(shares.tolist(), places.tolist(), strict=True)
        words = [f"{_shown(seen.keys[n])} ({n}) {share:.3f}" for share, n in most if share > 0]
        found.append([_shown(piece), "  ".join(words)])
    return found


def _lens(lm: "LM", read: "Given", options: InsideOptions) -> list["Group"]:
    """A row a layer, the last one on top: the likeliest token at each place."""
    from ownlm.inspection.lens import logit_lens

    lens = logit_lens(lm, read, top=1, last=options.last)
    rows = [
        [f"layer {number}" if number else "before", *(_shown(one[0].token) for one in guesses)]
        for number, guesses in reversed([*enumerate(lens.layers)])
    ]
    return [_table("What each layer would say", ["", *map(_shown, lens.tokens)], rows)]


def _scores_dict(lm: "LM", read: "Given") -> dict[str, Any]:
    from ownlm.inspection.token_scores import token_scores

    def row(one: "Scored") -> dict[str, Any]:
        likely = [[a.token.id, a.token.text, a.logprob] for a in one.alternatives]
        told = {"logprob": one.logprob, "rank": one.rank or None, "likeliest": likely}
        return one.token._asdict() | told

    return {"tokens": [row(one) for one in token_scores(lm, read)]}


def _attention_dict(lm: "LM", read: "Given") -> dict[str, Any]:
    from ownlm.inspection.attention_maps import attention_maps

    return {
        "attention": {
            one.kind: {
                "queries": [piece.text for piece in one.queries],
                "keys": [piece.text for piece in one.keys],
                "weights": one.weights.double().round(decimals=6).tolist(),
            }
            for one in attention_maps(lm, read)
        }
    }


def _lens_dict(lm: "LM", read: "Given") -> dict[str, Any]:
    from ownlm.inspection.lens import logit_lens

    lens = logit_lens(lm, read)
    layers = [
        [[[g.token.id, g.token.text, g.probability] for g in place] for place in layer]
        for layer in lens.layers
    ]
    return {"lens": {"first": lens.first, "layers": layers}}


TABLES: dict[str, Callable[["LM", "Given", InsideOptions], list["Group"]]] = {
    "attention": _attention,
    "lens": _lens,
    "probabilities": _scores,
}
AS_DICT: dict[str, Callable[["LM", "Given"], dict[str, Any]]] = {
    "attention": _attention_dict,
    "lens": _lens_dict,
    "probabilities": _scores_dict,
}


def _shown(piece: "Piece") -> str:
    """A token on one line, whose spaces can be seen."""
    return piece.text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣") or "▪"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return Group(Text(title, "bold"), table, Text())
