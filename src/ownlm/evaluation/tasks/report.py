"""report.html of a model trained for a task: how good it is, beside what, and where it errs.

One file that fetches nothing and runs nothing; texts of records are shown as text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ownlm import files, log
from ownlm.errors import ConfigError
from ownlm.evaluation import curves, page, report
from ownlm.evaluation.page import Html
from ownlm.evaluation.report import REPORT, Facts
from ownlm.evaluation.tasks.judgement import (
    MEASURES,
    ClassFigures,
    Judgement,
    Mistake,
    number,
    verdicts,
    written,
)
from ownlm.evaluation.tasks.plots import Plot, comparison, plots
from ownlm.evaluation.tasks.texts import clipped, record_text

CARDS = 6
"""Figures in large type."""
_LONGEST = 20_000  # characters of a text of a mistake


def write_task_report(
    folder: Path,
    judgement: Judgement,
    baselines: Mapping[str, Judgement],
    facts: Facts | None = None,
    *,
    commands: Sequence[str] = (),
    name: str = "this model",
) -> Path:
    """Write `folder`/report.html and return its path.

    `baselines` are the judgements of whatever stands beside the model on the same records: the
    untuned model, the baselines. `facts` are further tables: the data, the machine. Loss curves
    and the configuration are those of the folder, where it has log.jsonl and recipe.yaml.
    """
    rows = log.read_rows(folder / "log.jsonl") if (folder / "log.jsonl").is_file() else []
    recipe = report.read_recipe(folder / "recipe.yaml")
    title = folder.resolve().name
    parts = [
        page.heading(title, f"{judgement.kind}, judged on {judgement.records:,} records by ownlm"),
        page.numbers(_cards(judgement)),
        page.section("Beside the baselines", *_beside(judgement, baselines, name)),
        page.section("Where it errs", page.mosaic(_pictures(plots(judgement)))),
        *_classes(judgement.classes),
        *_mistakes(judgement),
        *([page.section("Training", *report.plots(rows))] if rows else []),
        *report.tables(facts or {}),
        *([page.section("Configuration", report.configuration(recipe))] if recipe else []),
        *([page.section("What to type next", page.text("\n".join(commands)))] if commands else []),
    ]
    path = folder / REPORT
    files.write_text(path, page.page(f"{title} · ownlm", parts))
    return path


def _cards(judgement: Judgement) -> dict[str, str]:
    """The first figures, and how far confidence can be trusted."""
    first = judgement.figures[judgement.headline].value
    found = {
        MEASURES[name].title: number(name, one.value)
        for name, one in judgement.figures.items()
        if name == judgement.headline or one.value != first  # micro F1 is accuracy again
    }
    cards = dict(list(found.items())[:CARDS])
    if judgement.calibration is not None:
        cards["calibration error"] = number("accuracy", judgement.calibration.error)
    return cards | {"records": f"{judgement.records:,}"}


def _beside(judgement: Judgement, others: Mapping[str, Judgement], name: str) -> list[Html]:
    """Every figure with its interval, a column for the model and each other."""
    rows: list[list[str | tuple[str, str]]] = []
    for key in judgement.figures:
        found = (one.figures.get(key) for one in (judgement, *others.values()))
        cells = ("-" if one is None else _parted(written(key, one)) for one in found)
        rows.append([MEASURES[key].title, *cells])
    lines = [page.quiet(line) for line in verdicts(judgement, others)]
    method = f"In brackets 95 % intervals: percentile bootstrap over {judgement.drawn}."
    notes = [page.quiet(f"{measure}: {note}") for measure, note in judgement.notes.items()]
    table = page.columns(("", name, *others), rows)
    bars = comparison(judgement.headline, {name: judgement, **others})
    return [table, *lines, page.quiet(method), *notes, *(_pictures([bars]) if others else [])]


def _parted(text: str) -> str | tuple[str, str]:
    """The value, and its interval in small type."""
    value, bracket, interval = text.partition(" (")
    return (value, bracket.strip() + interval) if bracket else value


def _pictures(found: Sequence[Plot]) -> list[Html]:
    try:
        return [
            page.picture(plot.title, curves.drawn(plot.draw, plot.size, letters=True))
            for plot in found
        ]
    except ConfigError as error:
        log.warn(str(error))
        return [page.note(str(error))]


def _classes(classes: Mapping[str, ClassFigures]) -> list[Html]:
    """Precision, recall and F1 of every label, the most frequent first."""
    if not classes:
        return []
    rows = [
        [
            label,
            *(
                _parted(written("accuracy", figure))
                for figure in (one.precision, one.recall, one.f1)
            ),
            f"{one.support:,}",
            f"{one.predicted:,}",
        ]
        for label, one in sorted(classes.items(), key=lambda item: -item[1].support)
    ]
    header = ("label", "precision", "recall", "F1", "how many", "predicted")
    return [page.section("Label by label", page.columns(header, rows))]


def _mistakes(judgement: Judgement) -> list[Html]:
    """The worst ones, folded, with the whole text."""
    if not judgement.mistakes:
        return [page.section("Mistakes", page.quiet("There are none."))]
    folded = (
        page.folded(_title(one), _told(one), opened=at < 3)
        for at, one in enumerate(judgement.mistakes)
    )
    title = f"The worst {len(judgement.mistakes):,} of {judgement.wrong:,} mistakes"
    if judgement.outcomes is not None and judgement.outcomes.expected is not None:
        title = f"The {len(judgement.mistakes):,} largest errors"  # hardly a number is exact
    return [page.section(title, page.card(*folded))]


def _title(mistake: Mistake) -> str:
    sure = f", {mistake.confidence:.0%} sure" if mistake.confidence is not None else ""
    said = f"{clipped(mistake.predicted, 60)} for {clipped(mistake.expected, 60)}"
    return f"{said} ({mistake.measure}{sure})"


def _told(mistake: Mistake) -> Html:
    rows = {
        "right": mistake.expected[:_LONGEST],
        "said": mistake.predicted[:_LONGEST],
        "where": mistake.record.origin.where,
    }
    return Html(page.text(record_text(mistake.record)[:_LONGEST]) + page.plain(rows))
