"""Requests from threads and loops are answered as alone; who leaves frees what was held."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from ownlm.errors import ConfigError
from ownlm.inference.config import EngineConfig, SamplingConfig
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM
from ownlm.inference.request import Constraint, Event, Request
from ownlm.inference.service import Service

PROMPTS = ["hé", "one two", "x", "one two thr"]


@pytest.fixture
def service(tiny: LM) -> Iterator[Service]:
    made = Service(Engine(tiny, EngineConfig(rows=3, block=4)))
    yield made
    made.close()
    assert not made._thread.is_alive()


def request(lm: LM, prompt: str, seed: int = 0, tokens: int = 12) -> Request:
    sampling = SamplingConfig(temperature=1.0, seed=seed)
    return Request(tuple(lm.prompt_ids(prompt)), sampling, tokens)


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events)


def expected(lm: LM, prompt: str, seed: int = 0) -> str:
    return lm.generate(prompt, 12, temperature=1.0, seed=seed)


def test_many_at_once_from_threads_and_a_loop(tiny: LM, service: Service) -> None:
    found: dict[str, list[list[Event]]] = {}

    def ask(prompt: str) -> None:
        found[prompt] = service.run([request(tiny, prompt, seed) for seed in range(3)])

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in PROMPTS]
    for thread in threads:
        thread.start()

    async def listen(prompt: str) -> list[Event]:
        return [event async for event in service.stream(request(tiny, prompt, 5))]

    async def together() -> list[list[Event]]:
        return await asyncio.gather(*map(listen, PROMPTS))

    streamed = asyncio.run(together())
    for thread in threads:
        thread.join()
    for prompt, events in zip(PROMPTS, streamed):
        assert text(events) == expected(tiny, prompt, 5)
        assert [text(one) for one in found[prompt]] == [
            expected(tiny, prompt, seed) for seed in range(3)
        ]
    stats = service.engine.stats
    assert (stats.finished["length"], stats.running, stats.waiting) == (16, 0, 0)
    assert stats.free_blocks == stats.blocks


def idle(service: Service) -> bool:
    """Whether all is given back within two seconds."""
    for _ in range(200):
        stats = service.engine.stats
        if not service.engine.busy and stats.free_blocks == stats.blocks:
            return True
        time.sleep(0.01)
    return False


def test_who_stops_listening_gives_the_request_up(tiny: LM, service: Service) -> None:
    async def leave() -> None:
        stream = service.stream(request(tiny, "x", tokens=40))
        assert (await anext(stream)).tokens
        await stream.aclose()  # type: ignore[attr-defined]

    async def cancelled() -> None:
        async def listen() -> None:
            async for _ in service.stream(request(tiny, "hé", tokens=40)):
                pass

        task = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    asyncio.run(cancelled())
    assert idle(service)
    assert not service._listeners


def test_what_cannot_be_answered_is_refused_before_anything_comes(
    tiny: LM, service: Service
) -> None:
    async def ask(one: Request) -> None:
        async for _ in service.stream(one):
            raise AssertionError("an event of a refused request")

    with pytest.raises(ConfigError, match="more than the context"):
        asyncio.run(ask(request(tiny, "x" * 99)))
    with pytest.raises(ConfigError, match="more than the context"):
        service.run([request(tiny, "x"), request(tiny, "x" * 99)])
    pytest.importorskip("llguidance")
    with pytest.raises(ConfigError, match="regex"):
        asyncio.run(ask(Request((5,), constraint=Constraint("regex", "("))))
    assert service.alive and idle(service)


def test_a_closed_service_tells_who_listens_and_takes_nothing_more(tiny: LM) -> None:
    service = Service(Engine(tiny))
    hold, go = threading.Event(), threading.Event()
    step = service.engine.step

    def slowly() -> list[tuple[int, Event]]:
        hold.set()
        go.wait(5)
        return step()

    service.engine.step = slowly  # type: ignore[method-assign]
    found: list[list[Event]] = []
    thread = threading.Thread(target=lambda: found.extend(service.run([request(tiny, "x")])))
    thread.start()
    hold.wait(5)
    closing = threading.Thread(target=service.close)
    closing.start()
    go.set()
    thread.join(5)
    closing.join(5)
    assert found[0][-1].finish == "cancelled"
    assert not service.alive
    assert service.run([request(tiny, "x")])[0][-1].error == "the engine has stopped"


def test_an_engine_that_breaks_is_told_of(tiny: LM) -> None:
    service = Service(Engine(tiny))

    def broken() -> list[tuple[int, Event]]:
        raise KeyError("secret")

    service.engine.step = broken  # type: ignore[method-assign]
    ((last,),) = service.run([request(tiny, "x")])
    assert (last.finish, last.error) == ("error", "KeyError")
    assert not service.alive
    service.close()
