"""`ownlm predict MODEL FILE`: what a finetuned model says of every record of a file."""

import csv
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import tyro
from pydantic import Field

from ownlm import log
from ownlm.cli.options import parse
from ownlm.config import Config
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.errors import ConfigError

if TYPE_CHECKING:
    from ownlm.recipes.predict import Said


class PredictOptions(Config):
    """Predictions for every record of a file, as they are made: JSON lines, or CSV.

    The file is a table, JSON, or plain text with a text a line; columns are recognised.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder or run of `ownlm finetune`."""
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A file or a folder of records."""
    out: str = ""
    """A file for the predictions; its ending .csv or .jsonl says the format; empty: printed."""
    format: Literal["auto", "jsonl", "csv"] = "auto"
    """auto: by the ending of --out, else jsonl."""
    data: TaskDataConfig = TaskDataConfig()
    batch: int = Field(default=256, ge=1)
    """Records whose predictions are made together."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(PredictOptions, args, prog="ownlm predict", description=__doc__)
    from ownlm.recipes.predict import inputs, predict
    from ownlm.recipes.tuned import load_tuned
    from ownlm.runtime import pick_device

    tuned = load_tuned(options.model, pick_device(options.device))
    records = inputs(tuned, options.data.model_copy(update={"path": options.file}))
    as_csv = options.format == "csv" or (options.format == "auto" and options.out.endswith(".csv"))
    waiting, count = predict(tuned, records, options.batch), 0
    first = list(islice(waiting, 1))  # what cannot be read leaves an earlier result as it is
    with _opened(options.out) as file:
        write = _table(file) if as_csv else _lines(file)
        for said in chain(first, waiting):
            write(said)
            count += 1
    if options.out:
        log.say(f"{options.out}: {count:,} predictions")
    return 0


def row_of(said: "Said") -> dict[str, Any]:
    """A prediction and what it is of, as plain values: the record without its stand-in label."""
    given = said.record.as_dict()
    asked = {
        key: given[key]
        for key in ("text", "pair", "words", "question", "context", "source", "messages", "where")
        if given.get(key) not in (None, "")
    }
    return asked | said.prediction.as_dict()


def _opened(path: str) -> AbstractContextManager[TextIO]:
    if not path:
        return nullcontext(sys.stdout)
    try:
        return open(path, "w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=path) from None


def _lines(file: TextIO) -> Callable[["Said"], None]:
    def write(said: "Said") -> None:
        print(json.dumps(row_of(said), ensure_ascii=False), file=file, flush=True)

    return write


def _table(file: TextIO) -> Callable[["Said"], None]:
    """Columns of the first row; what is no number or text is JSON in its cell."""
    writers: list[csv.DictWriter[str]] = []

    def write(said: "Said") -> None:
        flat = {
            key: value if isinstance(value, str | int | float) else json.dumps(value)
            for key, value in row_of(said).items()
        }
        if not writers:
            writers.append(csv.DictWriter(file, list(flat), extrasaction="ignore"))
            writers[0].writeheader()
        writers[0].writerow(flat)
        file.flush()

    return write
