"""Decoding speed beside other packages: same shapes, random weights, one run, turns interleaved.

    python benchmarks/decoding.py --shape gpt2 --folder FOR_GGUF_FILES
    python benchmarks/decoding.py --shape 0.5b --folder FOLDER --work decode --rounds 7

Every contestant is a process of its own that stays alive; the parent lets one of them work at a
time, round after round. Work: `decode` (one text), `8` and `32` texts at once, each a token a step;
`prefill`, a prompt of 512 tokens. Quoted: medians over the rounds of tokens a second, and medians
of the ratios within a round to the contestant of llama.cpp with as many bits. `of the limit` is the
time in which all threads read as many bytes as the weights have (measured in the same rounds, by
the same code without its arithmetic) over the time of a token.

On a machine that others use too, `--threads 1 --clock cpu` counts the processor's time of one
thread each instead: less is said, but waiting for the processor does not count.

Peers need llama-cpp-python (on some processors its quantised kernels crash: see RESULTS.md), gguf,
transformers, openvino with nncf, and ctranslate2 (which counts the wall's clock only); a contestant
whose package is missing is left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONTESTANTS = (
    "ownlm-bf16", "ownlm-int8", "ownlm-int4", "llama.cpp-bf16", "llama.cpp-f16", "llama.cpp-q8_0",
    "llama.cpp-q4_0", "transformers-bf16", "openvino-int8", "ctranslate2-int8",
)  # fmt: skip
RIVALS = {"bf16": ("bf16", "f16"), "int8": ("q8_0",), "int4": ("q4_0",)}
WORK = {"decode": 1, "8": 8, "32": 32, "prefill": 1}
PREFILL = 512
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}


def worker(contestant: str, options: argparse.Namespace) -> None:
    """Kinds of work in on a line, tokens a second and the limit's bytes a second out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    from decoders import PROMPT, make

    clock = CLOCKS[options.clock]
    made = make(contestant, options.shape, options.folder, options.threads, clock)
    print(json.dumps({"bytes": getattr(made, "weight_bytes", 0)}), file=answers, flush=True)
    for line in sys.stdin:
        texts = WORK[work := line.strip()]
        found: dict[str, float] = {}
        if work == "prefill":
            begin = clock()
            made.begin(1, PREFILL)
            found["rate"] = PREFILL / (clock() - begin)
        elif hasattr(made, "rate"):
            found["rate"] = made.rate(texts, options.seconds)
        else:
            made.begin(texts, PROMPT)
            made.step()
            begin, steps = clock(), 0
            while steps < 4 or (clock() - begin < options.seconds and steps < 200):
                made.step()
                steps += 1
            found["rate"] = texts * steps / (clock() - begin)
        if work == "decode" and hasattr(made, "stream"):
            found["stream"] = max(made.stream() for _ in range(3))
        print(json.dumps(found), file=answers, flush=True)


def start(contestant: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    names = ("shape", "folder", "threads", "seconds", "clock")
    passed = [f"--{name}={getattr(options, name)}" for name in names]
    command = [sys.executable, __file__, "--worker", contestant, *passed]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def ask(process: subprocess.Popen[str], line: str) -> dict[str, float]:
    assert process.stdin and process.stdout
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer: dict[str, float] = json.loads(process.stdout.readline() or "{}")
    return answer


def measure(options: argparse.Namespace) -> None:
    alive: dict[str, subprocess.Popen[str]] = {}
    sizes: dict[str, float] = {}
    for name in options.contestants.split(","):
        process = start(name, options)
        assert process.stdout
        if ready := process.stdout.readline():  # else its package is missing: it said so
            alive[name], sizes[name] = process, json.loads(ready)["bytes"]
    for work in options.work.split(","):
        rounds: list[dict[str, dict[str, float]]] = []
        for turn in range(options.rounds + 1):
            found = {name: ask(process, work) for name, process in alive.items()}
            rounds += [found] if turn else []  # the first warms up
        report(work, rounds, sizes)
    for process in alive.values():
        assert process.stdin
        process.stdin.close()


def report(work: str, rounds: list[dict[str, dict[str, float]]], sizes: dict[str, Any]) -> None:
    print(f"\n{work}: median tokens a second of {len(rounds)} rounds")
    for name in rounds[0]:
        rates = [found[name]["rate"] for found in rounds]
        line = f"  {name:18} {statistics.median(rates):10,.1f}"
        line += f"   ({min(rates):,.1f} to {max(rates):,.1f})"
        package, _, kind = name.partition("-")
        for rival in (f"llama.cpp-{other}" for other in RIVALS.get(kind, ()) if package == "ownlm"):
            if rival in rounds[0]:
                ratios = [found[name]["rate"] / found[rival]["rate"] for found in rounds]
                line += f"   {statistics.median(ratios):.2f} x {rival}"
        if "stream" in rounds[0][name]:
            shares = [f[name]["rate"] * sizes[name] / f[name]["stream"] for f in rounds]
            speed = statistics.median(f[name]["stream"] for f in rounds)
            line += f"   {statistics.median(shares):.0%} of the limit ({speed / 1e9:.1f} GB/s)"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="gpt2", choices=("15m", "gpt2", "0.5b"))
    parser.add_argument("--folder", type=Path, default=Path("."), help="where GGUF files are kept")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of decoding in a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", default="wall", choices=tuple(CLOCKS))
    parser.add_argument("--worker", default="")
    options = parser.parse_args()
    if options.clock == "cpu" and options.threads != 1:
        parser.error("--clock cpu counts the time of one thread: add --threads 1")
    if options.worker:
        worker(options.worker, options)
    else:
        measure(options)


if __name__ == "__main__":
    main()
