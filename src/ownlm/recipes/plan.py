"""What a run is going to be, shown before it starts: size, work, memory, and what was derived."""

import torch

from ownlm.files import readable
from ownlm.inspection.architecture import Description, describe, sketch
from ownlm.models.config import ModelConfig
from ownlm.models.load import hf_values
from ownlm.objectives.config import ObjectiveConfig
from ownlm.recipes import machine
from ownlm.recipes.config import RunConfig
from ownlm.training.config import Choices

DERIVED = {
    "optimizer.lr": "learning rate from the width",
    "train.steps": "updates from the passes over the text",
    "schedule.warmup": "warmup cut for a short run",
}
"""Keys that are worth a word when the configuration left them to us."""

LEARNS = {
    "causal": "the next token",
    "prefix": "the next token, behind a beginning of random length that is read both ways",
    "codes": "the next token, behind the control code of its document",
    "middle": "the next token; {o.rate:.0%} of the documents with their middle last",
    "masked": "{o.rate:.0%} of the tokens, hidden by the {unit}; pairs of segments: {o.pairs}",
    "replaced": "which tokens were replaced; {o.rate:.0%} are, by a generator trained beside it",
    "permutation": "{o.rate:.0%} of the tokens in random order, {o.segments} segments a window",
    "spans": "{o.rate:.0%} of the tokens, hidden in spans of {o.span:g}",
    "seq2seq": "the target of each source; {o.smoothing:.0%} of its probability smoothed",
    "infilling": "text with its sentences out of order and {o.rate:.0%} of the tokens hidden",
}
UNITS = {"token": "token", "word": "word", "chinese": "Chinese word"}
FALLING = ("cosine", "wsd")
"""Schedules that end at a share of the rate; inverse_sqrt ends where its steps end."""


def sketched(config: ModelConfig) -> Description:
    """A model in numbers, before any of its memory is taken."""
    return describe(sketch(hf_values(config)))


def plan(
    asked: RunConfig,
    config: RunConfig,
    described: Description,
    choices: Choices,
    device: torch.device,
    train_tokens: int,
    window: int,
) -> str:
    """Some lines for the person at the terminal; `asked` is the configuration before deriving,
    `window` how many tokens of the text a sequence is made from."""
    rows = {"model": _model(config, described)}
    if words := [DERIVED[key] for key, *_ in asked.differences(config) if key in DERIVED]:
        rows["derived"] = ", ".join(words)
    rows |= {
        "learns": _learns(config),
        "work": _work(config, train_tokens, window),
        "rate": _rate(config),
        "memory": _memory(config, described, choices, device),
        "machine": _machine(choices, device),
    }
    return "\n".join(f"{name:<8} {text}" for name, text in rows.items())


def _learns(config: RunConfig) -> str:
    tasks = config.mixture.tasks
    if not tasks:
        return _learned(config.objective)
    total = sum(task.weight for task in tasks)
    shares = [f"{task.weight / total:.0%}" if total else "its share by size" for task in tasks]
    learned = [_learned(task.objective) for task in tasks]
    return "; ".join(
        f"{task.name} ({share}): {what}" for task, share, what in zip(tasks, shares, learned)
    )


def _learned(objective: ObjectiveConfig) -> str:
    return LEARNS[objective.kind].format(o=objective, unit=UNITS[objective.unit])


def _model(config: RunConfig, described: Description) -> str:
    return (
        f"{described.family}, {described.layers} layers x {described.dim}, context "
        f"{described.context}, {described.vocab:,} token ids: {described.parameters:,} parameters"
    )


def _work(config: RunConfig, train_tokens: int, window: int) -> str:
    train = config.train
    tokens = train.steps * train.batch * window
    return (
        f"{train.steps:,} updates of {train.batch} x {window} tokens = {tokens:,}, "
        f"{tokens / max(1, train_tokens):.1f} passes over {train_tokens:,}"
    )


def _rate(config: RunConfig) -> str:
    schedule = config.schedule
    down = f" down to {schedule.final:.0%}" if schedule.kind in FALLING else ""
    return f"{config.optimizer.lr:g}, warmup {schedule.warmup}, {schedule.kind}{down}"


def _memory(
    config: RunConfig, described: Description, choices: Choices, device: torch.device
) -> str:
    available = machine.available_memory(device)
    needed = machine.needed_memory(described, choices, config.train.batch)
    at_once = choices.micro_batch or config.train.batch
    again = ", blocks computed again" if choices.recompute else ""
    return f"about {readable(needed)} of {readable(available)}, {at_once} sequences at once{again}"


def _machine(choices: Choices, device: torch.device) -> str:
    cores = f", {choices.threads} of its cores" if device.type == "cpu" else ""
    native = f", kernels of {choices.native}" if choices.native else ""
    return f"{device}, {choices.precision}{cores}{native}"
