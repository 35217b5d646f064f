"""Counting with bounded memory: the estimate of duplicates, and languages without the library."""

import random
import sys

from ownlm.data import report as module
from ownlm.data.report import CorpusReport, Duplicates, identify_languages


def test_duplicates_are_exact_until_there_are_too_many_and_then_near(monkeypatch):
    rng = random.Random(0)
    keys = [rng.getrandbits(64) for _ in range(4000)]
    everything = keys + keys[:1000] * 2
    exact = Duplicates()
    for key in everything:
        exact.add(key)
    assert (exact.count(), exact.level) == (2000, 0)
    monkeypatch.setattr(module, "_DISTINCT", 500)
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(everything)
        near = Duplicates()
        for key in everything:
            near.add(key)
        assert len(near.seen) <= 500
        assert near.level == 3
        found.append(near.count())
    assert found[0] == found[1] == found[2]
    assert abs(found[0] - 2000) < 400


def test_parts_of_an_estimate_add_up_in_any_order(monkeypatch):
    monkeypatch.setattr(module, "_DISTINCT", 100)
    rng = random.Random(1)
    keys = [rng.getrandbits(64) for _ in range(600)] * 2
    whole, parts = Duplicates(), [Duplicates() for _ in range(4)]
    for number, key in enumerate(keys):
        whole.add(key)
        parts[number % 4].add(key)
    merged = Duplicates()
    for part in reversed(parts):
        merged.merge(part)
    assert (merged.seen, merged.level) == (whole.seen, whole.level)


def test_the_sample_of_languages_does_not_depend_on_the_order():
    rng = random.Random(2)
    pieces = [(f"text {n}", rng.getrandbits(64)) for n in range(1000)]
    samples = []
    for _ in range(2):
        report = CorpusReport()
        for text, key in pieces:
            report.piece(text, len(text), key)
        samples.append(sorted(report.sample))
        rng.shuffle(pieces)
    assert samples[0] == samples[1]
    assert len(samples[0]) == 200


def test_without_py3langid_languages_are_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid", None)
    assert identify_languages(["some text"]) == {"unknown": 1.0}
    assert identify_languages([]) == {}
