"""Clients of a server that is under load, and what became of what they asked.

They read sockets with little ado: on a small machine a comfortable client takes as much of the
processor as the server does, and it is the server that is measured.
"""

import asyncio
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

WORDS = "the harbour was quiet at noon a boat came in and nobody looked up from the rope".split()
LONGEST = 600
"""Seconds that a request may take."""


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

    def note(self, event: bytes, now: float) -> None:
        """One event of the stream."""
        if event == b"[DONE]":
            self.status = self.status or "ok"
        elif event.startswith(b'{"error"'):
            self.status = "error"
        elif b'"choices":[]' in event:
            self.tokens = json.loads(event)["usage"]["completion_tokens"]
        else:
            if self.first:
                self.gaps.append(now - self.last)
            self.first, self.last = self.first or now, now


@dataclass
class Row:
    """A line of the table."""

    name: str
    asks: list[Ask]
    seconds: float
    lags: list[float]

    @property
    def done(self) -> list[Ask]:
        return [one for one in self.asks if one.status == "ok"]

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return sum(one.tokens for one in self.done) / self.seconds

    def good(self, slo: tuple[float, float]) -> float:
        """Requests a second within the objective."""
        kept = [one for one in self.done if one.ttft <= slo[0] and one.tpot <= slo[1]]
        return len(kept) / self.seconds

    def cells(self, slo: tuple[float, float], alone: float | None) -> list[str]:
        done = self.done
        busy = sum(one.status == "503" for one in self.asks)
        times = [[one.ttft for one in done], [gap for one in done for gap in one.gaps],
                 [one.tpot for one in done], [one.e2e for one in done]]  # fmt: skip
        share = f"{100 * self.speed / alone:.0f} %" if alone else "-"
        lag = f"{1000 * percentile(self.lags, 0.99):.0f}" if self.lags else "-"
        counts = [len(done), busy, len(self.asks) - len(done) - busy]
        return [
            self.name, *map(str, counts), *map(shares, times),
            f"{self.speed:,.0f}", share, f"{self.good(slo):.1f}", lag,
        ]  # fmt: skip


HEAD = ["load", "done", "busy", "failed", "TTFT ms p50/90/99", "ITL", "TPOT", "E2E", "tok/s",
        "of engine", "good/s", "lag p99 ms"]  # fmt: skip


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def shares(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    found = [percentile(seconds, share) for share in (0.5, 0.9, 0.99)]
    return "/".join(f"{1000 * one:,.0f}" if one >= 0.01 else f"{1000 * one:.1f}" for one in found)


def bodies(count: int, read: int, write: int, seed: int) -> list[dict[str, Any]]:
    """Prompts that do not begin alike, so that nothing is found in memory."""
    draw = random.Random(seed)
    options = {"max_tokens": write, "ignore_eos": True, "stream": True, "temperature": 1.0}
    usage = {"stream_options": {"include_usage": True}}
    texts = (" ".join(draw.choice(WORDS) for _ in range(read // 4 + 1)) for _ in range(count))
    return [{"prompt": f"{n} {text}", "seed": n} | options | usage for n, text in enumerate(texts)]


class Line:
    """A connection, opened when it is first needed, and again after it was cut."""

    def __init__(self, url: str) -> None:
        self.host, self.port = urlsplit(url).hostname or "", urlsplit(url).port or 80
        self.ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: dict[str, Any]) -> Ask:
        """Post a body and read the stream that answers it."""
        found = Ask(time.perf_counter())
        try:
            async with asyncio.timeout(LONGEST):
                await self._exchange(found, posted(self.host, body))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            found.status = type(error).__name__
        if found.status != "ok":
            self.close()
        return found

    def close(self) -> None:
        if self.ends is not None:
            self.ends[1].close()
            self.ends = None

    async def _exchange(self, found: Ask, request: bytes) -> None:
        if self.ends is None:
            self.ends = await asyncio.open_connection(self.host, self.port)
        reader, writer = self.ends
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1].decode()
        if status != "200":
            found.status = status
            return
        rest = b""
        while not rest.endswith(b"0\r\n\r\n") or not found.status:
            part = await reader.read(1 << 16)
            if not part:
                found.status = "cut"
                return
            now = time.perf_counter()
            *events, rest = (rest + part).split(b"\n\n")
            for event in events:
                found.note(event.partition(b"data: ")[2], now)


def posted(host: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def closed(url: str, connections: int, work: list[dict[str, Any]], most: float) -> list[Ask]:
    """So many clients, each of which asks again when it has been answered; nothing is begun after
    `most` seconds but what each asks first."""
    left = iter(work)
    found: list[Ask] = []
    end = time.perf_counter() + most

    async def one() -> None:
        line = Line(url)
        for body in left:
            found.append(await line.ask(body))
            if time.perf_counter() > end:
                break
        line.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return found


async def opened(url: str, rate: float, work: list[dict[str, Any]]) -> list[Ask]:
    """Clients that come when they like, whatever the others get."""
    draw, tasks = random.Random(0), []

    async def one(body: dict[str, Any]) -> Ask:
        line = Line(url)
        try:
            return await line.ask(body)
        finally:
            line.close()

    for body in work:
        tasks.append(asyncio.create_task(one(body)))
        await asyncio.sleep(draw.expovariate(rate))
    return [await task for task in tasks]


async def abandoned(url: str, work: list[dict[str, Any]], half: int) -> None:
    """Ask for all, and leave the first `half` before they are done."""
    lines = [Line(url) for _ in work]
    tasks = [asyncio.create_task(line.ask(body)) for line, body in zip(lines, work)]
    await asyncio.sleep(1)
    for task, line in zip(tasks[:half], lines):
        task.cancel()
        line.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    for line in lines:
        line.close()


def probed(url: str) -> None:
    """How long the server's event loop takes to answer /version, until standard input ends; a
    process of its own, since the clients' own loop may lag too."""
    place = urlsplit(url)
    made = socket.create_connection((place.hostname, place.port or 80))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print(json.dumps([*_lags(made, place.hostname or "", ended)]))


def _lags(made: socket.socket, host: str, ended: threading.Event) -> Iterator[float]:
    request = f"GET /version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    while not ended.wait(0.05):
        begun = time.perf_counter()
        made.sendall(request)
        answer = b""
        while not answer.endswith(b"}"):
            answer += made.recv(4096)
        yield time.perf_counter() - begun
