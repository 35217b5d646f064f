"""Baselines that say what was most often right."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

from ownlm.data.tasks.predictions import Classified, Prediction, Tagging
from ownlm.data.tasks.records import Labelled, Record, Tagged
from ownlm.data.tasks.tagged import as_bio, is_chunks


def usual_labels(train: Sequence[Labelled], test: Sequence[Labelled]) -> list[Prediction]:
    """The most frequent label, or set of labels, for every text."""
    sets = Counter(tuple(sorted(one.labels)) for one in train)
    single = Counter(label for one in train for label in one.labels)
    usual = max(sets, key=lambda one: (sets[one], one))
    shares = {label: times / len(train) for label, times in sorted(single.items())}
    return [Classified(usual, shares) for _ in test]


def usual_tags(
    train: Sequence[Record], test: Sequence[Record], labels: Sequence[str] = ()
) -> dict[str, list[Prediction]]:
    """The most frequent tag of all, and of each word.

    With a predicate, of each word before it, at it, or after it. Words that training does not
    have get the tag that rare ones have most often. Chunks are mended to begin with B-.
    """
    known = [one for one in train if isinstance(one, Tagged)]
    asked = [one for one in test if isinstance(one, Tagged)]
    table = _Table((keys, tag) for one in known for keys, tag in zip(_keys(one), one.tags))
    chunked = is_chunks(tag for one in known for tag in one.tags)
    common = Counter(tag for one in known for tag in one.tags).most_common(1)[0][0]
    if chunked:
        common = "O"  # chunks everywhere would find none of them
    found = [[table.best(keys) for keys in _keys(one)] for one in asked]
    if chunked:
        found = [as_bio(tags)[0] for tags in found]
    per_word: list[Prediction] = [Tagging(tuple(tags)) for tags in found]
    whole: list[Prediction] = [Tagging((common,) * len(one.words)) for one in asked]
    return {"most frequent tag of each word": per_word, "most frequent tag": whole}


class _Table:
    """Tags counted by keys; of several keys of a word, the first that is known decides."""

    def __init__(self, pairs: Iterable[tuple[tuple[Hashable, ...], str]]) -> None:
        counts: dict[Hashable, Counter[str]] = defaultdict(Counter)
        rare: Counter[str] = Counter()
        for keys, tag in pairs:
            for key in keys:
                counts[key][tag] += 1
        for tags in counts.values():
            if tags.total() == 1:
                rare.update(tags)
        self._best = {key: _most(tags) for key, tags in counts.items()}
        self._rare = _most(rare) if rare else "O"

    def best(self, keys: tuple[Hashable, ...]) -> str:
        return next((self._best[key] for key in keys if key in self._best), self._rare)


def _keys(record: Tagged) -> list[tuple[Hashable, ...]]:
    """What each word is looked up by, the most telling first."""
    at = record.predicate
    if at is None:
        return [(word, word.lower()) for word in record.words]
    sides = [(n > at) - (n < at) for n in range(len(record.words))]
    near = [max(-3, min(3, n - at)) for n in range(len(record.words))]
    return [
        ((word, side), (word.lower(), side), ("", distance))
        for word, side, distance in zip(record.words, sides, near, strict=True)
    ]


def _most(tags: Counter[str]) -> str:
    return max(tags, key=lambda tag: (tags[tag], tag))
