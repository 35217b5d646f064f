"""What `auto` becomes on this machine: one place for the choices that only speed depends on.

A run keeps the choices it began with, so that a resume on another day continues bit for bit.
"""

import contextlib
import os
from collections.abc import Iterator

import torch

from ownlm import runtime
from ownlm.errors import ConfigError
from ownlm.files import readable
from ownlm.inspection.architecture import Description, Memory
from ownlm.log import warn
from ownlm.nn import fused
from ownlm.training.config import Choices, Precision, TrainConfig

SHARE = 0.7
"""Of the machine's memory: what training may take, the rest is for the system and the data."""

NARROW = 128
"""On a CPU, models narrower than this gain nothing from bfloat16 (at 128: 1.4 times)."""


def settle(
    train: TrainConfig, before: Choices | None, described: Description, device: torch.device
) -> tuple[Choices, str]:
    """Choose, and set the process up for it: threads, and memory that is reused; what was done
    about memory, in words.

    `before` are the choices of a run that goes on; they stay, save what the configuration now
    states itself.
    """
    chosen = choose(train, described, device)
    if before:
        chosen = kept(train, before, chosen)
    torch.set_num_threads(chosen.threads)
    if device.type == "cpu":
        needed = needed_memory(described, chosen, train.batch)
        reserved = min(needed, int(available_memory(device) * SHARE))
        return chosen, runtime.settle_memory(reserved)
    return chosen, "allocator of the device"


def require_cores(train: TrainConfig, device: torch.device) -> None:
    """ConfigError for more threads than cores: each would wait for the others at every product.

    Asked where a run starts, not in the configuration, which may come from another machine.
    """
    cores = runtime.core_count()
    if device.type == "cpu" and train.threads > cores:
        raise ConfigError(
            f"{train.threads} threads on a machine of {cores} {'core' if cores == 1 else 'cores'}",
            where="train.threads",
            next_command=f"--train.threads {cores}, or 0, which lets the machine decide",
        )


def choose(train: TrainConfig, described: Description, device: torch.device) -> Choices:
    """What each `auto` becomes in a run that begins here."""
    precision = _precision(train, described.dim, device)
    memory, available = described.memory[precision], available_memory(device)
    again = train.recompute == "on" or (
        train.recompute == "auto"
        and memory.training > available * SHARE
        and memory.recomputed < memory.activations
    )
    return Choices(
        precision=precision,
        compile=train.compile == "on",  # auto: the trainer measures (training/probe.py)
        threads=train.threads or _threads(),
        micro_batch=train.micro_batch or fitting(train.batch, memory, available, again),
        recompute=again,
        native=fused.instructions() if device.type == "cpu" and precision != "fp32" else "",
    )


def kept(train: TrainConfig, before: Choices, chosen: Choices) -> Choices:
    """The choices of the run that goes on, save what its configuration states itself."""
    stated = {
        "precision": train.precision != "auto",
        "compile": train.compile != "auto",
        "threads": train.threads > 0,
        "micro_batch": train.micro_batch > 0,
        "recompute": train.recompute != "auto",
    }
    if before.native != chosen.native:
        began, goes_on = (
            f"with kernels of {one.native}" if one.native else "without native kernels"
            for one in (before, chosen)
        )
        warn(
            f"this run began {began} and goes on {goes_on}: as good, but not bit for bit as it "
            "would have been"
        )
    stated["native"] = True  # a matter of the machine, not of the run
    own = {name: getattr(chosen, name) for name, is_stated in stated.items() if is_stated}
    return before.model_copy(update=own)


def fitting(batch: int, memory: Memory, available: int, again: bool = False) -> int:
    """Sequences at once: the largest whole part of a batch that fits; 0 stands for all of it.
    `again`: blocks are computed again in the backward pass."""
    room, one = available * SHARE - (memory.training - memory.activations), _kept(memory, again)
    fits = [n for n in range(1, batch + 1) if batch % n == 0 and n * one <= room]
    largest = max(fits, default=1)
    return 0 if largest == batch else largest


def needed_memory(described: Description, choices: Choices, batch: int) -> int:
    """Bytes at the peak of a training step, estimated."""
    memory = described.memory[choices.precision]
    at_once = choices.micro_batch or batch
    return memory.training - memory.activations + _kept(memory, choices.recompute) * at_once


def _kept(memory: Memory, again: bool) -> int:
    """Bytes that a sequence's backward pass needs."""
    return memory.recomputed if again else memory.activations


@contextlib.contextmanager
def memory_errors(train: TrainConfig, choices: Choices, described: Description) -> Iterator[None]:
    """Turn the allocator's refusal into a ConfigError that names a smaller setting."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        batch, at_once = train.batch, choices.micro_batch or train.batch
        smaller = [n for n in range(1, at_once) if batch % n == 0 and 2 * n <= at_once]
        needed = needed_memory(described, choices, batch)
        raise ConfigError(
            f"not enough memory for {at_once} sequences of {described.context} tokens at once, "
            f"about {readable(needed)}",
            kept="the newest checkpoint, if there is one",
            next_command=_smaller(smaller, choices),
        ) from error


def _smaller(sizes: list[int], choices: Choices) -> str:
    """What to try next where memory was full; the gentlest first."""
    if sizes:
        return f"--train.micro-batch {sizes[-1]}, which learns the same"
    if not choices.recompute:
        return "--train.recompute on, which learns the same and takes a third more time"
    return "a smaller --model.context or --model.dim"


def _out_of_memory(error: Exception) -> bool:
    """torch raises a class of its own on a GPU, and a plain RuntimeError on a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "can't allocate memory" in str(error)
    )


def available_memory(device: torch.device) -> int:
    """Bytes that tensors may take on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return runtime.memory_bytes()


def _precision(train: TrainConfig, dim: int, device: torch.device) -> Precision:
    wide = device.type != "cpu" or dim >= NARROW
    fast = wide and runtime.fast_bf16(device)
    if train.precision == "mixed":
        return "mixed" if fast else "fp32"
    return train.precision if train.precision != "auto" else "bf16" if fast else "fp32"


def _threads() -> int:
    """All cores, unless the person who started the process has decided otherwise."""
    return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else runtime.core_count()
