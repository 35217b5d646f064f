"""Training speed beside other packages: same shape, batch and targets, one run, turns interleaved.

    python benchmarks/training.py --shape mini --nanogpt PATH_OF_A_CHECKOUT --dropout 0.2
    python benchmarks/training.py --shape bert-real --text LINES --tokenizer FOLDER --sort

Every contestant is a process of its own that stays alive; the parent lets one of them work at a
time, round after round, so that a drift of the machine's speed meets all alike. A turn is a few
whole updates (forward, backward, clip, AdamW) on random tokens. Quoted: medians over the rounds,
and the median of the ratios within each round; and the share of torch's own bf16 product rate, by
the operations that the update needs (no padding, the head where there is a target).

A contestant is PACKAGE-PRECISION-MODE. Packages: ownlm; nanogpt (a checkout), litgpt,
x_transformers, transformers, torch. Precision: of ownlm fp32 or bf16; of the others fp32, autocast
(to bf16) or weights (all in bf16). Mode: eager or compiled. Peers get jemalloc with huge pages
where it is installed; PACKAGE-fp32-eager is the package as its README has it.
"""

import argparse
import ctypes.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shapes import BATCHES, SHAPES, Work

from ownlm import runtime

BEST = "autocast-compiled"
BEST_REAL = "weights-eager", "autocast-eager"
"""Of batches of many lengths: each length compiled, or padded to the next multiple, is slower."""
PEERS = {
    "causal": ("nanogpt", "litgpt", "transformers", "x_transformers", "torch"),
    "masked": ("transformers", "x_transformers", "torch"),
    "pair": ("transformers",),
}
PASSED = ("nanogpt", "shape", "dropout", "threads", "text", "tokenizer")


def work(contestant: str, options: argparse.Namespace) -> None:
    """The worker's loop: a number of updates in on a line, the seconds they took out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    import torch
    from contestants import updates

    torch.set_num_threads(options.threads)
    job = Work(SHAPES[options.shape], options.text, options.tokenizer, options.sort)
    made = updates(contestant, job, options.dropout, options.nanogpt)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            next(made)
        print(json.dumps(time.perf_counter() - start), file=answers, flush=True)


def start(
    contestant: str, options: argparse.Namespace, script: str, passed: Sequence[str]
) -> subprocess.Popen[str]:
    """A worker process; jemalloc for peers at their best."""
    environment = dict(os.environ) | {"OMP_NUM_THREADS": str(options.threads)}
    peer = not contestant.startswith("ownlm") and not contestant.endswith("fp32-eager")
    if peer and (library := ctypes.util.find_library("jemalloc")):
        environment |= {"LD_PRELOAD": library, "MALLOC_CONF": "thp:always"}
    words = [sys.executable, script, "--worker", contestant]
    for name in passed:
        words += [f"--{name}", str(getattr(options, name))]
    words += [f"--{name}" for name in ("sort", "apart") if getattr(options, name, False)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, **pipes)


def turn(worker: subprocess.Popen[str], updates: int) -> float:
    """Let one worker make `updates` updates; seconds."""
    return float(ask(worker, updates))


def ask(worker: subprocess.Popen[str], updates: int) -> Any:
    """The same; whatever it answers."""
    assert worker.stdin and worker.stdout
    print(updates, file=worker.stdin, flush=True)
    return json.loads(worker.stdout.readline())


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="mini", choices=SHAPES)
    parser.add_argument("--contestants", default="", help="the first is compared to the rest")
    parser.add_argument("--nanogpt", default="", help="a nanoGPT checkout")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=2, help="updates a turn (bert-real: 16)")
    parser.add_argument(
        "--warm", type=int, default=2, help="updates before the first round (the same)"
    )
    parser.add_argument("--threads", type=int, default=runtime.core_count())
    parser.add_argument("--text", default="", help="lines whose lengths bert-real has")
    parser.add_argument("--tokenizer", default="", help="what makes tokens of them")
    parser.add_argument("--sort", action="store_true", help="batches of sequences of like length")
    parser.add_argument("--wait", action="store_true", help="for Enter, before the rounds")
    parser.add_argument("--json", default="", help="a file for the figures")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if SHAPES[options.shape].real:  # batches are of unlike lengths: a turn is all of them
        options.updates = options.warm = BATCHES
    return options


def usual(options: argparse.Namespace) -> list[str]:
    """Ownlm, then every peer that makes such a model, at its best."""
    shape = SHAPES[options.shape]
    peers = [p for p in PEERS[shape.kind] if p != "nanogpt" or options.nanogpt]
    best = BEST_REAL if shape.real else (BEST,)
    return ["ownlm-bf16-eager", *(f"{peer}-{manner}" for peer in peers for manner in best)]


def ready(
    names: list[str],
    options: argparse.Namespace,
    script: str = __file__,
    passed: Sequence[str] = PASSED,
) -> dict[str, subprocess.Popen[str]]:
    """Workers that have made their first updates; one that cannot is left out."""
    workers = {}
    for name in names:
        worker = start(name, options, script, passed)
        try:
            print(f"{name}: ready after {ask(worker, options.warm)} s", file=sys.stderr)
        except (OSError, ValueError):
            print(f"{name}: cannot take part", file=sys.stderr)
            continue
        workers[name] = worker
    return workers


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The rounds of all contestants and what they come to."""
    workers = ready(options.contestants.split(",") if options.contestants else usual(options),
                    options)  # fmt: skip
    if options.wait:
        input("Enter begins the rounds\n")
    rounds = [
        {name: turn(worker, options.updates) for name, worker in workers.items()}
        for _ in range(options.rounds)
    ]
    for worker in workers.values():
        worker.kill()
    job = Work(SHAPES[options.shape], options.text, options.tokenizer, options.sort)
    return {"options": vars(options), "rounds": rounds, "rate": product_rate(options.threads),
            "figures": job.figures, "machine": machine()}  # fmt: skip


def product_rate(threads: int) -> float:
    import torch
    from limits import product_rate

    runtime.settle_memory()
    torch.set_num_threads(threads)
    return product_rate(torch.bfloat16)


def machine() -> str:
    import torch

    return str(runtime.describe(torch.device("cpu")))


def show(found: dict[str, Any]) -> None:
    """A table."""
    rounds, figures, updates = found["rounds"], found["figures"], found["options"]["updates"]
    print(f"{found['options']['shape']} {SHAPES[found['options']['shape']]}")
    first = next(iter(rounds[0]))
    for name in rounds[0]:
        seconds = statistics.median(r[name] for r in rounds) / updates
        ratio = statistics.median(r[name] / r[first] for r in rounds)
        share = figures["operations"] / seconds / found["rate"]
        print(f"{name:36} {figures['tokens'] / seconds:9,.0f} tokens/s {share:5.0%} of the product"
              f"   {first} is {ratio:5.2f} times it")  # fmt: skip
    print(f"torch's bf16 product: {found['rate'] / 1e12:.2f} TFLOP/s\n{found['machine']}")


def main() -> None:
    """Measure, print a table, keep the figures."""
    options = parse()
    if options.worker:
        return work(options.worker, options)
    found = measure(options)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    return show(found)


if __name__ == "__main__":
    main()
