"""Beam search by hand: two letters and an end, whose likelihoods are written down."""

import math
from collections.abc import Callable

import pytest

from ownlm.inference.beams import Candidate, Search, Written, repeated
from ownlm.inference.config import WritingConfig

A, B, C, END = 1, 2, 3, 0
Table = dict[tuple[int, ...], dict[int, float]]

GARDEN: Table = {
    (): {A: 0.6, B: 0.4, END: 0.0},
    (A,): {A: 0.4, B: 0.3, END: 0.3},
    (B,): {A: 0.05, B: 0.05, END: 0.9},
    (A, A): {A: 0.5, B: 0.0, END: 0.5},
}
"""The likelier first letter leads to nothing: a a end has 0.12, b end 0.36."""


def candidates(search: Search, table: Table) -> list[Candidate]:
    found = []
    for place, beam in enumerate(search.places):
        if beam is not None:
            for token, share in table.get(tuple(beam.ids), {END: 1.0}).items():
                forbidden = token in search.forbidden(place) or not share
                score = -math.inf if forbidden else beam.score + math.log(share)
                found.append(Candidate(score, place, token))
    return sorted(found, reverse=True)[: search.wanted]


def run(table: Table = GARDEN, limit: int = 9, **values: float) -> Written:
    search = Search(WritingConfig(**values), {END}, limit)
    while not search.done:
        search.advance(candidates(search, table))
    return search.best


def test_greedy_is_led_up_the_garden_path_and_two_beams_are_not() -> None:
    one, two = run(), run(beams=2)
    assert one.ids == [A, A, A]
    assert two.ids == [B]
    assert two.complete
    assert two.score == pytest.approx(math.log(0.36) / 2)


def test_the_end_counts_as_a_token() -> None:
    sure: Table = {(): {A: 0.9, B: 0.1}, (A,): {END: 0.8, A: 0.2}, (B,): {END: 1.0}}
    for penalty in (0.0, 1.0, 2.0):
        found = run(sure, beams=1, length_penalty=penalty)
        assert found.score == pytest.approx(math.log(0.72) / 2**penalty)


def test_length_penalty_decides_between_short_and_long() -> None:
    """a end has 0.3, a b end 0.28: over powers of 2 and 3 tokens."""
    table: Table = {(): {A: 1.0}, (A,): {END: 0.3, B: 0.28, C: 0.42}, (A, B): {END: 1.0},
                    (A, C): {A: 0.001, B: 0.001}}  # fmt: skip
    assert math.log(0.3) / 2**0.1 > math.log(0.28) / 3**0.1
    assert run(table, beams=3, length_penalty=0.1).ids == [A]
    assert math.log(0.3) / 2 < math.log(0.28) / 3
    assert run(table, beams=3, length_penalty=1.0).ids == [A, B]


def test_at_the_limit_a_text_is_not_complete() -> None:
    cut = run(limit=2)
    assert (cut.ids, cut.complete) == ([A, A], False)
    assert cut.score == pytest.approx(math.log(0.24) / 2)
    nothing = run(limit=0)
    assert (nothing.ids, nothing.complete) == ([], False)


def test_no_end_before_the_minimum() -> None:
    found = run(beams=2, min_tokens=2)
    assert len(found.ids) >= 2
    assert found.complete


def test_where_nothing_may_follow_the_text_stops() -> None:
    found = run({(): {A: 1.0}, (A,): {A: 1.0}}, no_repeat=1)
    assert (found.ids, found.complete) == ([A], False)


def test_repeated_runs() -> None:
    assert repeated([1, 2, 3, 1, 2], 3) == {3}
    assert repeated([1, 2, 1, 2, 1], 2) == {2}
    assert repeated([1, 2, 3], 1) == {1, 2, 3}
    assert repeated([1, 2], 3) == set()
    assert repeated([], 1) == set()


def test_a_beginning_keeps_its_place() -> None:
    """Of four beginnings the first two go on twice; only those second ones move."""
    search = Search(WritingConfig(beams=4), {END}, 9)
    search.advance([Candidate(-float(t), 0, t) for t in (1, 2, 3, 4)])
    assert [beam.ids for beam in search.places if beam] == [[1], [2], [3], [4]]
    assert search.moves == [(1, 0), (2, 0), (3, 0)]
    scored = [(1, 2), (1, 3), (0, 4), (3, 5), (0, 6)]
    search.advance([Candidate(-1.0 - n, *one) for n, one in enumerate(scored)])
    assert [beam.ids for beam in search.places if beam] == [[1, 4], [2, 2], [2, 3], [4, 5]]
    assert search.moves == [(2, 1)]
    assert search.last == [4, 2, 3, 5]
    assert search.scores == [-3.0, -1.0, -2.0, -4.0]


def test_an_end_that_is_not_among_the_best_does_not_count() -> None:
    """Of the candidates only the first `beams` may finish a text."""
    search = Search(WritingConfig(beams=2), {END}, 9)
    search.advance([Candidate(-1.0, 0, A), Candidate(-2.0, 0, B), Candidate(-3.0, 0, END)])
    search.advance([Candidate(-3.0, 0, A), Candidate(-4.0, 0, B), Candidate(-5.0, 1, END)])
    assert not search.done
    search.advance([Candidate(-6.0, 0, END), Candidate(-7.0, 1, END), Candidate(-8.0, 0, A)])
    assert search.best.ids == [A, A]


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_texts_do_not_depend_on_places(beams: int) -> None:
    """Candidates that come in another order, where scores are equal, give equal scores."""
    mirrored: Callable[[Search], list[Candidate]] = lambda s: sorted(  # noqa: E731
        candidates(s, GARDEN), key=lambda c: (-c.score, c.place)
    )
    search = Search(WritingConfig(beams=beams), {END}, 9)
    while not search.done:
        search.advance(mirrored(search))
    assert search.best.score == pytest.approx(run(beams=beams).score)
