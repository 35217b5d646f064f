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
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ownlm.errors import ConfigError, OwnlmError
from ownlm.inference.answer import Answer, Matcher
from ownlm.inference.config import EngineConfig
from ownlm.inference.constraint import Grammars
from ownlm.inference.language_model import LM
from ownlm.inference.lookup import Lookup
from ownlm.inference.request import Event, Request
from ownlm.inference.runner import RowRunner, Runner, make_runner
from ownlm.inference.scheduler import Job, Scheduler, Work
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
        self._answers: dict[int, tuple[Job, Answer, Lookup]] = {}
        self._given_up: list[tuple[int, Event]] = []
        self._next, self._stats = 0, Stats()

    @property
    def busy(self) -> bool:
        """Whether a step has something to do or to tell."""
        return bool(self._answers or self._given_up)

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
        self._check(request)
        return None if request.constraint is None else self.grammars.matcher(request.constraint)

    def admit(self, request: Request, matcher: Matcher | None) -> int:
        """Take up a request that was prepared."""
        number, self._next = self._next, self._next + 1
        most = min(self.context, room(self.blocks, request))
        limit = min(len(request.prompt) + request.max_tokens, most + 1)
        left = limit - len(request.prompt)
        answer = Answer(request, self.lm.tokenizer, left, matcher, self._banned)
        job = Job(number, request, [*request.prompt], limit)
        self._answers[number] = job, answer, Lookup()
        self._scheduler.add(job)
        return number

    def cancel(self, number: int) -> None:
        """Give a request up; its last event comes with the next step. One that is done or unknown
        stays so."""
        if number in self._answers:
            self._end(self._answers[number][0], "cancelled")
            self._given_up.append((number, Event(finish="cancelled")))

    def step(self) -> list[tuple[int, Event]]:
        """Move all texts on; what came of them, by number."""
        events, self._given_up = self._given_up, []
        planned = self._scheduler.plan()
        if planned:
            self._stats.steps += 1
            try:
                logits_MV = self._read([work for _, work in planned])
            except Exception as error:  # noqa: BLE001, later requests may fare better
                # Nobody knows what the blocks hold now.
                events += [(job.id, self._failed(job, error)) for job, _ in planned]
                self.blocks.clear()
                return events
            events += self._hear(planned, logits_MV)
        return events

    @property
    def _banned(self) -> tuple[int, ...]:
        """An encoder-decoder is trained beside padding, and never meant to write it."""
        pad = self.lm.tokenizer.pad_id
        if pad is None or pad in self.lm.stop_ids or not self.lm.answers:
            return ()
        return (pad,)

    def _read(self, works: list[Work]) -> Tensor:
        """Logits (M, V) of the ids that the tokenizer has, on the CPU."""
        return self.runner.read(works)[:, : self.vocab].cpu()

    @torch.inference_mode()
    def _hear(self, planned: list[tuple[Job, Work]], logits_MV: Tensor) -> list[tuple[int, Event]]:
        """What comes of each text that was read."""
        scored, events, begin = score(logits_MV), [], 0
        for job, work in planned:
            end = begin + (len(work.ids) if work.every else 1)
            try:
                event = self._move(job, work, scored.part(begin, end))
            except Exception as error:  # noqa: BLE001, one request must not end the others
                event = self._failed(job, error)
            if event is not None:
                events.append((job.id, event))
            begin = end
        return events

    def _move(self, job: Job, work: Work, scored: "Scored") -> Event | None:
        """What comes of one text; None while its prompt is read."""
        _, answer, _ = self._answers[job.id]
        draft, read = job.draft, work.start + len(work.ids) - len(job.draft)
        if job.request.prompt_logprobs is not None and work.start < job.prompted:
            answer.read_prompt(work.start, scored.logits)
        if read < len(job.ids):
            self._scheduler.done(job, read)
            return None
        if not answer.begun:
            self._begin(job, answer)
        first = len(scored.best) - 1 - len(draft)
        for place, guess in enumerate([*draft, None], start=first):
            token = None if answer.finish else answer.hear(*scored.at(place))
            if token is not None:
                job.ids.append(token)
            if token is None or token != guess:
                break
            read += 1
        return self._told(job, answer, read)

    def _begin(self, job: Job, answer: Answer) -> None:
        answer.begin(job.cached or 0)
        self._stats.prompt_tokens += job.prompted
        self._stats.cached_tokens += job.cached or 0

    def _told(self, job: Job, answer: Answer, read: int) -> Event:
        """The event of a step, after which so many ids have been read."""
        event = answer.event()
        self._stats.written_tokens += len(event.tokens)
        self._stats.guessed += len(job.draft)
        self._stats.agreed += max(0, len(event.tokens) - 1)
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
        if isinstance(self.runner, RowRunner):
            self.runner.forget(job.blocks)
        self._scheduler.remove(job)
        del self._answers[job.id]
        self._stats.finished[finish] += 1

    def _guess(self, job: Job) -> list[int]:
        """What may follow a text, by what it says already."""
        count = min(self.config.lookup, job.limit - len(job.ids) - 1)
        if count <= 0 or self.rowwise:
            return []
        source = job.request.source
        return self._answers[job.id][2].guess([*source, *job.ids] if source else job.ids, count)

    def _check(self, request: Request) -> None:
        """ConfigError for a request that cannot be answered."""
        if not request.prompt:
            raise ConfigError("a prompt has at least one token", where="prompt")
        answers = self.lm.answers
        if bool(request.source) is not answers:
            what = "needs something to read" if answers else "reads its prompt only"
            raise ConfigError(f"{self.lm.model.family.name} {what}", where="source")
        for name, ids in (("prompt", request.prompt), ("source", request.source)):
            if len(ids) > self.context:
                what = f"{len(ids)} tokens are more than the context of {self.context}"
                raise ConfigError(what, where=name)
            if wrong := [id for id in ids if not 0 <= id < self.runner.vocab]:
                what = f"{wrong[0]} is no token: ids are 0 to {self.runner.vocab - 1}"
                raise ConfigError(what, where=name)
        if len(request.prompt) > room(self.blocks, request):
            raise ConfigError("memory does not hold it beside its source", where="prompt")
        for name in ("max_tokens", "min_tokens", "logprobs", "prompt_logprobs"):
            if (getattr(request, name) or 0) < 0:
                raise ConfigError(f"expected 0 or more, found {getattr(request, name)}", where=name)


class Scored(NamedTuple):
    """Logits, and what is the same for every request of them."""

    logits: Tensor
    """(M, V)."""
    best: list[int]
    highest: list[float]

    def part(self, begin: int, end: int) -> "Scored":
        """Those of one text."""
        return Scored(self.logits[begin:end], self.best[begin:end], self.highest[begin:end])

    def at(self, place: int) -> tuple[Tensor, int, float]:
        """Those after one token."""
        return self.logits[place], self.best[place], self.highest[place]


def score(logits_MV: Tensor) -> Scored:
    """The likeliest tokens, at a tenth of what torch's own maximum takes; where something is no
    number, that one."""
    logits = logits_MV.numpy()
    best = logits.argmax(axis=-1)
    return Scored(logits_MV, best.tolist(), logits[np.arange(len(best)), best].tolist())
