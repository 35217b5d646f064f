"""Encoder-decoders in the engine: several texts at once against one after the other.

    python benchmarks/answering.py --model t5-small --texts 8 --threads 1

Random weights, sources of 20 to 90 tokens, as many tokens written for each; both ways in turn,
round after round, in one process. Told: medians of written tokens a second (of one thread's time
on the processor with `--clock cpu`, where others use the machine), and of the ratios within a
round.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from ownlm.inference.config import EngineConfig
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM
from ownlm.inference.request import Request
from ownlm.models.families import SIZES
from ownlm.models.load import build_any
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}


def requests(lm: LM, count: int, tokens: int) -> list[Request]:
    """Sources of unlike lengths."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(20, 91, (count,), generator=draw).tolist()
    opening = tuple(lm.frame.opening)
    return [
        Request(opening, source=tuple(torch.randint(9, 200, (length,), generator=draw).tolist()),
                max_tokens=tokens, ignore_end=True)
        for length in lengths
    ]  # fmt: skip


def rate(engine: Engine, asked: list[Request], clock: Callable[[], float]) -> float:
    """Written tokens a second."""
    for one in asked:
        engine.submit(one)
    begin, count = clock(), 0
    while engine.busy:
        count += sum(len(event.tokens) for _, event in engine.step())
    return count / (clock() - begin)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="t5-small", help="a size of an encoder-decoder")
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = train_tokenizer(["boats"], TokenizerConfig(kind="byte"))
    lm = LM(build_any(SIZES[options.model], seed=1), tokenizer)
    asked = requests(lm, options.texts, options.tokens)
    engines = [Engine(lm, EngineConfig(rows=rows)) for rows in (options.texts, 1)]
    clock = CLOCKS[options.clock]
    rounds = range(options.rounds + 1)
    found = [[rate(engine, asked, clock) for engine in engines] for _ in rounds]
    together, alone = (statistics.median(rates) for rates in zip(*found[1:]))
    ratio = statistics.median(a / b for a, b in found[1:])
    print(f"{options.model}, {options.texts} texts, {options.threads} thread(s), {options.clock}")
    print(f"together {together:.1f} tokens/s, one after the other {alone:.1f}: {ratio:.2f} times")


if __name__ == "__main__":
    main()
