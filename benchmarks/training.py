"""Training speed beside nanoGPT: same shape, batch and dropout, one run, turns interleaved.

    python benchmarks/training.py --nanogpt PATH_OF_A_CHECKOUT [--shape mini] [--rounds 7]

Every contestant is a process of its own that stays alive; the parent lets one of them work at a
time, round after round, so that a drift of the machine's speed meets all alike. A turn is a
few whole updates (forward, backward, clip, AdamW) on random tokens. Quoted: medians over the
rounds, and the median of the ratios within each round.

nanogpt shipped: float32, not compiled, as its README says for a CPU. nanogpt best: autocast to
bfloat16, compiled, jemalloc preloaded where it is installed.
"""

import argparse
import ctypes.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"layers": 4, "heads": 4, "dim": 128, "context": 64, "batch": 12, "vocab": 65},
    "mini": {"layers": 6, "heads": 6, "dim": 384, "context": 256, "batch": 64, "vocab": 65},
    "gpt2": {"layers": 12, "heads": 12, "dim": 768, "context": 1024, "batch": 1, "vocab": 50257},
    "gpt2x4": {"layers": 12, "heads": 12, "dim": 768, "context": 1024, "batch": 4, "vocab": 50257},
}


def nanogpt_step(shape: dict[str, Any], best: bool) -> Callable[[], None]:
    """One update as nanoGPT's train.py makes it."""
    import torch
    from model import GPT, GPTConfig  # the checkout, put on sys.path by the caller

    torch.manual_seed(1337)
    sizes = {"n_layer": shape["layers"], "n_head": shape["heads"], "n_embd": shape["dim"]}
    rest = {"block_size": shape["context"], "vocab_size": shape["vocab"], "bias": False}
    model = GPT(GPTConfig(**sizes, **rest, dropout=shape["dropout"]))
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    forward = torch.compile(model) if best else model
    context = torch.autocast("cpu", torch.bfloat16) if best else nullcontext()
    size = (shape["batch"], shape["context"] + 1)

    def step() -> None:
        tokens = torch.randint(shape["vocab"], size)
        with context:
            _, loss = forward(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return step


def ownlm_step(shape: dict[str, Any], precision: str, compiled: bool) -> Callable[[], None]:
    """One update as `ownlm pretrain` makes it."""
    import torch

    from ownlm import runtime

    runtime.settle_memory(4 << 30)
    torch.set_num_threads(runtime.core_count())

    import numpy as np

    from ownlm.data.loader import Examples
    from ownlm.models.config import ModelConfig
    from ownlm.models.load import build_model
    from ownlm.objectives.causal import Causal
    from ownlm.training.config import OptimizerConfig
    from ownlm.training.optimizer import AdamW
    from ownlm.training.precision import Weights
    from ownlm.training.step import Stepper, read

    sizes = {k: shape[k] for k in ("layers", "heads", "dim", "context", "vocab", "dropout")}
    sizes["act"] = "gelu"  # as nanoGPT
    model = build_model(ModelConfig(family="gpt2", tied=True, bias=False, **sizes), seed=1337)
    model.train()
    weights = Weights(model, precision)
    optimizer = AdamW(weights.master, OptimizerConfig(betas=(0.9, 0.99)))
    stepper = Stepper(model, Causal(), weights, optimizer, seed=1, clip=1.0, compiled=compiled)
    rng, size, number = np.random.default_rng(0), (shape["batch"], shape["context"] + 1), [0]

    def step() -> None:
        tokens = rng.integers(shape["vocab"], size=size)
        read(stepper.step([Examples(tokens, None, tokens[:, 0])], number[0], 1e-3))
        number[0] += 1

    return step


def work(contestant: str, shape: dict[str, Any], checkout: str) -> None:
    """The worker's loop: a number of updates in on a line, the seconds they took out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    if contestant.startswith("nanogpt"):
        sys.path.insert(0, checkout)
        step = nanogpt_step(shape, best=contestant.endswith("best"))
    else:
        _, precision, compiled = contestant.split("-")
        step = ownlm_step(shape, precision, compiled == "compiled")
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(json.dumps(time.perf_counter() - start), file=answers, flush=True)


def start(contestant: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    """A worker process; jemalloc for nanoGPT at its best."""
    environment = dict(os.environ)
    if contestant == "nanogpt-best" and (library := ctypes.util.find_library("jemalloc")):
        environment |= {"LD_PRELOAD": library, "MALLOC_CONF": "thp:always"}
    words = [sys.executable, __file__, "--worker", contestant]
    for name in ("nanogpt", "shape", "dropout"):
        words += [f"--{name}", str(getattr(options, name))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, **pipes)


def turn(worker: subprocess.Popen[str], updates: int) -> float:
    """Let one worker make `updates` updates; seconds."""
    assert worker.stdin and worker.stdout
    print(updates, file=worker.stdin, flush=True)
    return float(json.loads(worker.stdout.readline()))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", default="", help="a nanoGPT checkout")
    parser.add_argument("--shape", default="mini", choices=SHAPES)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=2, help="updates a turn")
    default = "ownlm-bf16-eager,nanogpt-shipped,nanogpt-best"
    parser.add_argument("--contestants", default=default, help="the first is compared to the rest")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = SHAPES[options.shape] | {"dropout": options.dropout}
    if options.worker:
        return work(options.worker, shape, options.nanogpt)

    from limits import product_rate

    from ownlm import runtime

    names = options.contestants.split(",")
    workers = {name: start(name, options) for name in names}
    for name, worker in workers.items():
        print(f"{name}: ready after {turn(worker, 2):.1f} s", file=sys.stderr)
    rounds = [
        {name: turn(worker, options.updates) for name, worker in workers.items()}
        for _ in range(options.rounds)
    ]
    tokens = options.updates * shape["batch"] * shape["context"]
    print(f"{options.shape} {shape}")
    for name in names:
        seconds = statistics.median(r[name] for r in rounds)
        ratio = statistics.median(r[name] / r[names[0]] for r in rounds)
        print(f"{name:20} {tokens / seconds:9,.0f} tokens/s   {names[0]} is {ratio:5.2f} times it")
    for worker in workers.values():
        worker.kill()
    import torch

    torch.set_num_threads(runtime.core_count())
    print(f"torch's bf16 product: {product_rate(torch.bfloat16) / 1e12:.2f} TFLOP/s")
    print(runtime.describe(torch.device("cpu")))
    return None


if __name__ == "__main__":
    main()
