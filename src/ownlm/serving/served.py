"""A model as it is served: what it can do, and what writes or reads with it."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ownlm.data.encoded import Encoded
from ownlm.data.faults import Bad
from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Origin, Record
from ownlm.data.tasks.unlabelled import typed
from ownlm.errors import CheckpointError, ConfigError
from ownlm.inference.language_model import LM
from ownlm.inference.request import Event, Request
from ownlm.models.model import EncoderDecoder
from ownlm.models.sentences import is_embedder
from ownlm.objectives.tasks.embed import Embed
from ownlm.objectives.tasks.make import KEY
from ownlm.recipes.lessons import read_as
from ownlm.recipes.predict import predict
from ownlm.recipes.tuned import Tuned, with_task
from ownlm.serving.refusal import bad
from ownlm.serving.together import Together

R = TypeVar("R")
Vector = npt.NDArray[np.float32]
HERE = Origin("the request")


class Load(NamedTuple):
    """What a service is doing."""

    running: int = 0
    waiting: int = 0
    used: float = 0.0
    """Share of the memory for keys and values that is in use."""
    cached: int = 0
    """Tokens of prompts that were found in it, since the start."""
    looked_up: int = 0
    """Tokens of prompts that were looked for there."""


class Writes(Protocol):
    """What writes texts (inference.service.Service): many at once, each as it comes."""

    def stream(self, request: Request) -> AsyncIterator[Event]:
        """The events of one text; to close the iterator cancels it."""

    def close(self) -> None:
        """Stop."""

    @property
    def alive(self) -> bool:
        """Whether it can write."""


class Served:
    """One model under its name."""

    def __init__(
        self,
        name: str,
        lm: LM,
        service: Writes | None = None,
        tuned: Tuned | None = None,
        *,
        load: Callable[[], Load] = Load,
        check: Callable[[Request], object] = lambda request: None,
        rows: int = 32,
        context: int = 0,
        about: str = "",
    ) -> None:
        """`service` writes, where the model does; `tuned` does the task that it was taught.

        `load` tells what the service is doing; `check` refuses a request that it cannot answer,
        and may take its time; `rows` texts are written at once, of `context` tokens at most (0:
        what the model reads); `about` says with what, for people.
        """
        self.name, self.lm, self.service, self.tuned = name, lm, service, tuned
        self.load, self.check, self.rows, self.about = load, check, rows, about
        self.context = context or int(lm.model.context)
        self.unfinished = 0
        """Texts that were asked for and are not done."""
        self._one = threading.Lock()
        self.predict = Together(self._predict, self._one)
        """What the model says of each record, in order; requests that wait are read together."""
        self.embed = Together(self._embed, self._one)
        """A vector of each sequence, in order, and so too."""

    @property
    def vocab(self) -> int:
        """Ids that a prompt may have."""
        return self.lm.tokenizer.vocab_size

    @property
    def answers(self) -> bool:
        """Whether it reads a source and writes another text."""
        return isinstance(self.lm.model, EncoderDecoder)

    @property
    def does(self) -> str:
        """What it can be asked for: its task, to generate, or only to be looked into."""
        if self.tuned is not None:
            return self.tuned.kind
        return "look" if self.service is None else "generate"

    @property
    def alive(self) -> bool:
        """Whether it does what it can."""
        return self.service is None or self.service.alive

    @functools.cached_property
    def longest_piece(self) -> int:
        """Bytes of the longest token's text: a longer text than so many tokens of it cannot fit."""
        pieces = self.lm.tokenizer.pieces
        return max(128, max(len(pieces[id]) for id in range(self.vocab)))

    async def alone(self, work: Callable[[], R]) -> R:
        """Work with the model in a thread, while no other does."""

        def run() -> R:
            with self._one:
                return work()

        return await asyncio.to_thread(run)

    def record(self, text: str, other: str = "", param: str = "input") -> Record:
        """A text as the model's task reads it; 400 for a blank one."""
        assert self.tuned is not None, "the route has looked"
        try:
            return typed(text, other, read_as(self.tuned.kind), HERE)
        except Bad as fault:
            raise bad(f"{param}: {fault.reason}", param) from None

    def _predict(self, records: Sequence[Record]) -> list[Prediction]:
        assert self.tuned is not None, "the route has looked"
        return [said.prediction for said in predict(self.tuned, records)]

    def _embed(self, sequences: Sequence[Encoded]) -> list[Vector]:
        assert self.tuned is not None, "the route has looked"
        task = self.tuned.task
        assert isinstance(task, Embed), "the route has looked"
        found = {n: vector.numpy() for n, _, vector in task.predicted(self.tuned.model, sequences)}
        return [found[n] for n in range(len(sequences))]

    def close(self) -> None:
        """Stop writing."""
        if self.service is not None:
            self.service.close()


def task_of(lm: LM) -> Tuned | None:
    """The task that a model was taught, or that its head or folder tells; None for a plain one."""
    writes = lm.answers or lm.writer is not None
    told: dict[str, Any] = lm.model.config.get(KEY) or {}
    if writes and told.get("kind", "chat") == "chat":
        return None
    assert lm.folder is not None, "a task is read from a folder"
    try:
        return with_task(lm.model, lm.tokenizer, lm.folder)
    except CheckpointError:
        if is_embedder(lm.folder):
            raise  # of a folder that says what it is for
        return None


def vectors_of(lm: LM) -> Tuned | None:
    """A model of one stack that was taught nothing as one that gives vectors: the mean of its last
    layer over a text, of length one; None for a model of two stacks, or of no such family."""
    if isinstance(lm.model, EncoderDecoder):
        return None
    assert lm.folder is not None, "it was loaded from a folder"
    try:
        return with_task(lm.model, lm.tokenizer, lm.folder, "embed")
    except ConfigError:
        return None


def named(models: Sequence[str]) -> dict[str, Path]:
    """Models by the names they are served under: NAME=PATH, or the folder's own.

    >>> named(["runs/mail/model", "small=runs/a"])
    {'mail': PosixPath('runs/mail/model'), 'small': PosixPath('runs/a')}
    """
    table: dict[str, Path] = {}
    for word in models:
        name, equals, rest = word.partition("=")
        given = bool(equals) and "/" not in name and not Path(word).exists()
        path = Path(rest if given else word)
        if not given:
            parts = [part for part in path.resolve().parts if part != "model"]
            name = Path(parts[-1]).name.removesuffix(".gguf")
        if name in table:
            raise ConfigError(
                f"two models would be served as {name!r}",
                next_command=f"give one another name: ownlm serve other={path}",
            )
        table[name] = path
    return table
