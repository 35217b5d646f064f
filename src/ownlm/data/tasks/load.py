"""Labelled data from a path to records in three splits, with a report of how it was read.

>>> data = load_task(TaskDataConfig(path="reviews.csv"), "classify")
>>> data.train[0].text, data.labels
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ownlm.data.faults import Bad, Fault
from ownlm.data.sources import shown
from ownlm.data.tasks.answers import span
from ownlm.data.tasks.choose import Columns
from ownlm.data.tasks.config import Task, TaskDataConfig
from ownlm.data.tasks.conversations import chat
from ownlm.data.tasks.labelled import LABEL, classify, pair, regress
from ownlm.data.tasks.notes import Notes
from ownlm.data.tasks.overlap import Overlap, contradictions, overlaps
from ownlm.data.tasks.parallel import seq2seq
from ownlm.data.tasks.recognise import Part, read_parts
from ownlm.data.tasks.records import Labelled, Record
from ownlm.data.tasks.rows import Row
from ownlm.data.tasks.splits import assign
from ownlm.data.tasks.tagged import tag
from ownlm.errors import DataError

TASKS: dict[Task, Callable[[Columns, TaskDataConfig, Notes], Callable[[Row], Record]]] = {
    "classify": classify, "pair": pair, "regress": regress, "tag": tag, "span": span,
    "seq2seq": seq2seq, "chat": chat,
}  # fmt: skip
SHOWN = 20
"""Faults that a refusal lists."""
_MANY = 50  # labels; more, and more than half as many as records, are none


@dataclass
class TaskData:
    """Records, the split of each, and how they were recognised."""

    task: Task
    config: TaskDataConfig
    records: list[Record] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)  # which column plays which part
    divided: str = ""  # how the splits came about
    faults: list[Fault] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    overlaps: list[Overlap] = field(default_factory=list)

    @property
    def train(self) -> list[Record]:
        """What is learned from."""
        return self.of("train")

    @property
    def validation(self) -> list[Record]:
        """What is measured on while training."""
        return self.of("validation")

    @property
    def test(self) -> list[Record]:
        """What is measured on in the end."""
        return self.of("test")

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels or tags in order: those stated, else those met, sorted."""
        met = sorted({label for record in self.records for label in _labels(record)})
        return self.config.labels or tuple(met)

    def of(self, split: str) -> list[Record]:
        """The records of one split."""
        return [one for one, mine in zip(self.records, self.splits, strict=True) if mine == split]

    def require_sound(self) -> None:
        """DataError that lists the faults, unless they may be left out."""
        where = shown(self.config.path)
        if self.faults and self.config.bad == "fail":
            first, *more = self.faults[:SHOWN]
            lines = [first.reason, *(f"  {one.where}: {one.reason}" for one in more)]
            if len(self.faults) > SHOWN:
                lines.append(f"  and {len(self.faults) - SHOWN:,} more")
            raise DataError("\n".join(lines), where=first.where, next_command=_MEND)
        share = len(self.faults) / max(1, len(self.faults) + len(self.records))
        if share > self.config.max_bad_fraction:
            raise DataError(
                f"{share:.1%} of the records are bad, allowed {self.config.max_bad_fraction:.1%}; "
                f"the first: {self.faults[0].where}: {self.faults[0].reason}",
                where=where,
                next_command="mend them, or allow more: --data.max-bad-fraction",
            )


_MEND = "mend these, or leave such records out and count them: --data.bad skip"


def load_task(config: TaskDataConfig, task: Task) -> TaskData:
    """The records of a task, sound and divided.

    Raises DataError for what cannot be used (all faults of it, the first 20 listed), and where
    format, columns or splits cannot be told.
    """
    data = read_task(config, task)
    data.require_sound()
    return data


def read_task(config: TaskDataConfig, task: Task) -> TaskData:
    """The same with its faults beside what is sound: to be looked at, not learned from."""
    parts, faults = read_parts(config, task)
    data = TaskData(task, config, parts=parts, faults=faults)
    for part in parts:
        data.faults += part.reading.faults
    rows = [row for part in parts for row in part.reading.rows]
    if not rows and data.faults:
        data.config = config.model_copy(update={"bad": "fail"})
        data.require_sound()
    where = parts[0].name if parts else shown(config.path)
    columns = Columns(_names(parts), rows, where, _apart(parts))
    if rows:
        build = TASKS[task](columns, config, data.notes)
        stated = _build(data, build)
        data.used = columns.used
        _divide(data, stated)
    if not data.records and not data.faults:
        raise DataError("no records: nothing but empty files", where=shown(config.path))
    _judge(data)
    return data


def _names(parts: list[Part]) -> list[str]:
    """Names that all files with rows have, in the order of the first one."""
    named = [part.reading.names for part in parts if part.reading.rows]
    return [name for name in (named[0] if named else []) if all(name in one for one in named)]


def _apart(parts: list[Part]) -> dict[str, str]:
    """Names that only some files have, with the first file that has each."""
    found, shared = dict[str, str](), _names(parts)
    for part in parts:
        for name in part.reading.names if part.reading.rows else ():
            found.setdefault(name, part.name)
    return {name: file for name, file in found.items() if name not in shared}


def _build(data: TaskData, build: Callable[[Row], Record]) -> list[str]:
    """Records of all sound rows; returns the split that the file of each states."""
    stated = []
    for part in data.parts:
        for row in part.reading.rows:
            try:
                data.records.append(build(row))
                stated.append(part.split)
            except Bad as bad:
                data.faults.append(bad.at(*row.origin))
        part.reading.rows = part.reading.rows[:0]
    return stated


def _divide(data: TaskData, stated: list[str]) -> None:
    """Splits as stated; where validation is not, or nothing is, by seed and content."""
    config, told = data.config, set(stated) - {""}
    shares = f"{config.validation:.0%} validation"
    if not told:
        data.divided = f"by seed {config.seed} and content: {shares}, {config.test:.0%} test"
        data.splits = assign(data.records, config.seed, config.validation, config.test)
    else:
        data.divided = "by files: " + ", ".join(sorted(told))
        data.splits = stated
        if "validation" not in told and config.validation:
            data.divided += f"; {shares} taken from train by seed {config.seed} and content"
            train = [one for one, split in zip(data.records, stated) if split == "train"]
            parts = iter(assign(train, config.seed, config.validation, 0.0))
            data.splits = [next(parts) if split == "train" else split for split in stated]
        _require_learnable(data)
    data.overlaps = overlaps(data.records, data.splits)


def _require_learnable(data: TaskData) -> None:
    """A label that training does not have is a fault of every record that has it."""
    if data.task not in ("classify", "pair"):
        return
    known = {label for record in data.train for label in _labels(record)}
    kept = []
    for record, split in zip(data.records, data.splits, strict=True):
        strange = [label for label in _labels(record) if label not in known]
        if strange:
            reason = f"label {strange[0]!r} occurs in {split} only: it cannot be learned"
            data.faults.append(Bad("unseen-label", reason).at(*record.origin))
        else:
            kept.append((record, split))
    data.records, data.splits = [one for one, _ in kept], [split for _, split in kept]


def _judge(data: TaskData) -> None:
    """Notes on labels, and DataError for those that cannot be labels."""
    if data.task not in ("classify", "pair"):
        return
    labels, count = data.labels, len(data.records)
    column = data.used.get("label", "")
    if len(labels) > _MANY and len(labels) > count / 2:
        raise DataError(
            f"column {column!r} has {len(labels):,} values in {count:,} records: no labels",
            where=data.parts[0].name,
            next_command=f"{LABEL} NAME",
        )
    if len(labels) == 1:
        raise DataError(f"every record has the label {labels[0]!r}: nothing to tell apart",
                        where=data.parts[0].name, next_command=f"{LABEL} NAME")  # fmt: skip
    lower = {label.casefold(): label for label in labels}
    for label in labels:
        if lower[label.casefold()] != label:
            data.notes.add(
                "labels that differ in case only", f"{label!r}, {lower[label.casefold()]!r}"
            )
    for first, other in contradictions(data.records):
        places = f"{first.origin.where} and {other.origin.where}"
        data.notes.add("texts that stand with different labels", places)


def _labels(record: Record) -> tuple[str, ...]:
    if isinstance(record, Labelled):
        return record.labels
    return tuple(getattr(record, "tags", ()))
