"""Who reads what in the next step, and where it is kept. No torch here.

Every step reads one token (or a few guessed ones) of each text that is being written, and so
many tokens of prompts that those who write do not wait long:

    step    text 0      text 1      text 2
    1       256 of 300
    2       last 44     212 of 500              a prompt goes on where the last step ended
    3       writes      256 of 500
    4       writes      last 32     224 of 224
    5       writes      writes      writes      all at once

When there is no block left, the youngest text gives up its blocks and is read again later
(preemption by recomputation). Texts begin in the order in which they came, and the oldest is
never made to wait, so that every text ends.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence

from ownlm.inference.blocks import Blocks, extend_digests
from ownlm.inference.branches import Branches
from ownlm.inference.job import Job, Work

Guess = Callable[[Job], list[int]]
"""What may follow a text; the model will say."""


class Scheduler:
    """Texts that wait and texts that run, both in the order in which they came."""

    def __init__(
        self,
        blocks: Blocks,
        *,
        rows: int,
        chunk: int,
        caching: bool = True,
        whole: bool = False,
        guess: Guess = lambda job: [],
    ) -> None:
        """`chunk`: tokens of prompts and sources read in a step (a source is read at once);
        `whole`: a prompt is read in one step, and apart from what was written after it. `caching`:
        beginnings that are known are not read again."""
        self.blocks, self.rows, self.chunk = blocks, rows, chunk
        self.caching, self.whole, self.guess = caching, whole, guess
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.preemptions = 0

    def add(self, job: Job) -> None:
        """A new text; alone it must fit into the blocks."""
        if self.caching:
            extend_digests(job.digests, job.ids, self.blocks.size)
        bisect.insort(self.waiting, job, key=_order)

    def remove(self, job: Job) -> None:
        """A text is done, or given up."""
        (self.running if job in self.running else self.waiting).remove(job)
        self._drop(job)

    def plan(self) -> list[tuple[Job, Work]]:
        """What is read in the next step, texts that are several behind each other; empty only when
        there are no texts."""
        budget, planned, before = self.chunk, [], self.preemptions
        for job in [*self.running]:
            if job not in self.running:
                continue  # it gave its blocks to an older one
            if job.branches is not None:
                planned += self._branched(job, job.branches)
                continue
            count = self._count(job, budget)
            job.draft = self.guess(job) if job.writing else []
            if count and self._make_room(job, count):
                planned.append((job, self._work(job, count)))
                budget -= 0 if job.writing else count
        if self.preemptions == before:
            for job in self._beginning():
                if budget <= 0:
                    break
                self._begin(job)
                count = self._count(job, budget)
                planned.append((job, self._work(job, count)))
                budget -= count + len(job.request.source)
        return planned

    @property
    def copies(self) -> list[tuple[int, int]]:
        """Pairs of blocks: before the planned step the second becomes a copy of the first."""
        return [pair for job in self.running for pair in job.copies]

    def done(self, job: Job, read: int) -> None:
        """So many of a text's ids are read now; blocks that they fill can be found from now on."""
        size, first = self.blocks.size, job.read // self.blocks.size
        job.read = read
        if self.caching:
            extend_digests(job.digests, job.ids, size)
            for place in range(first, read // size):
                self.blocks.remember(job.blocks[place], job.digests[place])

    def branch(self, job: Job, moves: Sequence[tuple[int, int]], following: dict[int, int]) -> None:
        """What was read of a text goes on in several ways: its prompt, or the token that each
        beginning had next. `moves` and `following` as in `Branches.settle`."""
        if job.branches is None:
            job.branches, job.blocks = Branches(self.blocks, job.blocks, job.width), []
        else:
            job.read += 1
        job.branches.settle(moves, following)

    def _count(self, job: Job, budget: int) -> int:
        """How many of a text's ids are read next."""
        left = len(job.ids) - job.read
        if self.whole:
            return min(left, job.prompted) if job.read == 0 else left
        return left if job.writing else min(left, budget)

    def _work(self, job: Job, count: int) -> Work:
        asked = job.request.prompt_logprobs is not None and job.read < job.prompted
        ids = job.ids[job.read : job.read + count] + job.draft
        every = asked or bool(job.draft)
        source = job.request.source
        hears = bool(source) and job.read == 0
        return Work(ids, job.read, job.blocks, every, source, job.source_blocks, hears)

    def _branched(self, job: Job, branches: Branches) -> list[tuple[Job, Work]]:
        """A token of each beginning."""

        def grow() -> bool:
            copies = branches.grow(job.read)
            job.copies = copies or []
            return copies is not None

        if not self._insist(job, grow):
            return []
        heard = job.request.source, job.source_blocks
        return [
            (job, Work([token], job.read, branches.tables[place], False, *heard))
            for place, token in branches.next.items()
        ]

    def _make_room(self, job: Job, count: int) -> bool:
        """Blocks for `count` more ids and, where there are enough, the guessed ones."""
        if self._grow(job, job.read + count + len(job.draft)):
            return True
        job.draft = []  # nobody waits for a guess
        return self._insist(job, lambda: self._grow(job, job.read + count))

    def _insist(self, job: Job, grow: Callable[[], bool]) -> bool:
        """Let younger texts give their blocks until a text has grown, and where none is younger
        the text itself."""
        while not grow():
            youngest = self.running[-1]
            self._preempt(youngest)
            if youngest is job:
                return False
        return True

    def _grow(self, job: Job, tokens: int) -> bool:
        missing = self.blocks.needed(tokens) - len(job.blocks)
        if missing > self.blocks.free:
            return False
        job.blocks += self.blocks.take(max(0, missing))
        return True

    def _preempt(self, job: Job) -> None:
        self.running.remove(job)
        self._drop(job)
        bisect.insort(self.waiting, job, key=_order)
        self.preemptions += 1

    def _drop(self, job: Job) -> None:
        if job.branches is not None:
            job.branches.release()
            job.branches, job.copies = None, []
        self.blocks.release(job.blocks + job.source_blocks)
        job.blocks, job.source_blocks, job.read, job.draft = [], [], 0, []

    def _beginning(self) -> Iterator[Job]:
        """Texts that can begin now. One whose beginning another is reading waits for that: it
        will find it. Where blocks are missing, younger ones wait too."""
        for job in [*self.waiting]:
            rows = sum(other.width for other in self.running) + job.width
            if rows > self.rows and self.running:
                return
            found = self._found(job)
            if self._is_coming(job, len(found)):
                continue
            needed = sum(map(self.blocks.needed, (len(job.ids), len(job.request.source))))
            needed += self._growing() + job.width - 1 - len(found)
            if needed > self.blocks.free - self.blocks.idle(found):
                return
            yield job

    def _growing(self) -> int:
        """A block for each beginning that will need more: else what begins is soon given up
        again."""
        return sum(
            job.width
            for job in self.running
            if job.branches is not None or len(job.blocks) < self.blocks.needed(job.limit - 1)
        )

    def _begin(self, job: Job) -> None:
        """Let a text run, with blocks for all of its ids."""
        found = self._found(job)
        self.blocks.hold(found)
        job.blocks, job.read = found, len(found) * self.blocks.size
        job.cached = job.read if job.cached is None else job.cached
        assert self._grow(job, len(job.ids)), "asked before"
        job.source_blocks = self.blocks.take(self.blocks.needed(len(job.request.source)))
        self.waiting.remove(job)
        bisect.insort(self.running, job, key=_order)

    def _found(self, job: Job) -> list[int]:
        """Blocks that hold its beginning. The last id is read in any case: something must follow
        it. Who is asked for probabilities of a prompt reads it all."""
        if not self.caching or job.request.prompt_logprobs is not None:
            return []
        return self.blocks.find(job.digests[: (len(job.ids) - 1) // self.blocks.size])

    def _is_coming(self, job: Job, found: int) -> bool:
        """Whether a text that runs will read the block after the first `found` of a job."""
        if not self.caching or job.request.prompt_logprobs is not None:
            return False
        if found >= (len(job.ids) - 1) // self.blocks.size:
            return False
        wanted = job.digests[found]
        return any(
            found < len(other.digests) and other.digests[found] == wanted
            for other in self.running
            if not other.writing
        )


def _order(job: Job) -> int:
    return job.id
