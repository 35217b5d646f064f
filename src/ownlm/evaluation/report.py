"""report.html of a run: what happened, in one file that needs nothing else and runs nothing.

Made from what the run folder holds (recipe.yaml, log.jsonl, evaluation.json, samples.md,
model/), so it can be made again at any time. Everything that came from outside, samples above
all, is shown as text.
"""

import functools
import json
import math
import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from safetensors import SafetensorError, safe_open

from ownlm import files, log
from ownlm.config import flatten
from ownlm.errors import ConfigError, OwnlmError
from ownlm.evaluation import curves, page
from ownlm.evaluation.headline import headline
from ownlm.evaluation.page import Html
from ownlm.models.families import family_of
from ownlm.models.load import count_parameters, empty_model

REPORT = "report.html"
EVALUATION = "evaluation.json"

WRITING = ("auto", "causal", "prefix", "codes", "middle")
"""Objectives of models that continue a text."""

READING = ("masked", "replaced", "permutation")
"""Of models that read a text, to be taught a task."""

Row = Mapping[str, Any]
Facts = Mapping[str, Mapping[str, object]]
"""Titles of tables, and their rows by name."""


class Sample(NamedTuple):
    """A section of samples.md: its heading (the step) and what the model wrote."""

    title: str
    text: str


def write_report(run: Path, facts: Facts | None = None) -> Path:
    """Write `run`/report.html and return its path.

    `facts` are further tables that the folder does not hold: the data, the machine. Without
    matplotlib the report says so and has no plots.
    """
    rows = log.read_rows(run / "log.jsonl")
    recipe = read_recipe(run / "recipe.yaml")
    parts = [
        page.heading(f"Run {run.resolve().name}", _subtitle(recipe, rows)),
        page.numbers(_headline(run, rows)),
        page.quiet(f"Losses in nats per token. {_validated(run)}"),
        page.section("Training", *plots(rows)),
        *_samples(run / "samples.md"),
        *tables(facts or {}),
        page.section("Configuration", configuration(recipe)),
        page.section("What to type next", page.text("\n".join(next_commands(run)))),
    ]
    path = run / REPORT
    files.write_text(path, page.page(f"{run.resolve().name} · ownlm", parts))
    return path


def next_commands(run: Path) -> list[str]:
    """Commands that make sense after a run, ready to be pasted."""
    folder = shlex.quote(str(run))
    recipe = read_recipe(run / "recipe.yaml")
    tasks = recipe.get("mixture", {}).get("tasks") or [recipe]
    kind = tasks[0].get("objective", {}).get("kind", "causal")
    if kind not in WRITING:
        taught = "classify" if kind in READING else "seq2seq"
        return [f"ownlm finetune {taught} {folder} --data LABELLED_FILE", f"ownlm show {folder}"]
    return [
        f"ownlm chat {folder}",
        f'ownlm generate {folder} "Once upon a time"',
        f"ownlm evaluate {folder} --data FILE_OR_FOLDER",
        f"ownlm show {folder}",
    ]


def read_samples(path: Path) -> list[Sample]:
    """The sections of samples.md, latest first: "## step N", then the text, indented as code."""
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    pieces = re.split(r"^## +(step \d[^\n]*)\n", content, flags=re.MULTILINE)
    pairs = zip(pieces[1::2], pieces[2::2], strict=True)
    return [Sample(title.strip(), _unindented(text.strip("\n"))) for title, text in pairs][::-1]


def _unindented(text: str) -> str:
    """Without the four spaces that make it code in Markdown, where every line has them."""
    lines = text.split("\n")
    if all(line.startswith("    ") or not line.strip() for line in lines):
        return "\n".join(line[4:] for line in lines)
    return text


def read_recipe(path: Path) -> dict[str, Any]:
    """The configuration of a run; empty where it cannot be read."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def _subtitle(recipe: Row, rows: Sequence[Row]) -> str:
    steps = max((int(row["step"]) for row in rows if "step" in row), default=0)
    name = recipe.get("recipe") or "own configuration"
    return f"{name}, {steps:,} steps, made by ownlm"


def _headline(run: Path, rows: Sequence[Row]) -> dict[str, str]:
    """The figures that a reader looks for first; those that are not known are left out."""
    found = headline(_final(run) or _best(rows))
    if values := curves.series(rows, "loss").values:
        found["training loss"] = f"{values[-1]:.4f}"
    if (count := parameters_of(run / "model")) is not None:
        found["parameters"] = _short(count)
    if values := curves.series(rows, "tokens").values:
        found["tokens seen"] = _short(values[-1])
    if values := curves.series(rows, "tokens_per_second").values:
        found["tokens / second"] = f"{statistics.median(values):,.0f}"
    return found


def _final(run: Path) -> Row:
    """evaluation.json of the finished model, as the command line says it; empty without one."""
    try:
        figures = json.loads((run / EVALUATION).read_text(encoding="utf-8"))
        float(figures["loss"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(figures)


def _best(rows: Sequence[Row]) -> Row:
    """The lowest of the evaluations during training, which read a part of the text."""
    measured = [row for row in rows if _finite(row.get("validation_loss"))]
    if not measured:
        return {}
    row = min(measured, key=lambda row: float(row["validation_loss"]))
    found = {name.removeprefix("validation_"): value for name, value in row.items()}
    return found | {"bits_per_byte": found.get("bpb")}


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _validated(run: Path) -> str:
    """What the figures of validation were measured on."""
    if "predicted" in _final(run):
        return (
            "Figures of validation: the finished model, over all of the text kept apart; "
            "the curves: windows spread over it, always the same."
        )
    return "Figures of validation are the best of the run, over windows spread over the text."


def _short(number: float) -> str:
    """2557632 -> '2.558 M', so that it fits into a card."""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e4, " k")):
        if number >= size:
            return f"{number / (1e3 if unit == ' k' else size):.4g}{unit}"
    return f"{number:,.0f}"


def parameters_of(folder: Path) -> int | None:
    """Parameters of a model folder as `ownlm show` counts them; what its files hold where its
    config.json is of no family here. (GPT-2's files hold biases that are always zero.)"""
    try:
        return _described((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, OwnlmError):
        return stored_parameters(folder)


@functools.lru_cache(maxsize=64)
def _described(config: str) -> int:
    values = json.loads(config)
    return count_parameters(empty_model(family_of(values, "config.json"), values, "config.json"))


def stored_parameters(folder: Path) -> int | None:
    """Numbers in the safetensors files of a model folder, from their headers alone."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as file:
                total += sum(math.prod(file.get_slice(k).get_shape()) for k in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError):
            return None
    return total or None


def plots(rows: Sequence[Row]) -> list[Html]:
    """The curves of a log; what is to be said where there are none."""
    panels = curves.panels(rows)
    if not panels:
        return [page.note("The log holds no numbers yet.")]
    try:
        return [page.grid(page.picture(p.title, curves.svg(p)) for p in panels)]
    except ConfigError as error:
        log.warn(str(error))
        return [page.note(str(error))]


def _samples(path: Path) -> list[Html]:
    samples = read_samples(path)
    folded = [
        page.folded(sample.title, page.text(sample.text), opened=index == 0)
        for index, sample in enumerate(samples)
    ]
    return [page.section("What it writes", page.card(*folded))] if folded else []


def tables(facts: Facts) -> list[Html]:
    """A section of tables."""
    found = [page.table(title, _shown(rows)) for title, rows in facts.items() if rows]
    return [page.section("Data and machine", page.grid(found))] if found else []


def configuration(recipe: Row) -> Html:
    """A card a section of recipe.yaml; single values share one."""
    single = {k: v for k, v in recipe.items() if not isinstance(v, dict)}
    sections = {k: flatten(v) for k, v in recipe.items() if isinstance(v, dict)}
    tables = [page.table("run", _shown(single))] if single else []
    tables += [page.table(name, _shown(values)) for name, values in sections.items()]
    return page.grid(tables) if tables else page.note("recipe.yaml could not be read.")


def _shown(values: Mapping[str, object]) -> dict[str, str]:
    return {str(key): _one(value) for key, value in values.items()}


def _one(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
