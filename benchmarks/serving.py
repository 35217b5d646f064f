"""Load on a server: a closed sweep of connections, and open arrivals at random (Poisson).

    python benchmarks/serving.py                     5 minutes, a random model of 15 M parameters
    python benchmarks/serving.py runs/mine --out FILE
    python benchmarks/serving.py --connections 1,8 --rates "" --soak 10000

A server is started as its own process and asked by this one. Every request streams; every figure
is from its first byte sent, and nothing is left out: what failed or was told to come again is
counted. The engine alone, with the same texts, as many at once and the same reading of prompts in
its time, is what the server is compared with. Open arrivals come at shares of the most requests a
second that the closed sweep had; the sweep ends where fewer than half are answered in time.

TTFT   until the first token          ITL    between two chunks that say something
TPOT   (E2E - TTFT) / (tokens - 1)    E2E    until the last one
good   requests a second within the objective: TTFT and TPOT both, see --slo
lag    of the server's event loop: a third process asks for /version all the time
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx2
from serving_load import HEAD, WORDS, Row, abandoned, bodies, closed, opened, probed

ROWS = 32
"""Texts that the server writes at once, as it does by default."""
WARM = 32
"""Requests before the first line."""
LEAVING = (1000, 500)
"""Requests at once, and how many of them leave."""


class Running:
    """`ownlm serve` as a process of its own."""

    def __init__(self, model: str, weights: str) -> None:
        words = [sys.executable, "-m", "ownlm", "serve", f"model={model}", "--port", "0"]
        words += ["--no-page", "--weights", weights, "--max-waiting", "2000"]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.said, self.url = "", ""
        while "Ctrl-C" not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
            if "serves at" in line:
                self.url = line.split()[-1].removesuffix("/v1")

    @property
    def memory(self) -> float:
        """MB in memory, where the system tells."""
        status = Path(f"/proc/{self.process.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmRSS")), 0.0)

    def gauges(self) -> dict[str, float]:
        text = httpx2.get(self.url + "/metrics", timeout=60).text
        lines = [x for x in text.splitlines() if ":num_requests_" in x and x[0] != "#"]
        return {x.split("{")[0].split(":")[1]: float(x.split()[-1]) for x in lines}

    def idle(self) -> float:
        """Seconds until nothing is being written."""
        begun = time.perf_counter()
        while any(self.gauges().values()):
            time.sleep(0.05)
        return time.perf_counter() - begun

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def small(folder: Path) -> str:
    """A model of 15 million parameters that has learned nothing: as fast as one that has."""
    from ownlm.inference.language_model import LM
    from ownlm.models.config import ModelConfig
    from ownlm.models.load import build_model
    from ownlm.tokenization.config import TokenizerConfig
    from ownlm.tokenization.train import train_tokenizer

    tokenizer = train_tokenizer([" ".join(WORDS)] * 50, TokenizerConfig(kind="byte"))
    shape: dict[str, Any] = {"dim": 288, "heads": 6, "layers": 6, "context": 1024}
    config = ModelConfig(family="llama", vocab=32_000, **shape)
    LM(build_model(config, seed=1), tokenizer).save(folder)
    return str(folder)


def engine_alone(model: str, weights: Any, lines: dict[str, list[dict[str, Any]]]) -> None:
    """Print the tokens a second that the engine writes with so many texts at once, by number."""
    from ownlm.inference.config import EngineConfig, SamplingConfig
    from ownlm.inference.language_model import load
    from ownlm.inference.pick import make_engine
    from ownlm.inference.request import Request

    lm = load(model)
    engine = make_engine(lm, EngineConfig(rows=ROWS), weights)

    def speed(work: list[dict[str, Any]], at_once: int) -> float:
        left = iter(work)
        begun, count, running = time.perf_counter(), 0, 0
        while True:
            while running < at_once and (one := next(left, None)):
                sampling = SamplingConfig(temperature=1.0, seed=one["seed"])
                ids = tuple(lm.prompt_ids(one["prompt"]))
                engine.submit(Request(ids, sampling, one["max_tokens"], ignore_end=True))
                running += 1
            if not running:
                return count / (time.perf_counter() - begun)
            for _, event in engine.step():
                count += len(event.tokens)
                running -= bool(event.finish)

    speed(lines["8"], 8)  # to be warm
    print(json.dumps({number: speed(work, int(number)) for number, work in lines.items()}))


def alone(model: str, options: argparse.Namespace) -> dict[int, float]:
    """The same in a process of its own, where the server is not."""
    sizes = {1: 12, 8: 40, ROWS: 96}
    lines = {n: bodies(count, options.read, options.write, 3) for n, count in sizes.items()}
    words = [sys.executable, __file__, model, "--weights", options.weights, "--engine-alone"]
    done = subprocess.run(words, input=json.dumps(lines), capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return {int(n): speed for n, speed in json.loads(done.stdout.splitlines()[-1]).items()}


def measured(name: str, url: str, asking: Coroutine[Any, Any, Any]) -> Row:
    """What became of requests, and how the server's loop lagged meanwhile."""
    words = [sys.executable, __file__, "--probe", url]
    probe = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    begun = time.perf_counter()
    asks = asyncio.run(asking)
    seconds = time.perf_counter() - begun
    lags = json.loads(probe.communicate()[0] or "[]")
    row = Row(name, asks, seconds, lags)
    print(f"{name}: {len(row.done)} done, {row.speed:,.0f} tok/s", file=sys.stderr)
    return row


def swept(server: Running, options: argparse.Namespace) -> list[tuple[int, Row]]:
    """The closed sweep: how many at once, and what became of them."""
    rows = []
    for number, connections in enumerate(map(int, options.connections.split(","))):
        count = max(options.requests, 3 * min(connections, ROWS), connections)
        work = bodies(count, options.read, options.write, number + 2)
        asking = closed(server.url, connections, work, options.seconds)
        rows.append((connections, measured(f"{connections} connections", server.url, asking)))
        server.idle()
    return rows


def arrived(
    server: Running, options: argparse.Namespace, most: float, slo: tuple[float, float]
) -> list[Row]:
    """Open arrivals at shares of `most` requests a second."""
    rows = []
    for number, share in enumerate(map(float, filter(None, options.rates.split(",")))):
        rate = share * most
        count = max(20, int(rate * options.seconds / 2))
        work = bodies(count, options.read, options.write, 1000 + number)
        name = f"{rate:.1f} a second ({share:.0%})"
        rows.append(measured(name, server.url, opened(server.url, rate, work)))
        server.idle()
        if 2 * rows[-1].good(slo) < len(rows[-1].asks) / rows[-1].seconds:
            break  # over-saturated: more of the same says nothing
    return rows


def run(options: argparse.Namespace, model: str) -> str:
    """All lines as a table, and what is said below it."""
    slo = tuple(map(float, options.slo.split(",")))
    speeds = alone(model, options)
    server = Running(model, options.weights)
    try:
        work = bodies(WARM, options.read, options.write, 1)
        asyncio.run(closed(server.url, 8, work, options.seconds))
        before = server.memory
        sweep = swept(server, options)
        most = max(len(row.done) / row.seconds for _, row in sweep)
        open_ = arrived(server, options, most, slo)
        work = bodies(LEAVING[0], options.read, 8, 5)
        asyncio.run(abandoned(server.url, work, LEAVING[1]))
        left = server.idle()
        soaked = soak(server, options)
        after = server.memory
    finally:
        server.stop()
    cells = [row.cells(slo, speeds.get(min(n, ROWS))) for n, row in sweep]
    cells += [row.cells(slo, None) for row in open_]
    by_size = ", ".join(f"{n} at once {speed:,.0f}" for n, speed in speeds.items())
    return "\n".join([
        table(cells), "",
        f"engine alone, tokens a second, prompts read too: {by_size}",
        *many(dict(sweep)),
        f"memory {before:,.0f} MB warm, {after:,.0f} MB at the end{soaked}",
        f"gauges 0 after {left:.2f} s when {LEAVING[1]} of {LEAVING[0]} had left",
        f"objective: TTFT {slo[0]} s, TPOT {slo[1]} s; {options.read} tokens read, "
        f"{options.write} written",
    ])  # fmt: skip


def many(rows: dict[int, Row]) -> list[str]:
    """How much more eight users get together than one."""
    if not {1, 8} <= rows.keys():
        return []
    return [f"8 users {rows[8].speed / rows[1].speed:.2f} times the tokens a second of one"]


def soak(server: Running, options: argparse.Namespace) -> str:
    """Many short requests, after which memory is looked at."""
    if not options.soak:
        return ""
    work = bodies(options.soak, 16, 4, 7)
    asks = asyncio.run(closed(server.url, 64, work, 1e9))
    done = sum(one.status == "ok" for one in asks)
    return f", after {done:,} of {options.soak:,} further requests"


def table(rows: list[list[str]]) -> str:
    rule = "|".join(["---", *["---:"] * (len(HEAD) - 1)])
    lines = [f"| {' | '.join(row)} |" for row in (HEAD, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="", help="model or run folder; none: 15 M")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--connections", default="1,8,32,128,512,1000")
    parser.add_argument("--rates", default="0.5,0.8,1.0,1.2", help="shares of the most a second")
    parser.add_argument("--requests", type=int, default=24, help="of each line, at least")
    parser.add_argument("--seconds", type=float, default=20, help="of a line, about")
    parser.add_argument("--read", type=int, default=64, help="tokens of a prompt, about")
    parser.add_argument("--write", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--slo", default="1.0,0.1", help="seconds: TTFT, TPOT")
    parser.add_argument("--soak", type=int, default=0, help="short requests at the end")
    parser.add_argument("--out", default="", help="write the table here too")
    parser.add_argument("--engine-alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--probe", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = options_of()
    if options.probe:
        probed(options.probe)
    elif options.engine_alone:
        engine_alone(options.model, options.weights, json.load(sys.stdin))
    else:
        with tempfile.TemporaryDirectory() as place:
            text = run(options, options.model or small(Path(place)))
        print(text)
        if options.out:
            Path(options.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
