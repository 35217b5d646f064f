"""Words with tags: F1 of whole chunks, as conlleval and seqeval count, and accuracy of words.

Tags come in three styles. Chunks: O, B-X and I-X, counted whole. Marks: O, and tags that single
words bear, such as the roles of a predicate's arguments; counted as CoNLL-2009 does, so that the
many words that bear none do not hide the few that do. Full: a tag a word, such as parts of speech.

Chunks are found here and not by seqeval: it has had no release since 2020, and it returns one
figure for all sentences where an interval needs the counts of each. Tests hold both equal.

Letters: N records, K types of chunks or kinds of tags.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from ownlm.data.tasks.predictions import Tagging
from ownlm.data.tasks.records import Tagged
from ownlm.data.tasks.tagged import is_chunks
from ownlm.evaluation.tasks.calibration import calibrated
from ownlm.evaluation.tasks.case import Case
from ownlm.evaluation.tasks.figures import Floats, estimate, ratio
from ownlm.evaluation.tasks.judgement import (
    MISTAKES,
    Calibration,
    Judgement,
    Mistake,
    Outcomes,
)
from ownlm.evaluation.tasks.labelled import by_class, classes, confusion, over_labels

Style = Literal["chunks", "marks", "full"]
Tags = list[tuple[str, ...]]
OUTSIDE = "O"
PREDICATE = "V"
"""The tag that marks a predicate itself: given with the question, so it is no answer."""


class Chunk(NamedTuple):
    """Words first to last (inclusive) that are together one thing."""

    kind: str
    first: int
    last: int


def judge_tagged(case: Case) -> Judgement:
    """Tags of words, in the style that the right ones have."""
    due, said = _tags(case)
    style = style_of({tag for one in (*due, case.labels) for tag in one})
    kinds = _kinds(due, said, style)
    table = _counts(due, said, kinds, style)
    found = estimate(table, partial(_figures, kinds=kinds, style=style), case.draws)
    words = _alone(due, style), _alone(said, style)
    names = sorted({tag for one in words for (tag,) in one})
    quality = ratio(table[:, -4], table[:, -3])
    return Judgement(
        kind=case.kind,
        records=len(due),
        drawn=case.draws.unit,
        figures={name: one for name, one in found.items() if ":" not in name},
        classes=classes(found, table.sum(axis=0), kinds),
        confusion=confusion(*words, names),
        calibration=_calibrated(case, due, said),
        mistakes=_mistakes(case, due, said, table, len(kinds), style),
        wrong=int((table[:, -2] == 0).sum()),
        outcomes=Outcomes(
            np.array([len(one) for one in due], np.float64),
            quality,
            "share of words that is right",
            length_of="words",
        ),
        notes=_NOTES[style],
    )


def style_of(tags: set[str]) -> Style:
    """How tags are to be counted."""
    if is_chunks(tags):
        return "chunks"
    return "marks" if OUTSIDE in tags else "full"


def chunks(tags: Sequence[str]) -> list[Chunk]:
    """The chunks of a sentence; an I-X that continues nothing of its type begins one.

    >>> chunks(["B-LOC", "I-LOC", "O", "I-PER"])
    [Chunk(kind='LOC', first=0, last=1), Chunk(kind='PER', first=3, last=3)]
    """
    found: list[Chunk] = []
    for at, tag in enumerate(tags):
        kind = kind_of(tag)
        if not kind:
            continue
        goes_on = found and found[-1].last == at - 1 and found[-1].kind == kind
        if tag.startswith("I-") and goes_on:
            found[-1] = found[-1]._replace(last=at)
        else:
            found.append(Chunk(kind, at, at))
    return found


def kind_of(tag: str) -> str:
    """'B-PER' -> 'PER'; empty outside of chunks."""
    return tag[2:] if tag[:2] in ("B-", "I-") else ""


def _tags(case: Case) -> tuple[Tags, Tags]:
    """Tags due and said, where a predicate is marked without its own."""
    due, said = [], []
    for record, one in zip(case.records, case.predictions, strict=True):
        assert isinstance(record, Tagged) and isinstance(one, Tagging)
        assert len(record.tags) == len(one.tags), record.origin.where
        given = record.predicate is not None
        due.append(_without_predicate(record.tags) if given else record.tags)
        said.append(_without_predicate(one.tags) if given else one.tags)
    return due, said


def _without_predicate(tags: tuple[str, ...]) -> tuple[str, ...]:
    own = {PREDICATE, f"B-{PREDICATE}", f"I-{PREDICATE}"}
    return tuple(OUTSIDE if tag in own else tag for tag in tags)


def _kinds(due: Tags, said: Tags, style: Style) -> list[str]:
    """Types of chunks, or all tags that count."""
    tags = {tag for one in (*due, *said) for tag in one}
    if style == "chunks":
        return sorted({kind_of(tag) for tag in tags} - {""})
    return sorted(tags - ({OUTSIDE} if style == "marks" else set()))


def _alone(sentences: Tags, style: Style) -> Tags:
    """Every word by itself: its tag, of a chunk its type."""
    tags = (tag for one in sentences for tag in one)
    return [((kind_of(tag) or OUTSIDE) if style == "chunks" else tag,) for tag in tags]


def _counts(due: Tags, said: Tags, kinds: list[str], style: Style) -> Floats:
    """(N, 3 K + 4): hits, said and due of each kind, words right, words, sentence right, 1."""
    size, place = len(kinds), {kind: at for at, kind in enumerate(kinds)}
    table = np.zeros((len(due), 3 * size + 4))
    for row, right, given in zip(table, due, said, strict=True):
        parts = (_parts(given, style), _parts(right, style))
        for at, found in enumerate((parts[0] & parts[1], *parts)):
            for one in found:
                row[at * size + place[one.kind]] += 1
        hits = sum(a == b for a, b in zip(right, given, strict=True))
        row[-4:] = hits, len(right), right == given, 1
    return table


def _parts(tags: tuple[str, ...], style: Style) -> set[Chunk]:
    """The chunks; else every word that counts is one, of the kind of its tag."""
    if style == "chunks":
        return {*chunks(tags)}
    left_out = OUTSIDE if style == "marks" else None
    return {Chunk(tag, n, n) for n, tag in enumerate(tags) if tag != left_out}


def _figures(sums: Floats, kinds: list[str], style: Style) -> dict[str, Floats]:
    size = len(kinds)
    hits, said, due = (sums[..., at * size : (at + 1) * size] for at in range(3))
    f1 = ratio(2 * hits, said + due)
    words = {"accuracy": ratio(sums[..., -4], sums[..., -3])}
    rest = {"macro_f1": over_labels(f1), "whole": ratio(sums[..., -2], sums[..., -1])}
    by_kind = by_class(hits, said, due, f1, kinds)
    if style == "full":
        return words | rest | by_kind
    precision, recall = ratio(hits.sum(-1), said.sum(-1)), ratio(hits.sum(-1), due.sum(-1))
    micro = ratio(2 * hits.sum(-1), (said + due).sum(-1))
    first, before = ("span_f1", "span_") if style == "chunks" else ("micro_f1", "")
    counted = {first: micro, f"{before}precision": precision, f"{before}recall": recall}
    return counted | rest | words | by_kind


def _calibrated(case: Case, due: Tags, said: Tags) -> Calibration | None:
    """Of every word, where probabilities are given."""
    sure = [one.probabilities for one in case.predictions if isinstance(one, Tagging)]
    if not all(sure) or not sure:
        return None
    right = [a == b for one, two in zip(due, said, strict=True) for a, b in zip(one, two)]
    return calibrated(np.array([p for one in sure for p in one]), np.array(right, np.float64))


def _mistakes(
    case: Case, due: Tags, said: Tags, table: Floats, kinds: int, style: Style
) -> tuple[Mistake, ...]:
    """Sentences by how many chunks (or words) are wrong or missing."""
    missed = table[:, kinds : 3 * kinds].sum(axis=1) - 2 * table[:, :kinds].sum(axis=1)
    wrong = np.flatnonzero(table[:, -2] == 0).tolist()
    worst: list[int] = sorted(wrong, key=lambda at: (-missed[at], at))
    found = []
    for at in worst[:MISTAKES]:
        record, one = case.records[at], case.predictions[at]
        assert isinstance(record, Tagged) and isinstance(one, Tagging)
        words = sum(a != b for a, b in zip(due[at], said[at], strict=True))
        right, given = (_shown(record.words, tags, style) for tags in (due[at], said[at]))
        sure = float(np.mean(one.probabilities)) if one.probabilities else None
        found.append(Mistake(record, right, given, sure, f"{words} of {len(record.words)} words"))
    return tuple(found)


def _shown(words: Sequence[str], tags: Sequence[str], style: Style) -> str:
    """The chunks with their types, or the words with tags."""
    if style == "chunks":
        parts = (" ".join(words[c.first : c.last + 1]) + f" [{c.kind}]" for c in chunks(tags))
        return "; ".join(parts) or "(nothing)"
    left_out = OUTSIDE if style == "marks" else None
    pairs = (f"{w}/{tag}" for w, tag in zip(words, tags, strict=True) if tag != left_out)
    return " ".join(pairs) or "(nothing)"


_NOTES: dict[Style, dict[str, str]] = {
    "chunks": {"span F1": "chunks of equal type, first and last word, as conlleval"},
    "marks": {"F1": "over words with a tag other than O, right or given"},
    "full": {},
}
