"""Records as text, for people who look at a mistake."""

import json

from ownlm.data.tasks.records import (
    Conversation,
    Labelled,
    Parallel,
    Question,
    Record,
    Scored,
    Tagged,
)

LONG = 240
"""Characters of a text on a terminal."""


def record_text(record: Record) -> str:
    """What a model read of it; a predicate stands between »«."""
    if isinstance(record, Labelled | Scored):
        return record.text if record.pair is None else f"{record.text}\n{record.pair}"
    if isinstance(record, Tagged):
        at = record.predicate
        return " ".join(f"»{word}«" if n == at else word for n, word in enumerate(record.words))
    if isinstance(record, Question):
        return f"{record.question}\n\n{record.context}"
    if isinstance(record, Parallel):
        return record.source
    assert isinstance(record, Conversation)
    turns = (
        f"{one.role}: {one.content}"
        + "".join(f" {json.dumps(c.as_dict(), ensure_ascii=False)}" for c in one.tool_calls)
        for one in record.messages[:-1]
    )
    return "\n".join(turns)


def clipped(text: str, most: int = LONG) -> str:
    """In one line, cut where it is long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
