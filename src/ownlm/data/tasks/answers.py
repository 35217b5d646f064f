"""Rows to questions with answers that stand where they say they do."""

from collections.abc import Callable
from typing import Any

from ownlm.data.faults import Bad
from ownlm.data.fields import sound
from ownlm.data.tasks.choose import Columns
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.labelled import TEXT, text_of
from ownlm.data.tasks.notes import Notes
from ownlm.data.tasks.records import Answer, Question
from ownlm.data.tasks.rows import Row


def span(columns: Columns, config: TaskDataConfig, notes: Notes) -> Callable[[Row], Question]:
    """A question, its context and answers, as in SQuAD or flat as in `datasets`."""
    context = columns.need("context", config.text_column, ("context",), TEXT)
    question = columns.need("question", "", ("question",), TEXT)
    answers = columns.need("answers", "", ("answers",), TEXT)

    def build(row: Row) -> Question:
        text = text_of(row, context)
        return Question(
            origin=row.origin, group=row.group or str(row.fields.get("title") or ""), context=text,
            question=text_of(row, question), answers=_answers(row.fields, answers, text),
            id=str(row.fields.get("id") or ""),
        )  # fmt: skip

    return build


def _answers(fields: dict[str, Any], name: str, context: str) -> tuple[Answer, ...]:
    """The answers in order, each once; Bad for one that is not at its offset."""
    given, impossible = fields.get(name), fields.get("is_impossible") is True
    if isinstance(given, dict):
        texts, starts = given.get("text"), given.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise Bad("bad-answer", "answers without a text and an answer_start each")
        given = [{"text": text, "answer_start": start} for text, start in zip(texts, starts)]
    if given is None and impossible:
        return ()
    if not isinstance(given, list):
        raise Bad("no-answers", "no list of answers (an empty one: cannot be answered)")
    if given and impossible:
        raise Bad("bad-answer", "is_impossible, and yet there are answers: take one of both away")
    return tuple(dict.fromkeys(_answer(one, context) for one in given))


def _answer(given: Any, context: str) -> Answer:
    if not isinstance(given, dict):
        raise Bad("bad-answer", "an answer is an object of text and answer_start")
    text, start = sound(given.get("text"), "text"), given.get("answer_start")
    if not text.strip():
        raise Bad("empty-answer", "an answer is empty: a question without answers has none")
    if not isinstance(start, int) or isinstance(start, bool):
        raise Bad("bad-answer", f"answer_start of {text!r} is no whole number")
    if start < 0 or context[start : start + len(text)] != text:
        raise Bad("offset", f"answer {text!r} is not at {start}{_elsewhere(text, start, context)}")
    return Answer(text, start)


def _elsewhere(text: str, start: int, context: str) -> str:
    """Where the answer stands instead, nearest first, and what seems to have been counted."""
    places, at = [], context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    if not places:
        return ", nor anywhere else in its context"
    near = min(places, key=lambda place: abs(place - start))
    before = context[:near]
    units = {"bytes": len(before.encode("utf-8", "surrogatepass")),
             "UTF-16 units": len(before.encode("utf-16-le", "surrogatepass")) // 2}  # fmt: skip
    counted = next((name for name, count in units.items() if count == start), "")
    return f" but at {near}" + (f": it counts {counted}, not characters" if counted else "")
