"""Training, validation and test: whole groups, even by label, a function of seed and content.

Records belong together when their inputs are equal but for case and spaces, or when they are of
one group (an article, a document, a conversation). Neither the order of the records nor the
names of their files matter.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ownlm.data.tasks.records import Labelled, Record

SPLITS = ("train", "validation", "test")


def assign(records: Sequence[Record], seed: int, validation: float, test: float) -> list[str]:
    """The split of each record.

    Groups are gone through label by label, the rarest of a record's labels deciding, and within
    a label in an order drawn from `seed`; each goes where most is lacking. So every label has its
    share in every split, as far as it has enough groups, and its first group is learned from.
    """
    members = groups(records)
    stratum = _strata(records, members)
    key = {number: _key(records, found, seed) for number, found in enumerate(members)}
    order = sorted(key, key=lambda number: (stratum[number], key[number]))
    shares = dict(zip(SPLITS, (1 - validation - test, validation, test), strict=True))
    filled: Counter[str] = Counter()
    splits = [""] * len(records)
    before = None
    for number in order:
        found = members[number]
        seen = filled.total() + len(found)
        lacking = {split: share * seen - filled[split] for split, share in shares.items() if share}
        first = stratum[number] != before
        split = "train" if first else max(lacking, key=lambda name: lacking[name])
        filled[split] += len(found)
        before = stratum[number]
        for at in found:
            splits[at] = split
    return splits


def groups(records: Sequence[Record]) -> list[list[int]]:
    """Numbers of the records that belong together, directly or by way of others."""
    parents = list(range(len(records)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, record in enumerate(records):
        for key in _ties(record):
            parents[root(number)] = root(first.setdefault(key, number))
    found: dict[int, list[int]] = defaultdict(list)
    for number in range(len(records)):
        found[root(number)].append(number)
    return list(found.values())


def folded(text: str) -> str:
    """The text without differences of case and space."""
    return " ".join(text.casefold().split())


def _ties(record: Record) -> Iterator[tuple[str, str]]:
    yield "text", folded(record.inputs)
    if record.group:
        yield "group", record.group


def _key(records: Sequence[Record], members: list[int], seed: int) -> bytes:
    """Bytes that order groups at random, from the content of their records alone."""
    texts = min(folded(records[at].inputs) for at in members)
    return hashlib.sha256(f"{seed}\0{texts}".encode("utf-8", "surrogatepass")).digest()


def _strata(records: Sequence[Record], members: list[list[int]]) -> list[str]:
    """The label of each group that is rarest among all records; empty without labels."""
    counts = Counter(
        label for record in records if isinstance(record, Labelled) for label in record.labels
    )
    labels = [
        {label for at in found if isinstance(one := records[at], Labelled) for label in one.labels}
        for found in members
    ]
    return [min(one, key=lambda label: (counts[label], label), default="") for one in labels]
