"""`ownlm evaluate MODEL --data PATH`: loss, perplexity and bits per byte of a model on text."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field

from ownlm import log
from ownlm.cli.options import parse, value_of
from ownlm.config import Config
from ownlm.data.config import DataConfig
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.errors import DataError
from ownlm.objectives.tasks.config import TaskKind

if TYPE_CHECKING:
    from rich.table import Table

    from ownlm.evaluation.likelihood import Likelihood, Progress
    from ownlm.evaluation.windows import Stream
    from ownlm.inference.language_model import LM


class EvaluateOptions(Config):
    """Measure how well a model predicts a text. Bits per byte compare across tokenizers."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder or run folder."""
    data: str
    """A file or a folder of text, or prepared data of the model's own tokenizer."""
    split: Literal["validation", "train"] = "validation"
    """Which part of prepared data; raw text is read whole."""
    text_field: str = ""
    """Field of .jsonl, .csv and .parquet that holds the text; empty: found by its name."""
    codes: str = ""
    """Control code of each document, for a model that has learned some: as --data.codes of
    `ownlm pretrain`. Codes are given, not predicted."""
    stride: int = Field(default=0, ge=0)
    """Tokens by which the window moves; 0: its whole length. Smaller is slower and more exact:
    each token is predicted from at least context - stride tokens before it."""
    documents: bool = True
    """Text of one document does not see the one before it."""
    batch: int = Field(default=8, ge=1)
    """Windows at a time."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    dtype: str = ""
    """fp32, bf16, fp16; empty: fp32 on a CPU, the stored type elsewhere."""
    json_output: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False
    """Print the result, or the error, as one line of JSON."""


class TaskOptions(Config):
    """Measure a model on a task: one that was taught it, or, with --shots, a decoder that is told
    what to do."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder or run folder."""
    task: TaskKind
    """classify, pair, regress, tag, span, seq2seq, chat or embed."""
    data: TaskDataConfig
    shots: int | None = None
    """Training records that are shown in the prompt, 0 for none; unset: the model was taught."""
    told: str = ""
    """What the task is, in your words; with --shots."""
    records: int = Field(default=0, ge=0)
    """Test records that are judged, the first ones; 0: all."""
    out: str = ""
    """A file for the predictions, JSON lines."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    json_output: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False
    """Print the result, or the error, as one line of JSON."""


def run_task(args: list[str]) -> int:
    """The same of a task."""
    options = parse(TaskOptions, args, prog="ownlm evaluate")
    from ownlm.recipes.examined import examine

    found = examine(
        options.model,
        options.task,
        options.data,
        shots=options.shots,
        told=options.told,
        most=options.records,
        out=options.out,
        device=options.device,
    )
    if options.json_output:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
        return 0
    from rich.console import Console

    from ownlm.evaluation.tasks.display import show

    show(found.model, found.others, Console(highlight=False))
    return 0


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    if value_of(args, "--task") is not None:
        return run_task(args)
    options = parse(EvaluateOptions, args, prog="ownlm evaluate", description=__doc__)
    from ownlm.evaluation.likelihood import likelihood
    from ownlm.inference.language_model import load
    from ownlm.objectives.config import ObjectiveConfig
    from ownlm.objectives.make import make_objective

    lm = load(options.model, options.device or None, options.dtype or None)
    stream, coded = open_text(options, lm)
    objective = make_objective(ObjectiveConfig(kind="codes" if coded else "causal"), lm.tokenizer)
    with _shown() as progress:
        found = likelihood(
            lm.require_writer(),
            objective,
            stream,
            context=objective.window(lm.model.context),
            stride=options.stride,
            batch=options.batch,
            documents=options.documents,
            progress=progress,
        )
    facts = {"model": str(lm.folder), "data": options.data}
    if options.json_output:
        print(json.dumps(facts | found.as_dict(), ensure_ascii=False))
        return 0
    from rich.console import Console

    Console(highlight=False).print(_table(facts, found))
    return 0


def open_text(options: EvaluateOptions, lm: "LM") -> "tuple[Stream, bool]":
    """Prepared data when the path is such, else raw text through the model's tokenizer; and
    whether its documents begin with control codes."""
    from ownlm.data.corpus import Corpus
    from ownlm.data.shards import is_prepared, open_prepared
    from ownlm.evaluation.text import encode

    path = Path(options.data)
    if not is_prepared(path):
        config = DataConfig(text_field=options.text_field, codes=options.codes)
        return encode(Corpus(options.data, config), lm.tokenizer), bool(options.codes)
    data = open_prepared(path)
    if data.tokenizer_digest != lm.tokenizer.digest:
        raise DataError(
            f"tokens of another tokenizer: digest {data.tokenizer_digest[:16]}, "
            f"the model's is {lm.tokenizer.digest[:16]}",
            where=str(path),
            next_command="give the raw text: it goes through the model's tokenizer",
        )
    return data.train if options.split == "train" else data.validation, data.holds == "codes"


@contextlib.contextmanager
def _shown() -> Iterator["Progress | None"]:
    """A bar on a terminal, nothing elsewhere."""
    if not log.console().is_terminal:
        yield None
        return
    from rich.progress import Progress as Bars

    with Bars(console=log.console(), transient=True) as bars:
        task = bars.add_task("evaluating", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _table(facts: dict[str, str], found: "Likelihood") -> "Table":
    from rich.table import Table
    from rich.text import Text

    speed = found.predicted / max(found.seconds, 1e-9)
    rows = facts | {
        "text": f"{found.text_bytes:,} bytes, {found.tokens:,} tokens",
        "predicted": f"{found.predicted:,} tokens",
        "windows": f"of {found.context:,} tokens, every {found.stride:,}",
        "loss": f"{found.loss:.4f} nats per token",
        "perplexity": "-" if found.perplexity is None else f"{found.perplexity:.3f}",
        "bits per byte": "-" if found.bits_per_byte is None else f"{found.bits_per_byte:.4f}",
        "speed": f"{speed:,.0f} tokens per second",
    }
    grid = Table.grid(padding=(0, 3))
    for name, text in rows.items():
        style = "bold" if name in ("loss", "perplexity", "bits per byte") else ""
        grid.add_row(Text(name, "dim"), Text(text, style))
    return grid
