"""What a running server knows: its models, whether it is ready, who may ask."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal

from ownlm.serving.config import ServeConfig
from ownlm.serving.metrics import Metrics
from ownlm.serving.refusal import Refusal, bad, busy, no_such_model
from ownlm.serving.served import Served

Phase = Literal["loading", "ready", "draining", "failed"]
CONSTRAINTS = 64
"""Schemas, expressions and grammars that may wait to be compiled; more are refused."""


class Ticket:
    """Room for some texts, until they are done."""

    def __init__(self, served: Served, count: int) -> None:
        self.served, self.count = served, count
        served.unfinished += count

    def release(self) -> None:
        """Done; to say so again changes nothing."""
        self.served.unfinished -= self.count
        self.count = 0


class State:
    """Shared by all addresses of one server; used from its event loop only."""

    def __init__(
        self,
        options: ServeConfig | None = None,
        models: Mapping[str, Served] | None = None,
        keys: Iterable[str] = (),
    ) -> None:
        """`models` that are there already; without them it is loading until `ready`."""
        self.options = options or ServeConfig()
        self.models: dict[str, Served] = dict(models or {})
        self.keys = [*keys, *self.options.api_key]
        self.phase: Phase = "ready" if models is not None else "loading"
        self.metrics = Metrics(self.options.metrics_prefix, lambda: self.models)
        self.page_paths: list[str] = []
        """Beginnings of paths that browsers open."""
        self.reading = asyncio.Semaphore(4)
        """How many prompts are turned into ids at once."""
        self._compiling = asyncio.Lock()
        self._to_compile = 0

    @contextlib.asynccontextmanager
    async def trying(self) -> AsyncIterator[None]:
        """While a constraint is tried, one at a time; 503 where many wait."""
        if self._to_compile >= CONSTRAINTS:
            raise busy(f"{CONSTRAINTS} constraints wait to be compiled, which is the limit")
        self._to_compile += 1
        try:
            async with self._compiling:
                yield
        finally:
            self._to_compile -= 1

    def is_page(self, path: str) -> bool:
        """Whether a browser opens this path."""
        return any(path == one or path.startswith(one + "/") for one in self.page_paths)

    def ready(self, models: Mapping[str, Served]) -> None:
        """All models are there."""
        self.models.update(models)
        self.phase = "ready"

    @property
    def healthy(self) -> bool:
        """Whether requests are served."""
        return self.phase == "ready" and all(served.alive for served in self.models.values())

    def model(self, name: str | None) -> Served:
        """The model asked for: looked up in the table and nowhere else."""
        if self.phase == "loading":
            raise busy("the models are still being loaded", 5)
        if self.phase != "ready":
            raise busy(f"the server is {self.phase}", 30)
        if name is None:
            if len(self.models) == 1:
                return next(iter(self.models.values()))
            names = ", ".join(self.models)
            raise bad(f"model: required, one of {names}", "model", "missing_required_parameter")
        if name not in self.models:
            raise no_such_model(name)
        return self.models[name]

    def writer(self, name: str | None) -> Served:
        """The same, of a model that writes texts."""
        served = self.model(name)
        if served.service is None:
            what = f"does the task {served.tuned.kind!r}" if served.tuned else "reads only"
            raise bad(f"the model {served.name!r} {what}: it writes no text", "model")
        if not served.alive:
            raise Refusal(503, f"the model {served.name!r} stopped after a fault")
        return served

    def doer(self, name: str | None, kinds: Iterable[str], verb: str) -> Served:
        """The same, of a model that does one of some tasks."""
        served = self.model(name)
        if served.tuned is None or served.tuned.kind not in kinds:
            known = f"was taught to {served.tuned.kind}" if served.tuned else "was taught no task"
            raise bad(f"the model {served.name!r} {known}: it does not {verb}", "model")
        return served

    def admit(self, served: Served, count: int) -> Ticket:
        """Room for `count` texts; 400 where there never is, 503 where there is none now."""
        limit = served.rows + self.options.max_waiting
        if count > limit:
            raise bad(f"{count} texts in one request: {limit} is the limit", "n")
        if served.unfinished + count > limit:
            self.metrics.refused.labels(served.name).inc()
            raise busy(f"{served.unfinished} texts are being written or wait: {limit} is the limit")
        return Ticket(served, count)
