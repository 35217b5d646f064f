"""What was noticed about data that can be used all the same: counted, with the first places."""

from dataclasses import dataclass, field

_FIRST = 3


@dataclass
class Notes:
    """Counts of what was noticed, in the words it is told in."""

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, where: str, count: int = 1) -> None:
        """Count `what`, seen at `where`."""
        self.counts[what] = self.counts.get(what, 0) + count
        first = self.places.setdefault(what, [])
        if len(first) < _FIRST and where not in first:
            first.append(where)

    def lines(self) -> list[str]:
        """A line each, the most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda item: -item[1])
        return [f"{count:,} {what}: {', '.join(self.places[what])}" for what, count in ordered]
