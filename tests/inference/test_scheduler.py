"""Every text ends with its own tokens, whatever is read together, shared, given up and guessed."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.inference.blocks import Blocks
from ownlm.inference.job import Job, Work
from ownlm.inference.request import Request
from ownlm.inference.scheduler import Scheduler

SIZE = 4
Past = tuple[int, ...]


def following(ids: Sequence[int]) -> int:
    """What comes after some ids: a token that all of them decide."""
    return (sum((place + 1) * id for place, id in enumerate(ids)) + len(ids)) % 5


class Storage:
    """What a runner keeps: in each place the ids up to there, which is what keys depend on."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, int], Past] = {}

    def read(self, works: Sequence[Work], wholes: Sequence[Sequence[int]]) -> None:
        """Each work finds its past, then all write what they read."""
        for work, whole in zip(works, wholes):
            for place in range(work.start):
                at = work.blocks[place // SIZE], place % SIZE
                assert self.places[at] == tuple(whole[: place + 1])
        for work in works:
            for place in range(len(work.source)):
                at = work.source_blocks[place // SIZE], place % SIZE
                heard = (-1, *work.source[: place + 1])
                assert work.hears or self.places[at] == heard
                self.places[at] = heard
        for work, whole in zip(works, wholes):
            text = [*whole[: work.start], *work.ids]
            for place in range(work.start, len(text)):
                at = work.blocks[place // SIZE], place % SIZE
                self.places[at] = tuple(text[: place + 1])


class Play:
    """An engine without a model."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler, self.storage, self.done = scheduler, Storage(), []
        self.steps, self.began = 0, []

    def step(self) -> list[tuple[Job, Work]]:
        planned = self.scheduler.plan()
        self.steps += 1
        self.storage.read([work for _, work in planned], [job.ids for job, _ in planned])
        self.check(planned)
        for job, work in planned:
            self.take(job, work)
        return planned

    def check(self, planned: list[tuple[Job, Work]]) -> None:
        scheduler, blocks = self.scheduler, self.scheduler.blocks
        held = [b for job in scheduler.running for b in (*job.blocks, *job.source_blocks)]
        assert blocks.free + len({*held}) == blocks.count
        assert not any(job.blocks or job.source_blocks for job in scheduler.waiting)
        assert len(scheduler.running) <= scheduler.rows
        written = [
            work.blocks[place // SIZE]
            for _, work in planned
            for place in {(work.start + n) // SIZE * SIZE for n in range(len(work.ids))}
        ]
        assert len({*written}) == len(written), "a block is written by one text"
        budget = sum(len(work.ids) for job, work in planned if not job.writing)
        assert scheduler.whole or budget <= scheduler.chunk

    def take(self, job: Job, work: Work) -> None:
        end, draft = work.start + len(work.ids), job.draft
        real = end - len(draft)
        if real == len(job.ids):
            for guess in [*draft, None]:
                job.ids.append(following(job.ids))
                if guess != job.ids[-1] or len(job.ids) == job.limit:
                    break
            real = len(job.ids) - 1
        self.scheduler.done(job, real)
        if len(job.ids) == job.limit:
            self.scheduler.remove(job)
            self.done.append(job)


def expected(prompt: Sequence[int], limit: int) -> list[int]:
    ids = [*prompt]
    while len(ids) < limit:
        ids.append(following(ids))
    return ids


def guess(job: Job) -> list[int]:
    """Right at first, then wrong; as many as there is room for."""
    right = expected(job.ids, len(job.ids) + 2)[len(job.ids) :]
    return [*right, 0, 0][: max(0, job.limit - len(job.ids) - 1)]


class Coming(NamedTuple):
    """A text that comes before a step and, unless it is done, is given up before another."""

    prompt: list[int]
    tokens: int
    step: int
    leaves: int
    source: list[int]


coming = st.builds(
    Coming,
    st.lists(st.integers(0, 1), min_size=1, max_size=20),
    st.integers(1, 12),
    st.integers(0, 12),
    st.sampled_from([999, 999, 999, 5, 10, 20]),
    st.lists(st.integers(0, 1), max_size=6),
)


@settings(max_examples=60)
@given(
    st.lists(coming, min_size=1, max_size=8),
    st.integers(10, 24),
    st.integers(1, 4),
    st.integers(1, 30),
    st.booleans(),
    st.booleans(),
)
def test_every_text_ends_as_alone(
    texts: list[Coming], count: int, rows: int, chunk: int, caching: bool, guesses: bool
) -> None:
    more = {"guess": guess} if guesses else {}
    scheduler = Scheduler(Blocks(count, SIZE), rows=rows, chunk=chunk, caching=caching, **more)  # type: ignore[arg-type]
    play, given_up = Play(scheduler), set()
    while play.steps < 1000:
        for id, one in enumerate(texts):
            if one.step == play.steps:
                source = () if caching else tuple(one.source)
                request = Request(tuple(one.prompt), max_tokens=one.tokens, source=source)
                scheduler.add(Job(id, request, [*one.prompt], len(one.prompt) + one.tokens))
        for job in scheduler.running + scheduler.waiting:
            if texts[job.id].leaves <= play.steps:
                scheduler.remove(job)
                given_up.add(job.id)
        waits = bool(scheduler.running or scheduler.waiting)
        assert bool(play.step()) == waits
        if not waits and play.steps > 12:
            break
    for job in play.done:
        assert job.ids == expected(job.request.prompt, job.limit)
    assert sorted(job.id for job in play.done) == sorted({*range(len(texts))} - given_up)
    assert scheduler.blocks.free == count


def started(play: Play, *prompts: list[int], tokens: int = 4) -> list[Job]:
    jobs = [
        Job(id, Request(tuple(prompt), max_tokens=tokens), [*prompt], len(prompt) + tokens)
        for id, prompt in enumerate(prompts)
    ]
    for job in jobs:
        play.scheduler.add(job)
    return jobs


def test_a_prompt_is_read_in_pieces_beside_those_who_write() -> None:
    play = Play(Scheduler(Blocks(40, SIZE), rows=4, chunk=6))
    started(play, [1] * 5, [2] * 14)
    lengths = [[len(work.ids) for _, work in play.step()] for _ in range(5)]
    assert lengths == [[5, 1], [1, 6], [1, 6], [1, 1], [1]]


def test_a_beginning_is_read_once() -> None:
    play = Play(Scheduler(Blocks(40, SIZE), rows=8, chunk=100))
    jobs = started(play, [3] * 18, [3] * 18, [3] * 17 + [1], [4] * 9)
    first, second = play.step(), play.step()
    assert [(job.id, len(work.ids)) for job, work in first] == [(0, 18), (3, 9)]
    assert [(job.id, work.start) for job, work in second if not job.writing or job.id in (1, 2)]
    assert [job.cached for job in jobs] == [0, 16, 16, 0]
    control = Play(Scheduler(Blocks(40, SIZE), rows=8, chunk=100, caching=False))
    jobs = started(control, [3] * 18, [3] * 18)
    assert [len(work.ids) for _, work in control.step()] == [18, 18]
    assert [job.cached for job in jobs] == [0, 0]


def test_the_youngest_gives_way_and_comes_back() -> None:
    play = Play(Scheduler(Blocks(6, SIZE), rows=2, chunk=100))
    jobs = started(play, [1, 2, 3, 4, 1, 2, 3], [5, 6, 7, 8, 5, 6, 7], tokens=10)
    while play.scheduler.running or play.scheduler.waiting:
        play.step()
    assert play.scheduler.preemptions >= 1
    assert play.done == jobs
    assert [job.ids for job in jobs] == [expected(job.request.prompt, 17) for job in jobs]


def test_whole_prompts_are_read_apart_from_what_was_written() -> None:
    play = Play(Scheduler(Blocks(9, SIZE), rows=3, chunk=4, caching=False, whole=True))
    (job,) = started(play, [1] * 10, tokens=9)
    assert [len(work.ids) for _, work in play.step()] == [10]
    play.step(), play.step()
    play.scheduler._preempt(job)
    again = [play.scheduler.plan()[0][1]]
    play.scheduler.done(job, 10)
    again += [work for _, work in play.scheduler.plan()]
    assert [(work.start, len(work.ids)) for work in again] == [(0, 10), (10, 3)]


def test_a_right_guess_saves_a_step() -> None:
    steps = []
    for how in (guess, lambda job: [1] * min(3, job.limit - len(job.ids) - 1), lambda job: []):
        play = Play(Scheduler(Blocks(9, SIZE), rows=1, chunk=9, guess=how))
        (job,) = started(play, [1, 2, 3], tokens=12)
        while play.scheduler.running or play.scheduler.waiting:
            play.step()
        assert job.ids == expected([1, 2, 3], 15)
        steps.append(play.steps)
    assert steps[0] < steps[2]
    assert steps[1] <= steps[2] == 12


def test_the_storage_of_these_tests_notices_a_wrong_block() -> None:
    play = Play(Scheduler(Blocks(9, SIZE), rows=2, chunk=99))
    one, two = started(play, [1] * 6, [2] * 6)
    play.step()
    one.blocks, two.blocks = two.blocks, one.blocks
    with pytest.raises(AssertionError):
        play.step()


def test_sources_are_read_once_and_count_as_what_is_read() -> None:
    play = Play(Scheduler(Blocks(40, SIZE), rows=4, chunk=10, caching=False))
    for id in range(3):
        play.scheduler.add(Job(id, Request((1,), source=(2,) * 9), [1], 4))
    heard = [[work.hears for _, work in play.step()] for _ in range(3)]
    assert heard == [[True], [False, True], [False, False, True]]
    small = Play(Scheduler(Blocks(4, SIZE), rows=4, chunk=99, caching=False))
    for id in range(2):
        small.scheduler.add(Job(id, Request((1,), source=(2,) * 9), [1], 4))
    assert len(small.step()) == 1
