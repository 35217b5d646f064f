"""What a corpus holds, counted while it streams by: the numbers `ownlm prepare` prints."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ownlm.data.faults import Fault

_LISTED = 1000  # (file, kind of fault) pairs kept with an example; beyond, only counted
_LONGEST = 5
MOST_CODES = 1000  # control codes; more of them, and the field is no such thing
_SAMPLE = 200  # texts whose language is identified
_SAMPLE_CHARACTERS = 2000
_DISTINCT = 1 << 18  # documents remembered to find equal ones


@dataclass
class Duplicates:
    """How many documents repeat an earlier one: exact for 262,144 texts, an estimate beyond.

    Only hashes divisible by 2**level are kept; when too many, the level rises. So the answer
    depends on the set of documents alone, never on their order, and memory is bounded.
    """

    level: int = 0
    seen: Counter[int] = field(default_factory=Counter)

    def add(self, key: int) -> None:
        """Count a document whose hash is `key`."""
        if key % (1 << self.level) == 0:
            self.seen[key] += 1
            if len(self.seen) > _DISTINCT:
                self._raise_level(self.level + 1)

    def merge(self, other: "Duplicates") -> None:
        """Add the counts of other documents."""
        self.seen.update(other.seen)
        self._raise_level(max(self.level, other.level))

    def count(self) -> int:
        """Documents that repeat an earlier one."""
        return sum(times - 1 for times in self.seen.values()) << self.level

    def _raise_level(self, level: int) -> None:
        """Go to `level`, or beyond until what is left fits."""
        self.level = level
        if level:
            kept = {key: n for key, n in self.seen.items() if key % (1 << level) == 0}
            self.seen = Counter(kept)
        if len(self.seen) > _DISTINCT:
            self._raise_level(level + 1)


@dataclass
class Kind:
    """Totals of one type of file."""

    files: int = 0
    documents: int = 0
    bytes: int = 0


@dataclass
class CorpusReport:
    """Counts over documents; reports of parts of a corpus add up by `merge`."""

    documents: int = 0
    bytes: int = 0  # of UTF-8 text
    empty: int = 0  # files and rows without any text
    held_out: int = 0  # documents that a split by documents keeps for validation
    bad: int = 0
    kinds: dict[str, Kind] = field(default_factory=dict)
    skipped: dict[tuple[str, str], tuple[int, Fault]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)  # files that are not read, by ending
    duplicates: Duplicates = field(default_factory=Duplicates)
    longest: list[tuple[int, str]] = field(default_factory=list)  # heap of (bytes, where)
    sample: list[tuple[int, str]] = field(default_factory=list)  # heap of (-hash, beginning)
    languages: dict[str, float] = field(default_factory=dict)  # shares of the sample
    codes: Counter[str] = field(default_factory=Counter)  # documents by control code

    def fault(self, fault: Fault) -> None:
        """Count one record or file that cannot be used."""
        self.bad += 1
        self.reasons[fault.kind] += 1
        self._skip(1, fault)

    def document(self, where: str, size: int, key: int, held_out: bool, code: str = "") -> None:
        """Count one document of `size` bytes whose text has the 64-bit hash `key`."""
        if code and (code in self.codes or len(self.codes) <= MOST_CODES):
            self.codes[code] += 1
        self.documents += 1
        self.held_out += held_out
        self.duplicates.add(key)
        _keep_largest(self.longest, (size, where), _LONGEST)

    def piece(self, text: str, size: int, key: int) -> None:
        """Count a piece of text; those with the smallest hashes are the sample of languages."""
        self.bytes += size
        if len(self.sample) < _SAMPLE or -key > self.sample[0][0]:
            _keep_largest(self.sample, (-key, text[:_SAMPLE_CHARACTERS]), _SAMPLE)

    def merge(self, other: "CorpusReport") -> None:
        """Add the counts of another part of the corpus."""
        for name in ("documents", "bytes", "empty", "held_out", "bad"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, kind in other.kinds.items():
            mine = self.kinds.setdefault(name, Kind())
            mine.files, mine.documents = mine.files + kind.files, mine.documents + kind.documents
            mine.bytes += kind.bytes
        for count, fault in other.skipped.values():
            self._skip(count, fault)
        self.reasons += other.reasons
        self.codes += other.codes
        self.duplicates.merge(other.duplicates)
        for entry in other.longest:
            _keep_largest(self.longest, entry, _LONGEST)
        for text in other.sample:
            _keep_largest(self.sample, text, _SAMPLE)

    def bad_fraction(self) -> float:
        """Share of records and files that cannot be used."""
        return self.bad / max(1, self.bad + self.documents + self.empty)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON; equal corpora give equal reports."""
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "empty": self.empty,
            "duplicates": self.duplicates.count(),
            "duplicates_are_an_estimate": self.duplicates.level > 0,
            "kinds": {name: vars(kind) for name, kind in sorted(self.kinds.items())},
            "languages": self.languages,
            "longest": [{"bytes": n, "where": where} for n, where in sorted(self.longest)[::-1]],
            **({"codes": dict(sorted(self.codes.items()))} if self.codes else {}),
            "bad": self.bad,
            "bad_fraction": self.bad_fraction(),
            "reasons": dict(sorted(self.reasons.items())),
            "skipped": [
                {"path": fault.path, "kind": fault.kind, "count": count, "first": fault.where}
                | {"reason": fault.reason}
                for count, fault in self.skipped.values()
            ],
            "ignored": dict(sorted(self.ignored.items())),
        }

    def _skip(self, count: int, fault: Fault) -> None:
        key = (fault.path, fault.kind)
        if key in self.skipped or len(self.skipped) < _LISTED:
            before, first = self.skipped.get(key, (0, fault))
            self.skipped[key] = (before + count, first)


def merged(reports: list[CorpusReport]) -> CorpusReport:
    """The counts of several corpora; of a single one its own report."""
    if len(reports) == 1:
        return reports[0]
    whole = CorpusReport()
    for report in reports:
        whole.merge(report)
        whole.ignored += report.ignored
    whole.languages = identify_languages([text for _, text in sorted(whole.sample)])
    return whole


def counted(number: int, noun: str) -> str:
    """1 -> '1 document', 1200 -> '1,200 documents'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def identify_languages(texts: list[str]) -> dict[str, float]:
    """Shares of languages among `texts`, largest first, by py3langid (extra `data`)."""
    try:
        import py3langid
    except ImportError:
        return {"unknown": 1.0} if texts else {}
    counts = Counter(str(py3langid.classify(text)[0]) for text in texts)
    return {name: count / len(texts) for name, count in counts.most_common()}


def _keep_largest(heap: list[Any], entry: Any, size: int) -> None:
    if len(heap) < size:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
