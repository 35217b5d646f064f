"""Load on a server: a closed sweep of connections, and open arrivals at random (Poisson).

    python benchmarks/serving.py runs/mine
    python benchmarks/serving.py --connections 1,8,32,128,512,1000 --rates 1,4,16

A server is started as its own process and asked by this one. Every request streams; every figure
is from its first byte sent, and nothing is left out: what failed or was told to come again is
counted. Written per second by the engine alone, in the same run and with as many texts at once,
is what the server is compared with.

TTFT   until the first token          ITL    between two chunks that say something
TPOT   (E2E - TTFT) / (tokens - 1)    E2E    until the last one
good   requests a second within the objective: TTFT and TPOT both, see --slo
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
from serving_load import HEAD, WORDS, abandoned, bodies, closed, measured, opened


def offline(model: str, weights: str, work: list[dict[str, Any]], rows: int) -> float:
    """Tokens a second that the engine writes alone, for as many texts."""
    code = (
        "import sys, json, time, torch\n"
        "from ownlm.inference.language_model import load\n"
        "from ownlm.inference.config import EngineConfig, SamplingConfig\n"
        "from ownlm.inference.pick import make_engine\n"
        "from ownlm.inference.request import Request\n"
        "model, weights, rows, work = json.load(sys.stdin)\n"
        "lm = load(model)\n"
        "engine = make_engine(lm, EngineConfig(rows=rows), weights)\n"
        "for one in work:\n"
        "    ids = tuple(lm.prompt_ids(one['prompt']))\n"
        "    sampling = SamplingConfig(temperature=1.0, seed=one['seed'])\n"
        "    engine.submit(Request(ids, sampling, one['max_tokens'], ignore_end=True))\n"
        "begun, count = time.perf_counter(), 0\n"
        "while engine.busy:\n"
        "    count += sum(len(event.tokens) for _, event in engine.step())\n"
        "print(count / (time.perf_counter() - begun))\n"
    )
    given = json.dumps([model, weights, rows, work])
    done = subprocess.run(
        [sys.executable, "-c", code], input=given, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


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
        text = httpx2.get(self.url + "/metrics").text
        lines = [x for x in text.splitlines() if ":num_requests_" in x and x[0] != "#"]
        return {x.split("{")[0].split(":")[1]: float(x.split()[-1]) for x in lines}

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


def table(rows: list[list[str]]) -> str:
    rule = "|".join(["---", *["---:"] * (len(HEAD) - 1)])
    lines = [HEAD, *rows]
    return "\n".join([f"| {' | '.join(lines[0])} |", f"|{rule}|"]
                     + [f"| {' | '.join(row)} |" for row in lines[1:]])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="", help="model or run folder; none: 15 M")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--connections", default="1,8,32,128,512,1000")
    parser.add_argument("--rates", default="1,2,4", help="open arrivals a second")
    parser.add_argument("--requests", type=int, default=40, help="of each line, at least")
    parser.add_argument("--read", type=int, default=64, help="tokens of a prompt, about")
    parser.add_argument("--write", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--slo", default="1.0,0.1", help="seconds: TTFT, TPOT")
    parser.add_argument("--out", default="", help="write the table here too")
    options = parser.parse_args()
    ttft, tpot = map(float, options.slo.split(","))
    with tempfile.TemporaryDirectory() as place:
        model = options.model or small(Path(place))
        text = run(options, model, (ttft, tpot))
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")


def run(options: argparse.Namespace, model: str, slo: tuple[float, float]) -> str:
    server = Running(model, options.weights)
    rows: list[list[str]] = []
    try:
        work = bodies(32, options.read, options.write, 1)
        asyncio.run(closed(server.url, 8, work))  # to be warm
        before = server.memory
        for number, connections in enumerate(map(int, options.connections.split(","))):
            count = max(options.requests, connections)
            work = bodies(count, options.read, options.write, number + 2)
            asking = closed(server.url, connections, work)
            row = asyncio.run(measured(f"{connections} connections", server.url, asking))
            rows.append(row.cells(slo))
            print(rows[-1], file=sys.stderr)
        for rate in filter(None, options.rates.split(",")):
            work = bodies(options.requests, options.read, options.write, 1000)
            asking = opened(server.url, float(rate), work)
            row = asyncio.run(measured(f"{rate} a second", server.url, asking))
            rows.append(row.cells(slo))
            print(rows[-1], file=sys.stderr)
        work = bodies(100, options.read, options.write, 5)
        asyncio.run(abandoned(server.url, work, 50))
        begun = time.perf_counter()
        while any(server.gauges().values()):
            time.sleep(0.05)
        left = time.perf_counter() - begun
        after = server.memory
    finally:
        server.stop()
    alone = {n: offline(model, options.weights, bodies(n * 2, options.read, options.write, 3), n)
             for n in (1, 8, 32)}  # fmt: skip
    speeds = ", ".join(f"{n} at once {speed:,.0f}" for n, speed in alone.items())
    lines = [
        table(rows),
        "",
        f"engine alone, tokens a second, prompts read too: {speeds}",
        f"memory {before:,.0f} MB warm, {after:,.0f} MB at the end",
        f"gauges 0 after {left:.2f} s when 50 of 100 left",
        f"objective: TTFT {slo[0]} s, TPOT {slo[1]} s",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
