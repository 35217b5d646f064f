"""Texts as they are written: several of one request at once, counted, and ended when nobody reads
them any more."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple

from ownlm.inference.request import Chosen, Event, Request
from ownlm.serving.metrics import Watch
from ownlm.serving.refusal import Refusal
from ownlm.serving.served import Served
from ownlm.serving.state import State, Ticket

Queue = asyncio.Queue[tuple[int, Event | Exception]]


class Plan(NamedTuple):
    """What is to be written for a request of a client."""

    served: Served
    requests: Sequence[Request]
    prompt_tokens: int
    """Of all prompts, each counted once however many texts follow it."""


class Text(NamedTuple):
    """A text that is done."""

    text: str
    tokens: tuple[Chosen, ...]
    finish: str
    prompt: tuple[Chosen | None, ...]
    cached: int


class Failed(Refusal):
    """A text that could not be written to its end."""

    def __init__(self, error: str) -> None:
        status = 503 if error == "cancelled" else 500
        super().__init__(status, f"the text was not finished: {error or 'the model failed'}")


class Job:
    """A plan that has room: from now on it must be ended."""

    def __init__(self, state: State, plan: Plan) -> None:
        """Refusal where there is no room."""
        self.plan, self.state = plan, state
        self.ticket: Ticket = state.admit(plan.served, len(plan.requests))

    async def events(self) -> AsyncGenerator[tuple[int, Event], None]:
        """The events of all texts, each with the number of its text."""
        try:
            if len(self.plan.requests) > 1:
                async with contextlib.aclosing(self._several()) as several:
                    async for number, event in several:
                        yield number, event
                return
            async with contextlib.aclosing(self._one(self.plan.requests[0])) as one:
                async for event in one:
                    yield 0, event
        finally:
            self.end()

    async def texts(self) -> list[Text]:
        """All texts, when the last one is done."""
        events: list[list[Event]] = [[] for _ in self.plan.requests]
        async with contextlib.aclosing(self.events()) as stream:
            async for number, event in stream:
                events[number].append(event)
        return [_joined(each) for each in events]

    def end(self) -> None:
        """Give the room back."""
        self.ticket.release()

    async def _one(self, request: Request) -> AsyncGenerator[Event, None]:
        """The events of one text, counted. Failed where it is not finished."""
        served = self.plan.served
        assert served.service is not None, "the route has looked"
        prompt = len(request.source or request.prompt)
        watch: Watch = self.state.metrics.watch(served.name, prompt)
        stream = served.service.stream(request)
        try:
            async for event in stream:
                watch.see(event)
                if event.finish in ("error", "cancelled"):
                    if event.tokens:
                        yield event._replace(finish="")
                    raise Failed(event.error or event.finish)
                yield event
                if event.finish:
                    return
            raise Failed("the model stopped")
        finally:
            watch.end()
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def _several(self) -> AsyncGenerator[tuple[int, Event], None]:
        """The events of several texts, as they come."""
        queue: Queue = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._pass_on(number, request, queue))
            for number, request in enumerate(self.plan.requests)
        ]
        left = len(tasks)
        try:
            while left:
                number, event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                left -= bool(event.finish)
                yield number, event
        finally:
            await ended(tasks)

    async def _pass_on(self, number: int, request: Request, queue: "Queue") -> None:
        try:
            async with contextlib.aclosing(self._one(request)) as events:
                async for event in events:
                    queue.put_nowait((number, event))
        except Exception as error:  # noqa: BLE001 (passed on to whoever reads)
            queue.put_nowait((number, error))


async def ended(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel what still runs, and wait until it is gone."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def in_thread(state: State, work: Callable[[], Plan]) -> Plan:
    """Turn a prompt into ids beside the event loop, few at a time. A constraint is tried before it
    reaches the engine, one at a time: what takes long to compile holds up no other request."""
    async with state.reading:
        plan = await asyncio.to_thread(work)
    first = plan.requests[0]  # the constraint is the same for all
    if first.constraint is not None:
        async with state.trying():
            await asyncio.to_thread(plan.served.check, first)
    return plan


def _joined(events: Sequence[Event]) -> Text:
    return Text(
        "".join(event.text for event in events),
        tuple(token for event in events for token in event.tokens),
        events[-1].finish,
        next((event.prompt for event in events if event.prompt), ()),
        max(event.cached for event in events),
    )


def usage(prompt: int, written: int, cached: int) -> dict[str, object]:
    """Numbers of tokens, as OpenAI gives them."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": min(cached, prompt)},
    }
