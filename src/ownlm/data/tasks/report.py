"""What is told about labelled data: how it was recognised, what is in it, three examples."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from ownlm.data.report import counted
from ownlm.data.sources import shown
from ownlm.data.tasks.load import SHOWN, TaskData
from ownlm.data.tasks.records import Record
from ownlm.data.tasks.splits import SPLITS

EXAMPLES = 3


class Lengths(NamedTuple):
    """How long something is over all records."""

    least: int
    median: int
    most_of_95: int  # 95 % are no longer
    longest: int


def lengths(data: TaskData) -> dict[str, Lengths]:
    """Lengths by what is measured."""
    measured: dict[str, list[int]] = {}
    for record in data.records:
        for name, length in record.lengths().items():
            measured.setdefault(name, []).append(length)
    found = {}
    for name, values in measured.items():
        values.sort()
        last = len(values) - 1
        found[name] = Lengths(values[0], values[last // 2], values[last * 95 // 100], values[last])
    return found


def counts(data: TaskData) -> dict[str, Counter[str]]:
    """Of each label how often it stands in each split, the most frequent label first."""
    found: dict[str, Counter[str]] = {}
    for record, split in zip(data.records, data.splits, strict=True):
        for label in record.counted():
            found.setdefault(label, Counter())[split] += 1
    return dict(sorted(found.items(), key=lambda item: (-item[1].total(), item[0])))


def examples(data: TaskData) -> list[Record]:
    """Records of training that show different labels, as far as there are."""
    chosen: list[Record] = []
    met: set[str] = set()
    for record in data.train or data.records:
        labels = set(record.counted())
        if not chosen or labels - met:
            chosen.append(record)
            met |= labels
        if len(chosen) == EXAMPLES:
            return chosen
    others = (one for one in data.train if all(one is not mine for mine in chosen))
    return [*chosen, *(one for _, one in zip(range(EXAMPLES - len(chosen)), others))]


def recognised(data: TaskData) -> Iterator[tuple[str, str]]:
    """A heading and a line of text each: how the data were read."""
    sizes = Counter(data.splits)
    names = [part.name for part in data.parts]
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4:,} more" if len(names) > 4 else "")
    yield "data", listed or shown(data.config.path)
    yield "format", "; ".join(dict.fromkeys(part.reading.described for part in data.parts))
    yield (
        "columns",
        ", ".join(
            part if part == column else f"{part} is {column!r}"
            for part, column in data.used.items()
        ),
    )
    found = counted(len(data.records), "record")
    yield "records", f"{found}: " + ", ".join(f"{name} {sizes[name]:,}" for name in SPLITS)
    yield "splits", data.divided
    if data.task == "tag":
        yield "tags", f"{len(data.labels):,} different"
    for name, found_lengths in lengths(data).items():
        unit = "" if name in ("words", "turns", "characters") else " characters"
        least, median, most, longest = found_lengths
        told = f"{least:,} to {longest:,}{unit}, median {median:,}, 95% up to {most:,}"
        yield "lengths", f"{name}: {told}"
    for overlap in data.overlaps:
        yield "leaks", overlap.told()
    for note in data.notes.lines():
        yield "noted", note


def as_dict(data: TaskData) -> dict[str, Any]:
    """The same for JSON, with the examples and the faults."""
    return {
        "task": data.task,
        "files": [{"path": part.name, "split": part.split, "format": part.reading.format,
                   "described": part.reading.described} for part in data.parts],
        "columns": data.used,
        "records": len(data.records),
        "splits": {name: data.splits.count(name) for name in SPLITS},
        "divided": data.divided,
        "labels": {label: dict(found) for label, found in counts(data).items()},
        "lengths": {name: found._asdict() for name, found in lengths(data).items()},
        "leaks": [overlap.as_dict() for overlap in data.overlaps],
        "noted": [{"what": what, "count": count, "first": data.notes.places[what]}
                  for what, count in data.notes.counts.items()],
        "examples": [record.as_dict() for record in examples(data)] if data.records else [],
        "faults": len(data.faults),
        "first_faults": [{"kind": one.kind, "where": one.where, "reason": one.reason}
                         for one in data.faults[:SHOWN]],
    }  # fmt: skip
