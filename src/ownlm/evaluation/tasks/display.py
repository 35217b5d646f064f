"""A judgement on a terminal: figures beside those of the baselines, labels, the worst mistakes."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ownlm.evaluation.tasks.judgement import (
    MEASURES,
    ClassFigures,
    Judgement,
    Mistake,
    better,
    number,
    verdicts,
    written,
)
from ownlm.evaluation.tasks.texts import clipped, record_text

LABELS, MISTAKES = 12, 5
"""Rows that are printed of each."""


def show(
    judgement: Judgement, others: Mapping[str, Judgement], console: Console, name: str = "model"
) -> None:
    """Print all that is needed to know whether the model is worth having."""
    console.print(figures_table(judgement, others, name))
    for line in verdicts(judgement, others):
        console.print(Text(line), soft_wrap=True)
    if len(judgement.classes) > 1:
        console.print()
        console.print(classes_table(judgement.classes))
    if judgement.mistakes:
        shown = judgement.mistakes[:MISTAKES]
        estimated = judgement.outcomes is not None and judgement.outcomes.expected is not None
        title = f"\nthe worst {len(shown)} of {judgement.wrong:,} mistakes"
        title = f"\nthe {len(shown)} largest errors" if estimated else title
        console.print(Text(title, "bold"))
        for mistake in shown:
            console.print(mistake_text(mistake), soft_wrap=True)
    for measure, note in judgement.notes.items():
        console.print(Text(f"{measure}: {note}", "dim"), soft_wrap=True)
    console.print(Text(f"intervals: 95 %, over {judgement.drawn}", "dim"), soft_wrap=True)


def figures_table(
    judgement: Judgement, others: Mapping[str, Judgement], name: str = "model"
) -> Table:
    """A row a figure, a column for the model and each other; the best of a row is green."""
    table = _table("", name, *others)
    for key, mine in judgement.figures.items():
        row = [mine, *(one.figures.get(key) for one in others.values())]
        values = [one.value for one in row if one is not None]
        cells = [
            Text("-")
            if one is None
            else Text(written(key, one), "" if _beaten(key, one.value, values) else "green")
            for one in row
        ]
        table.add_row(Text(MEASURES[key].title), *cells)
    return table


def classes_table(classes: Mapping[str, ClassFigures]) -> Table:
    """Precision, recall and F1 of the most frequent labels."""
    table = _table("label", "precision", "recall", "F1", "support")
    most = sorted(classes.items(), key=lambda one: -one[1].support)
    for label, one in most[:LABELS]:
        cells = (number("accuracy", figure.value) for figure in (one.precision, one.recall))
        table.add_row(Text(label), *cells, written("accuracy", one.f1), f"{one.support:,}")
    if len(most) > LABELS:
        table.add_row(Text(f"and {len(most) - LABELS:,} more", "dim"))
    return table


def mistake_text(mistake: Mistake) -> Text:
    """A mistake in a few lines: its place, the text, what is right and what was said."""
    sure = f", {mistake.confidence:.0%} sure" if mistake.confidence is not None else ""
    lines = Text(f"{mistake.record.origin.where}  ", "dim")
    lines.append(f"{mistake.measure}{sure}\n", "yellow")
    lines.append(f"  {clipped(record_text(mistake.record))}\n")
    lines.append("  right: ", "dim").append(f"{clipped(mistake.expected)}\n", "green")
    return lines.append("  said:  ", "dim").append(clipped(mistake.predicted), "red")


def _table(first: str, *names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in names:
        table.add_column(Text(name), justify="right")
    return table


def _beaten(key: str, value: float, values: list[float]) -> bool:
    """Whether one of the values is better; a value that is none is beaten."""
    return value != value or any(better(key, other, value) for other in values)
