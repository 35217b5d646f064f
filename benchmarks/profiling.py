"""Where the time of an update goes: what limits the training speed that training.py measures.

    python benchmarks/profiling.py --shape gpt2

Torch's profiler over a few whole updates of ownlm (forward, backward, clip, AdamW): the time that
each operation takes itself, without what it calls, in groups.
"""

import argparse
import time
from collections import Counter

import torch
from contestants import updates
from shapes import SHAPES, Work
from torch.profiler import ProfilerActivity, profile

from ownlm import runtime

GROUPS = {
    "norms": ("layer_norm", "rms"),
    "products of layers": ("addmm", "::mm", "::bmm", "_linear", "matmul", "onednn"),
    "attention": ("attention",),
    "loss with its products": ("_native", "ownlm::product", "nll", "log_softmax"),
    "optimizer, clip, Python": ("adamw", "foreach", "(no operation"),
    "activations, dropout": ("gelu", "silu", "relu", "dropout", "sigmoid"),
}
"""Parts of the names of operations; what none holds is moving and adding of numbers."""


def group_of(name: str) -> str:
    """The first group that knows a part of the name."""
    low = name.lower()
    parts = GROUPS.items()
    return next((g for g, known in parts if any(k in low for k in known)), "copies, sums, other")


def main() -> None:
    """Profile, print the groups and the operations that take most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="gpt2", choices=SHAPES)
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--threads", type=int, default=runtime.core_count())
    parser.add_argument("--dropout", type=float, default=0.0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = Work(SHAPES[options.shape], "", "", sort=False)
    made = updates("ownlm-bf16-eager", work, options.dropout, "")
    for _ in range(2):
        next(made)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        begun = time.perf_counter()
        for _ in range(options.updates):
            next(made)
        total = (time.perf_counter() - begun) * 1e6
    spent = Counter({event.key: event.self_cpu_time_total for event in seen.key_averages()})
    spent["(no operation of torch)"] = total - sum(spent.values())
    groups = Counter[str]()
    for name, micros in spent.items():
        groups[group_of(name)] += micros
    print(f"{options.shape}: {total / options.updates / 1e3:,.0f} ms an update")
    for name, micros in groups.most_common():
        print(f"{micros / total:6.1%}  {name}")
    print("operations")
    for name, micros in spent.most_common(16):
        print(f"{micros / total:6.1%}  {name}")


if __name__ == "__main__":
    main()
