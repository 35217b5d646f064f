"""Which runner an engine gets: native code with few bits a weight, or the training model, whose
steps a CUDA device records.

A probe reads some tokens with both and says what it chose, and why.
"""

import time
from collections.abc import Callable
from typing import Literal

from ownlm.files import readable
from ownlm.inference import native_runner
from ownlm.inference.config import EngineConfig
from ownlm.inference.engine import Engine
from ownlm.inference.graphs import GraphRunner, recordable
from ownlm.inference.language_model import LM
from ownlm.inference.native_runner import NativeRunner
from ownlm.inference.native_weights import Kind
from ownlm.inference.runner import Runner, Work, make_runner
from ownlm.log import say
from ownlm.models.model import Model

Weights = Literal["auto", "float32", "bf16", "int8", "int4"]
"""`auto` is int8 where it is faster than the training model; `float32` is that model, whatever
its type. In bf16, int8 and int4 what is written beside a text changes no digit of it; in float32 it
may change the last ones, for torch adds up otherwise for many rows."""
TOKENS = 8
"""Read one by one in a probe; the fastest counts, others may be using the processor."""


def make_engine(
    lm: LM,
    config: EngineConfig | None = None,
    weights: Weights = "auto",
    *,
    tell: Callable[[str], None] = say,
) -> Engine:
    """An engine with the runner that `weights` asks for, as far as this machine and model have
    it; `tell` gets one line that says which one."""
    runner, line = pick_runner(lm.model, weights)
    tell(line)
    return Engine(lm, config, runner)


def pick_runner(model: Model, weights: Weights = "auto") -> tuple[Runner, str]:
    """The runner, and a line about it."""
    plain = plain_runner(model)
    if weights == "float32":
        return plain, "decoding: PyTorch, as asked"
    if why := native_runner.usable(model):
        return plain, f"decoding: PyTorch, since native code does not take this model: {why}"
    kind: Kind = "int8" if weights == "auto" else weights
    native = NativeRunner(model, kind)
    what = f"native code, {kind} weights of {readable(native.weight_bytes)}"
    if weights != "auto":
        return native, f"decoding: {what}, as asked"
    fast, slow = (_milliseconds(runner) for runner in (native, plain))
    times = f"{fast:,.2f} ms a token beside {slow:,.2f} in PyTorch"
    if fast < slow:
        return native, f"decoding: {what}, {times}"
    return plain, f"decoding: PyTorch, {slow:,.2f} ms a token beside {fast:,.2f} in {what}"


def plain_runner(model: Model) -> Runner:
    """The training model's, with recorded steps where there is a CUDA device."""
    if model.device.type == "cuda" and recordable(model):
        return GraphRunner(model)
    return make_runner(model)


def _milliseconds(runner: Runner) -> float:
    """What reading a token takes."""
    tokens = min(TOKENS, runner.context)
    runner.reserve(tokens, 1)
    taken = []
    for position in range(tokens):
        begin = time.perf_counter()
        runner.read([Work([0], position, range(tokens))])
        taken.append(time.perf_counter() - begin)
    return 1000 * min(taken)
