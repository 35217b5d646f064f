"""What splits must not share, and what labels must not contradict."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from ownlm.data.tasks.records import Labelled, Record
from ownlm.data.tasks.splits import SPLITS, folded

_FIRST = 3


@dataclass
class Overlap:
    """Records of one split whose inputs stand in another one too."""

    splits: tuple[str, str]
    equal: int = 0  # to the letter
    alike: int = 0  # but for case and spaces
    places: list[tuple[str, str]] = field(default_factory=list)

    def told(self) -> str:
        """The same in a sentence."""
        first, second = self.splits
        places = "; ".join(f"{there} = {here}" for here, there in self.places)
        count = self.equal + self.alike
        alike = f" ({self.alike:,} but for case and spaces)" if self.alike else ""
        return f"{count:,} of {second} stand in {first} too{alike}: {places}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self)


def overlaps(records: Sequence[Record], splits: Sequence[str]) -> list[Overlap]:
    """Duplicates across splits, counted in the later split of each two."""
    texts: dict[str, dict[str, Record]] = {name: {} for name in SPLITS}
    alike: dict[str, dict[str, Record]] = {name: {} for name in SPLITS}
    for record, split in zip(records, splits, strict=True):
        texts[split].setdefault(record.inputs, record)
        alike[split].setdefault(folded(record.inputs), record)
    found = []
    for first, second in combinations(SPLITS, 2):
        overlap = Overlap((first, second))
        for record in (one for one, split in zip(records, splits) if split == second):
            other = texts[first].get(record.inputs)
            overlap.equal += other is not None
            if other is None and (other := alike[first].get(folded(record.inputs))):
                overlap.alike += 1
            if other and len(overlap.places) < _FIRST:
                overlap.places.append((other.origin.where, record.origin.where))
        if overlap.places:
            found.append(overlap)
    return found


def contradictions(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """For each input that stands with different labels: its first record and one against it."""
    by_text: dict[str, list[Labelled]] = defaultdict(list)
    for record in records:
        if isinstance(record, Labelled):
            by_text[folded(record.inputs)].append(record)
    pairs = ((same[0], next((one for one in same if set(one.labels) != set(same[0].labels)), None))
             for same in by_text.values())  # fmt: skip
    return [(first, other) for first, other in pairs if other]
