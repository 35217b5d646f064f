"""Rows to a source and a target: translations, summaries, answers."""

from collections.abc import Callable

from ownlm.data.faults import Bad
from ownlm.data.tasks.choose import Columns
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.labelled import text_of
from ownlm.data.tasks.names import SIDES
from ownlm.data.tasks.notes import Notes
from ownlm.data.tasks.records import Parallel
from ownlm.data.tasks.rows import Row

SOURCE, TARGET = "--data.source-column", "--data.target-column"


def seq2seq(columns: Columns, config: TaskDataConfig, notes: Notes) -> Callable[[Row], Parallel]:
    """Two columns asked for, or known to go together, or the only two of text; the instruction
    and input of Alpaca are one source; `translation` holds both sides by language."""
    if "translation" in columns.names:
        return _translation(columns, config)
    if config.source_column or config.target_column:
        columns.need("source", config.source_column, (), SOURCE)
        columns.need("target", config.target_column, (), TARGET)
    elif not columns.pair(("source", "target"), [two for two in SIDES if _whole(two, columns)]):
        texts = columns.texts()
        if len(texts) != 2:
            columns.refuse("no source and target recognised", f"{SOURCE} NAME {TARGET}")
        columns.used |= {"source": texts[0], "target": texts[1]}
    source, target = columns.used["source"], columns.used["target"]
    more = "input" if source == "instruction" and "input" in columns.names else ""
    if more:
        columns.used["source"] = "instruction and input"

    def build(row: Row) -> Parallel:
        text, added = text_of(row, source), str(row.fields.get(more) or "")
        text = f"{text}\n\n{added}" if added.strip() else text
        answer = text_of(row, target)
        return Parallel(origin=row.origin, group=row.group, source=text, target=answer)

    return build


def _whole(two: tuple[str, str], columns: Columns) -> bool:
    """Whether a pair of names is all there is: the input of Alpaca is only half of a source."""
    return two != ("input", "output") or "instruction" not in columns.names


def _translation(columns: Columns, config: TaskDataConfig) -> Callable[[Row], Parallel]:
    found = [value for value in columns.values("translation") if isinstance(value, dict)]
    languages = list(found[0]) if found else []
    source, target = config.source_column, config.target_column
    if not source and not target and len(languages) == 2:
        source, target = languages
    if source not in languages or target not in languages:
        listed = ", ".join(languages) or "none"
        columns.refuse(f"languages of translation: {listed}", f"{SOURCE} LANGUAGE {TARGET}")
    columns.used |= {"source": f"translation.{source}", "target": f"translation.{target}"}

    def build(row: Row) -> Parallel:
        sides = row.fields.get("translation")
        if not isinstance(sides, dict):
            raise Bad("missing-field", "field 'translation' is no object of languages")
        inner = Row(row.origin, sides)
        return Parallel(
            origin=row.origin, group=row.group,
            source=text_of(inner, source), target=text_of(inner, target),
        )  # fmt: skip

    return build
