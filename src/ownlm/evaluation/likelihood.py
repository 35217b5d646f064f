"""How well a model predicts text: nats per token, perplexity, bits per byte.

Bits per byte compares models with different tokenizers, perplexity only those with the same.
The whole stream is read in windows of the model's context. A window ends where the next one
begins, so every token is predicted exactly once, except the first of the stream. The first of a
document is predicted from the end-of-text token before it, as generation without a prompt does.
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from ownlm import log
from ownlm.errors import ConfigError, DataError, NonFiniteError
from ownlm.evaluation.windows import Stream, Windows, batched, collated, few, planned
from ownlm.objectives.objective import Objective

Progress = Callable[[int, int], None]
"""Called with the windows done and their total."""

NATS, TARGETS, OF = "nats", "targets", "/of"
"""Names of sums over a stream; a further figure's second sum ends in OF."""


@dataclass(frozen=True)
class Likelihood:
    """The result over a stream."""

    loss: float
    """Nats per predicted token."""
    bits_per_byte: float | None
    """None where not every token is predicted, as in a masked LM."""
    predicted: int
    """Tokens that were predicted."""
    tokens: int
    """Tokens of the stream."""
    text_bytes: int
    context: int
    stride: int
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    """What else the objective tells, such as the accuracy on pairs of sentences: means."""

    @property
    def perplexity(self) -> float | None:
        """exp(loss): as unsure as a fair choice among so many tokens. None where the loss is a sum
        of unlike parts, which the figures name."""
        if any(name.endswith("_loss") for name in self.figures):
            return None
        return math.exp(min(self.loss, 700.0))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {"loss": self.loss, "perplexity": self.perplexity} | asdict(self)
        del values["figures"]
        return values | self.figures


def likelihood(
    model: nn.Module,
    objective: Objective,
    stream: Stream,
    *,
    context: int,
    stride: int = 0,
    batch: int = 8,
    documents: bool = True,
    most: int = 0,
    progress: Progress | None = None,
) -> Likelihood:
    """Mean loss of `model` over `stream`, without dropout and without gradients.

    `stride` below `context` slides the window by so many tokens, so that each is predicted
    from at least context - stride tokens before it: slower, and the loss is lower. `documents`
    keeps them from seeing each other. `most` limits the windows to so many, spread evenly over
    the stream.
    Raises DataError where there is nothing to predict, NonFiniteError that says where.
    """
    if stride and not objective.covers:
        raise ConfigError("a stride is for models that predict every token")
    plan = few(planned(objective, stream, context, stride), most)
    started = time.perf_counter()
    total, done = sum(len(windows.begins) for windows in plan), 0
    sums = Counter[str]()
    with _evaluating(model):
        for windows in batched(plan, batch):
            sums.update(_score(model, objective, stream, windows, documents))
            done += len(windows.begins)
            if progress:
                progress(done, total)
    nats, predicted = sums.pop(NATS), int(sums.pop(TARGETS))
    if not predicted:
        raise DataError("no token of this text is a target: nothing to predict")
    mean = nats / predicted
    return Likelihood(
        loss=mean,
        bits_per_byte=mean * stream.tokens / max(1, stream.text_bytes) / math.log(2)
        if objective.covers
        else None,
        predicted=predicted,
        tokens=stream.tokens,
        text_bytes=stream.text_bytes,
        context=context,
        stride=stride or context,
        seconds=time.perf_counter() - started,
        figures=_means(sums),
    )


class Validation:
    """Likelihood of a fixed stream as a callable for the trainer; it can never end a run.

    A failure is reported and leaves the metrics of that evaluation out; Ctrl-C and the
    signals of the system pass through.
    """

    def __init__(
        self,
        objective: Objective,
        stream: Stream,
        *,
        context: int,
        batch: int = 8,
        documents: bool = True,
        most: int = 0,
    ) -> None:
        self._objective, self._stream = objective, stream
        self._options = (context, batch, documents, most)

    def measure(self, model: nn.Module) -> Likelihood:
        """The same without the safety net."""
        context, batch, documents, most = self._options
        return likelihood(
            model,
            self._objective,
            self._stream,
            context=context,
            batch=batch,
            documents=documents,
            most=most,
        )

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """validation_loss (nats per token), and where they are defined validation_bpb and
        validation_perplexity."""
        try:
            found = self.measure(model)
        except Exception as error:  # noqa: BLE001, whatever fails here must not cost the run
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            log.warn(f"evaluation failed, training goes on: {what}")
            return {}
        figures = {"validation_loss": found.loss}
        if found.perplexity is not None:
            figures["validation_perplexity"] = found.perplexity
        if found.bits_per_byte is not None:
            figures["validation_bpb"] = found.bits_per_byte
        return figures | {f"validation_{name}": mean for name, mean in found.figures.items()}


def _score(
    model: nn.Module, objective: Objective, stream: Stream, windows: Windows, documents: bool
) -> dict[str, float]:
    """Sums over one batch: nats, targets, and both numbers of each further figure."""
    device = next(model.parameters()).device
    batch = collated(objective, stream, windows, documents)
    loss = objective.loss(model, {name: tensor.to(device) for name, tensor in batch.items()})
    total = float(loss.total)
    if not math.isfinite(total):
        begins = windows.begins
        raise NonFiniteError(
            f"the loss is {total}",
            where=f"tokens {begins[0]} to {begins[-1] + windows.length + 1} of the stream",
            next_command="check the weights: ownlm doctor",
        )
    sums = {NATS: total, TARGETS: float(loss.count)}
    for name, (part, whole) in loss.metrics.items():
        sums |= {name: float(part), name + OF: float(whole)}
    return sums


def _means(sums: Mapping[str, float]) -> dict[str, float]:
    """Each sum divided by what it is a part of."""
    parts = [name for name in sums if not name.endswith(OF)]
    return {name: sums[name] / max(sums[name + OF], 1.0) for name in parts}


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; the mode is put back after a failure too."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
