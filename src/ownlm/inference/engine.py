"""Many texts written at once by one model: requests come at any time, each step moves all on.

    engine = Engine(lm)
    number = engine.submit(Request(tuple(lm.prompt_ids("Once upon a time"))))
    while engine.busy:
        for number, event in engine.step():
            print(event.text, end="")

A request is answered the same whatever is answered beside it. Nothing here is safe to be called
from several threads: service.py is.

Shapes: M logits of a step, V vocabulary.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import torch

from ownlm.errors import OwnlmError
from ownlm.inference.answer import Answer, Matcher
from ownlm.inference.config import EngineConfig
from ownlm.inference.constraint import Grammars
from ownlm.inference.job import Job, Work
from ownlm.inference.language_model import LM
from ownlm.inference.lookup import Lookup
from ownlm.inference.refuse import check
from ownlm.inference.request import Event, Request
from ownlm.inference.runner import RowRunner, Runner, make_runner
from ownlm.inference.sampling import Scored, score
from ownlm.inference.scheduler import Scheduler
from ownlm.inference.searching import Searching
from ownlm.inference.storage import make_blocks, room
from ownlm.log import warn


@dataclass
class Stats:
    """What an engine has done and is doing."""

    running: int = 0
    waiting: int = 0
    blocks: int = 0
    free_blocks: int = 0
    prompt_tokens: int = 0
    """Of requests whose prompt was read; those in blocks already included."""
    cached_tokens: int = 0
    """Those of them that need not be read."""
    written_tokens: int = 0
    steps: int = 0
    guessed: int = 0
    """Tokens that prompt look-up proposed."""
    agreed: int = 0
    """Those of them that came."""
    preemptions: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    """Requests by how they ended."""


class Engine:
    """A model, storage for what it reads, and the requests that it answers."""

    def __init__(
        self, lm: LM, config: EngineConfig | None = None, runner: Runner | None = None
    ) -> None:
        """Without a `runner`, the one that the model can have. Raises ConfigError for a model
        that writes nothing, and for too little memory."""
        if not lm.answers:
            lm.require_writer()
        self.lm, self.config = lm, config or EngineConfig()
        self.runner = make_runner(lm.model) if runner is None else runner
        self.rowwise = isinstance(self.runner, RowRunner)
        size = self.runner.context if self.rowwise else self.config.block
        self.blocks = make_blocks(self.runner, self.config, size, sides=1 + lm.answers)
        self.runner.reserve(self.blocks.count, self.blocks.size)
        self.context = min(self.runner.context, self.blocks.count * self.blocks.size)
        """Tokens that a text can have at once; a last one more is written, but never read. A source
        may take some of them."""
        self.vocab = lm.tokenizer.vocab_size
        self._scheduler = Scheduler(
            self.blocks, rows=self.config.rows, chunk=self.config.chunk, whole=self.rowwise,
            caching=self.config.prefix_cache and not self.rowwise and not lm.answers,
            guess=self._guess,
        )  # fmt: skip
        self.grammars = Grammars(lm.tokenizer)
        self._kept: dict[int, Kept] = {}
        self._given_up: list[tuple[int, Event]] = []
        self._next, self._stats = 0, Stats()

    @property
    def busy(self) -> bool:
        """Whether a step has something to do or to tell."""
        return bool(self._kept or self._given_up)

    @property
    def stats(self) -> Stats:
        """Figures of now and of all time; the same object at every call."""
        made, scheduler = self._stats, self._scheduler
        made.running, made.waiting = len(scheduler.running), len(scheduler.waiting)
        made.blocks, made.free_blocks = self.blocks.count, self.blocks.free
        made.preemptions = scheduler.preemptions
        return made

    def submit(self, request: Request) -> int:
        """Take up a request; its number, under which events will come.

        Raises ConfigError, which says what is wrong with it.
        """
        return self.admit(request, self.prepare(request))

    def prepare(self, request: Request) -> Matcher | None:
        """Check a request and compile its constraint; ConfigError says what is wrong with it.

        Threads may call this while others step the engine.
        """
        check(request, self.lm, self.blocks, context=self.context, vocab=self.runner.vocab)
        return None if request.constraint is None else self.grammars.matcher(request.constraint)

    def admit(self, request: Request, matcher: Matcher | None) -> int:
        """Take up a request that was prepared."""
        number, self._next = self._next, self._next + 1
        most = min(self.context, room(self.blocks, request))
        limit = min(len(request.prompt) + request.max_tokens, most + 1)
        left = limit - len(request.prompt)
        banned = self._padding if self.lm.answers or request.searches else ()
        answer = Answer(request, self.lm.tokenizer, left, matcher, banned)
        search = Searching(request, left, self.vocab, banned) if request.searches else None
        job = Job(number, request, [*request.prompt], limit)
        self._kept[number] = Kept(job, answer, Lookup(), search)
        self._scheduler.add(job)
        return number

    def cancel(self, number: int) -> None:
        """Give a request up; its last event comes with the next step. One that is done or unknown
        stays so."""
        if number in self._kept:
            self._end(self._kept[number].job, "cancelled")
            self._given_up.append((number, Event(finish="cancelled")))

    def step(self) -> list[tuple[int, Event]]:
        """Move all texts on; what came of them, by number."""
        events, self._given_up = self._given_up, []
        planned = self._scheduler.plan()
        if planned:
            self._stats.steps += 1
            try:
                scored = self._read([work for _, work in planned])
            except Exception as error:  # noqa: BLE001, later requests may fare better
                # Nobody knows what the blocks hold now.
                failed = dict.fromkeys(job for job, _ in planned)
                events += [(job.id, self._failed(job, error)) for job in failed]
                self.blocks.clear()
                return events
            events += self._hear(planned, scored)
        return events

    @property
    def _padding(self) -> tuple[int, ...]:
        """What models are trained beside, and never meant to write."""
        pad = self.lm.tokenizer.pad_id
        return () if pad is None or pad in self.lm.stop_ids else (pad,)

    @torch.inference_mode()
    def _read(self, works: list[Work]) -> Scored:
        """What follows the works."""
        if copies := self._scheduler.copies:
            self.runner.copy(copies)
        return score(self.runner.read(works).cpu(), self.vocab)

    @torch.inference_mode()
    def _hear(self, planned: list[tuple[Job, Work]], scored: Scored) -> list[tuple[int, Event]]:
        """What comes of each text that was read."""
        events, begin = [], 0
        for job, pairs in groupby(planned, key=lambda pair: pair[0]):
            works = [work for _, work in pairs]
            end = begin + sum(len(work.ids) if work.every else 1 for work in works)
            try:
                event = self._move(job, works[0], scored.part(begin, end))
            except Exception as error:  # noqa: BLE001, one request must not end the others
                event = self._failed(job, error)
            if event is not None:
                events.append((job.id, event))
            begin = end
        return events

    def _move(self, job: Job, work: Work, scored: Scored) -> Event | None:
        """What comes of one text, whose first work this is; None while its prompt is read."""
        _, answer, _, search = self._kept[job.id]
        read = work.start + len(work.ids) - len(job.draft)
        if job.request.prompt_logprobs is not None and work.start < job.prompted:
            answer.read_prompt(work.start, scored.logits)
        if read < len(job.ids):
            self._scheduler.done(job, read)
            return None
        if not answer.begun:
            self._begin(job, answer)
        if search is None:
            return self._write(job, answer, read, scored)
        return self._search(job, answer, search, scored)

    def _write(self, job: Job, answer: Answer, read: int, scored: Scored) -> Event:
        """The next token, and those that were guessed as long as they come; so many were read."""
        first = len(scored.best) - 1 - len(job.draft)
        for place, guess in enumerate([*job.draft, None], start=first):
            token = None if answer.finish else answer.hear(*scored.at(place))
            if token is not None:
                job.ids.append(token)
            if token is None or token != guess:
                break
            read += 1
        return self._told(job, answer, read)

    def _search(self, job: Job, answer: Answer, search: Searching, scored: Scored) -> Event | None:
        """A step of a search; None before its last."""
        logits_PV = scored.whole
        if job.branches is None:
            self._scheduler.done(job, job.prompted)
            search.begin()
            logits_PV = logits_PV[-1:]
        if not answer.finish:
            search.advance(logits_PV)
            if search.found is None:
                self._scheduler.branch(job, search.moves, search.following)
                return None
            answer.say(search.found)
        return self._told(job, answer, job.read)

    def _begin(self, job: Job, answer: Answer) -> None:
        answer.begin(job.cached or 0)
        self._stats.prompt_tokens += job.prompted
        self._stats.cached_tokens += job.cached or 0

    def _told(self, job: Job, answer: Answer, read: int) -> Event:
        """The event of a step, after which so many ids have been read."""
        event = answer.event()
        self._stats.written_tokens += len(event.tokens)
        self._stats.guessed += len(job.draft)
        self._stats.agreed += max(0, len(event.tokens) - 1) if job.draft else 0
        self._scheduler.done(job, read)
        if event.finish:
            self._end(job, event.finish)
        return event

    def _failed(self, job: Job, error: Exception) -> Event:
        self._end(job, "error")
        if isinstance(error, OwnlmError):
            return Event(finish="error", error=str(error))
        warn(f"request {job.id}: {type(error).__name__}: {error}")
        return Event(finish="error", error=f"internal error ({type(error).__name__})")

    def _end(self, job: Job, finish: str) -> None:
        self._scheduler.remove(job)
        if isinstance(self.runner, RowRunner):
            rows = [*self.runner.rows]
            self.runner.forget([row for row in rows if not self.blocks.holders(row)])
        del self._kept[job.id]
        self._stats.finished[finish] += 1

    def _guess(self, job: Job) -> list[int]:
        """What may follow a text, by what it says already."""
        count = min(self.config.lookup, job.limit - len(job.ids) - 1)
        if count <= 0 or self.rowwise or job.request.searches:
            return []
        source = job.request.source
        return self._kept[job.id].lookup.guess([*source, *job.ids] if source else job.ids, count)


class Kept(NamedTuple):
    """What an engine keeps of a request."""

    job: Job
    answer: Answer
    lookup: Lookup
    search: Searching | None
