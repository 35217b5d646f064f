"""Clients of a server that is under load, and what became of what they asked."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

WORDS = "the harbour was quiet at noon a boat came in and nobody looked up from the rope".split()


@dataclass
class Ask:
    """What became of one request."""

    begun: float
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0
    gaps: list[float] = field(default_factory=list)
    status: str = ""

    @property
    def ttft(self) -> float:
        return self.first - self.begun

    @property
    def e2e(self) -> float:
        return self.last - self.begun

    @property
    def tpot(self) -> float:
        return (self.last - self.first) / max(1, self.tokens - 1)


@dataclass
class Row:
    """A line of the table."""

    name: str
    asks: list[Ask]
    seconds: float
    lag: float

    def cells(self, slo: tuple[float, float]) -> list[str]:
        done = [one for one in self.asks if one.status == "ok"]
        busy = sum(one.status == "503" for one in self.asks)
        failed = len(self.asks) - len(done) - busy
        good = [one for one in done if one.ttft <= slo[0] and one.tpot <= slo[1]]
        tokens = sum(one.tokens for one in done)
        times = [[one.ttft for one in done], [gap for one in done for gap in one.gaps],
                 [one.tpot for one in done], [one.e2e for one in done]]  # fmt: skip
        return [
            self.name, str(len(done)), str(busy), str(failed), *map(shares, times),
            f"{tokens / self.seconds:,.0f}", f"{len(good) / self.seconds:.1f}",
            f"{1000 * self.lag:.0f}",
        ]  # fmt: skip


HEAD = ["load", "done", "busy", "failed", "TTFT ms p50/90/99", "ITL", "TPOT", "E2E", "tok/s",
        "good/s", "lag p99 ms"]  # fmt: skip


def shares(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    found = [
        ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9, 0.99)
    ]
    return "/".join(f"{1000 * one:,.0f}" if one >= 0.01 else f"{1000 * one:.1f}" for one in found)


async def ask(client: httpx2.AsyncClient, body: dict[str, Any]) -> Ask:
    found = Ask(time.perf_counter())
    try:
        async with client.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != 200:
                found.status = str(response.status_code)
                return found
            async for line in response.aiter_lines():
                note(found, line)
    except httpx2.HTTPError as error:
        found.status = type(error).__name__
    return found


def note(found: Ask, line: str) -> None:
    """One line of a stream."""
    now = time.perf_counter()
    if line == "data: [DONE]":
        found.status = found.status or "ok"
    elif line.startswith("data: "):
        chunk = json.loads(line[6:])
        if "error" in chunk:
            found.status = "error"
        elif chunk.get("usage"):
            found.tokens = chunk["usage"]["completion_tokens"]
        elif chunk["choices"]:
            if found.first:
                found.gaps.append(now - found.last)
            found.first, found.last = found.first or now, now


def bodies(count: int, read: int, write: int, seed: int) -> list[dict[str, Any]]:
    """Prompts that do not begin alike, so that nothing is found in memory."""
    draw = random.Random(seed)
    options = {"max_tokens": write, "ignore_eos": True, "stream": True, "temperature": 1.0}
    usage = {"stream_options": {"include_usage": True}}
    texts = (" ".join(draw.choice(WORDS) for _ in range(read // 4 + 1)) for _ in range(count))
    return [{"prompt": f"{n} {text}", "seed": n} | options | usage for n, text in enumerate(texts)]


async def lagging(url: str, stop: asyncio.Event) -> list[float]:
    """How long the server's event loop takes to answer /version."""
    found = []
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        while not stop.is_set():
            begun = time.perf_counter()
            await client.get("/version")
            found.append(time.perf_counter() - begun)
            await asyncio.sleep(0.05)
    return found


async def closed(url: str, connections: int, work: list[dict[str, Any]]) -> list[Ask]:
    """So many clients, each of which asks again when it has been answered."""
    left = iter(work)
    found: list[Ask] = []
    limits = httpx2.Limits(max_connections=connections)
    async with httpx2.AsyncClient(base_url=url, timeout=600, limits=limits) as client:

        async def one() -> None:
            for body in left:
                asked = await ask(client, body)
                found.append(asked)

        await asyncio.gather(*(one() for _ in range(connections)))
    return found


async def opened(url: str, rate: float, work: list[dict[str, Any]]) -> list[Ask]:
    """Clients that come when they like, whatever the others get."""
    draw, tasks = random.Random(0), []
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        for body in work:
            tasks.append(asyncio.create_task(ask(client, body)))
            await asyncio.sleep(draw.expovariate(rate))
        return [await task for task in tasks]


async def measured(name: str, url: str, asking: Any) -> Row:
    stop = asyncio.Event()
    watch = asyncio.create_task(lagging(url, stop))
    begun = time.perf_counter()
    asks = await asking
    seconds = time.perf_counter() - begun
    stop.set()
    lags = sorted(await watch)
    return Row(name, asks, seconds, lags[int(0.99 * len(lags))])


async def abandoned(url: str, work: list[dict[str, Any]], half: int) -> None:
    """Ask for all, and leave the first `half` before they are done."""
    async with httpx2.AsyncClient(base_url=url, timeout=600, limits=httpx2.Limits()) as client:
        tasks = [asyncio.create_task(ask(client, body)) for body in work]
        await asyncio.sleep(1)
        for task in tasks[:half]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
