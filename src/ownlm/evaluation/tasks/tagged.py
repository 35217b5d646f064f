"""Words with tags: F1 of whole chunks, as conlleval and seqeval count, and accuracy of words.

Chunks are found here and not by seqeval: it has had no release since 2020, and it returns one
figure for all sentences where an interval needs the counts of each. Tests hold both equal.

Letters: N records, K types of chunks or kinds of tags.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

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

PREDICATE = "V"
"""The chunk that marks a predicate itself: given with the question, so it is no answer."""


class Chunk(NamedTuple):
    """Words first to last (inclusive) that are together one thing."""

    kind: str
    first: int
    last: int


def judge_tagged(case: Case) -> Judgement:
    """Tags of words; of chunks where tags are O, B-X and I-X."""
    due, said = _tags(case)
    chunked = is_chunks(tag for one in (*due, case.labels) for tag in one)
    kinds = _kinds(due, said, chunked)
    table = _counts(due, said, kinds, chunked)
    found = estimate(table, partial(_figures, kinds=kinds, chunked=chunked), case.draws)
    words = _alone(due, chunked), _alone(said, chunked)
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
        mistakes=_mistakes(case, due, said, table, len(kinds)),
        wrong=int((table[:, -2] == 0).sum()),
        outcomes=Outcomes(
            np.array([len(one) for one in due], np.float64),
            quality,
            "share of words that is right",
            length_of="words",
        ),
        notes={"span F1": "chunks of equal type, first and last word, as conlleval"}
        if chunked
        else {},
    )


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
    return tag[2:] if tag[1:2] == "-" else ""


def _tags(case: Case) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Tags due and said, where a predicate is marked without its own chunk."""
    due, said = [], []
    for record, one in zip(case.records, case.predictions, strict=True):
        assert isinstance(record, Tagged) and isinstance(one, Tagging)
        assert len(record.tags) == len(one.tags), record.origin.where
        given = record.predicate is not None
        due.append(_without_predicate(record.tags) if given else record.tags)
        said.append(_without_predicate(one.tags) if given else one.tags)
    return due, said


def _without_predicate(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("O" if kind_of(tag) == PREDICATE else tag for tag in tags)


def _kinds(due: list[tuple[str, ...]], said: list[tuple[str, ...]], chunked: bool) -> list[str]:
    """Types of chunks, or all tags."""
    tags = {tag for one in (*due, *said) for tag in one}
    return sorted({kind_of(tag) for tag in tags} - {""} if chunked else tags)


def _alone(sentences: list[tuple[str, ...]], chunked: bool) -> list[tuple[str, ...]]:
    """Every word by itself: its tag, of a chunk its type."""
    return [((kind_of(tag) or "O") if chunked else tag,) for one in sentences for tag in one]


def _counts(
    due: list[tuple[str, ...]], said: list[tuple[str, ...]], kinds: list[str], chunked: bool
) -> Floats:
    """(N, 3 K + 4): hits, said and due of each kind, words right, words, sentence right, 1."""
    size, place = len(kinds), {kind: at for at, kind in enumerate(kinds)}
    table = np.zeros((len(due), 3 * size + 4))
    for row, right, given in zip(table, due, said, strict=True):
        parts = (_parts(given, chunked), _parts(right, chunked))
        for at, found in enumerate((parts[0] & parts[1], *parts)):
            for one in found:
                row[at * size + place[one.kind]] += 1
        hits = sum(a == b for a, b in zip(right, given, strict=True))
        row[-4:] = hits, len(right), right == given, 1
    return table


def _parts(tags: tuple[str, ...], chunked: bool) -> set[Chunk]:
    """The chunks; else every word is one, of the kind of its tag."""
    return {*(chunks(tags) if chunked else (Chunk(tag, n, n) for n, tag in enumerate(tags)))}


def _figures(sums: Floats, kinds: list[str], chunked: bool) -> dict[str, Floats]:
    size = len(kinds)
    hits, said, due = (sums[..., at * size : (at + 1) * size] for at in range(3))
    f1 = ratio(2 * hits, said + due)
    words = {"accuracy": ratio(sums[..., -4], sums[..., -3])}
    rest = {"macro_f1": over_labels(f1), "whole": ratio(sums[..., -2], sums[..., -1])}
    if chunked:
        precision, recall = ratio(hits.sum(-1), said.sum(-1)), ratio(hits.sum(-1), due.sum(-1))
        micro = ratio(2 * hits.sum(-1), (said + due).sum(-1))
        spans = {"span_f1": micro, "span_precision": precision, "span_recall": recall}
        return spans | rest | words | by_class(hits, said, due, f1, kinds)
    return words | rest | by_class(hits, said, due, f1, kinds)


def _calibrated(
    case: Case, due: list[tuple[str, ...]], said: list[tuple[str, ...]]
) -> Calibration | None:
    """Of every word, where probabilities are given."""
    sure = [one.probabilities for one in case.predictions if isinstance(one, Tagging)]
    if not all(sure) or not sure:
        return None
    right = [a == b for one, two in zip(due, said, strict=True) for a, b in zip(one, two)]
    return calibrated(np.array([p for one in sure for p in one]), np.array(right, np.float64))


def _mistakes(
    case: Case, due: list[tuple[str, ...]], said: list[tuple[str, ...]], table: Floats, kinds: int
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
        right, given = (_shown(record.words, tags) for tags in (due[at], said[at]))
        sure = float(np.mean(one.probabilities)) if one.probabilities else None
        found.append(Mistake(record, right, given, sure, f"{words} of {len(record.words)} words"))
    return tuple(found)


def _shown(words: Sequence[str], tags: Sequence[str]) -> str:
    """The chunks with their types; else every word with its tag."""
    if is_chunks(tags):
        parts = (" ".join(words[c.first : c.last + 1]) + f" [{c.kind}]" for c in chunks(tags))
        return "; ".join(parts)
    if not Counter(tags).keys() - {"O"}:
        return "(nothing)"
    return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))
