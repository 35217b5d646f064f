"""How well a model predicts text: nats per token, perplexity, bits per byte.

Bits per byte compares models with different tokenizers, perplexity only those with the same.
The whole stream is read in windows of the model's context. A window ends where the next one
begins, so every token is predicted exactly once, except the first of the stream. The first of a
document is predicted from the end-of-text token before it, as generation without a prompt does.

    stream      a0 a1 a2 a3 <end> b0 b1 b2 ...          context 4, stride 4
    window 1    a0 a1 a2 a3                   predicts  a1 a2 a3 <end>
    window 2                <end> b0 b1 b2    predicts  b0 b1 b2 ...
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ownlm import log
from ownlm.errors import ConfigError, DataError, NonFiniteError
from ownlm.objectives.objective import IGNORE, Objective

Progress = Callable[[int, int], None]
"""Called with the windows done and their total."""


class Stream(Protocol):
    """Tokens of many documents, one after another, each followed by the end-of-text token.

    What `data.shards.TokenStream` offers, and `evaluation.text.TextStream` in memory.
    """

    @property
    def tokens(self) -> int:
        """Length."""

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the text."""

    def gather(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Tokens (len(begins), length)."""

    def documents(self, begins: NDArray[np.int64], length: int) -> NDArray[np.int32]:
        """The document of each token, counted from 1 within its window."""

    def heads(self, begins: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first token of the document that each place is in."""


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

    @property
    def perplexity(self) -> float:
        """exp(loss): as unsure as a fair choice among so many tokens."""
        return math.exp(min(self.loss, 700.0))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"loss": self.loss, "perplexity": self.perplexity} | asdict(self)


class Windows(NamedTuple):
    """Where to read: `begins` (W,), inputs a window, and targets to pass over at its start."""

    begins: NDArray[np.int64]
    length: int
    skipped: NDArray[np.int64]


class _Examples(NamedTuple):
    tokens: NDArray[np.int64]
    documents: NDArray[np.int32] | None
    sample_ids: NDArray[np.int64]
    partners: NDArray[np.int64] | None
    heads: NDArray[np.int64] | None


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
    plan = plan_windows(stream.tokens, context, stride or context)
    started, device = time.perf_counter(), next(model.parameters()).device
    parts = [_few(windows, most) for windows in plan] if most else plan
    total = sum(len(windows.begins) for windows in parts)
    nats, predicted, done = 0.0, 0, 0
    with _evaluating(model):
        for windows in _batches(parts, batch):
            loss, count = _score(model, objective, stream, windows, documents, device)
            nats, predicted, done = nats + loss, predicted + count, done + len(windows.begins)
            if progress:
                progress(done, total)
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
    )


def plan_windows(tokens: int, context: int, stride: int) -> list[Windows]:
    """Windows whose unskipped targets are tokens 1..tokens-1, each once; the last may be short.

    Raises ConfigError for a stride outside 1..context, DataError below two tokens.
    """
    if not 1 <= stride <= context:
        raise ConfigError(
            f"stride {stride} is not between 1 and the context, {context}",
            next_command=f"a stride of at most {context}, or 0 for the whole context",
        )
    if tokens < 2:
        raise DataError(
            f"a text of {tokens} tokens has nothing to predict",
            next_command="name more text; of prepared data --split train may hold some",
        )
    targets = tokens - 1
    full = max(0, (targets - context) // stride + 1)
    begins = np.arange(full, dtype=np.int64) * stride
    skipped = np.where(begins == 0, 0, context - stride).astype(np.int64)
    plan = [Windows(begins, context, skipped)] if full else []
    covered = (full - 1) * stride + context if full else 0
    if covered < targets:
        begin = full * stride
        rest = (np.array([n], dtype=np.int64) for n in (begin, covered - begin))
        plan.append(Windows(next(rest), targets - begin, next(rest)))
    return plan


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
        """validation_loss (nats per token), validation_bpb and validation_perplexity."""
        try:
            found = self.measure(model)
        except Exception as error:  # noqa: BLE001, whatever fails here must not cost the run
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            log.warn(f"evaluation failed, training goes on: {what}")
            return {}
        figures = {"validation_loss": found.loss, "validation_perplexity": found.perplexity}
        if found.bits_per_byte is not None:
            figures["validation_bpb"] = found.bits_per_byte
        return figures


def _score(
    model: nn.Module,
    objective: Objective,
    stream: Stream,
    windows: Windows,
    documents: bool,
    device: torch.device,
) -> tuple[float, int]:
    """Summed nats and number of targets of one batch."""
    begins, length = windows.begins, windows.length + 1
    numbers = stream.documents(begins, length) if documents else None
    partners = (
        stream.gather(_halfway(begins, length, stream), length) if objective.partners else None
    )
    tokens, heads = stream.gather(begins, length), stream.heads(begins)
    examples = _Examples(tokens, numbers, begins, partners, heads)
    batch = objective.collate(examples, np.random.default_rng(0))
    for row, skipped in enumerate(windows.skipped):
        if skipped:
            batch["targets"][row, : int(skipped)] = IGNORE
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    loss = objective.loss(model, batch)
    total = float(loss.total)
    if not math.isfinite(total):
        raise NonFiniteError(
            f"the loss is {total}",
            where=f"tokens {begins[0]} to {begins[-1] + length} of the stream",
            next_command="check the weights: ownlm doctor",
        )
    return total, int(loss.count)


def _halfway(begins: NDArray[np.int64], length: int, stream: Stream) -> NDArray[np.int64]:
    """For each window another one, half of the stream away."""
    return (begins + stream.tokens // 2) % (stream.tokens - length + 1)


def _batches(plan: list[Windows], batch: int) -> Iterator[Windows]:
    for begins, length, skipped in plan:
        for first in range(0, len(begins), batch):
            few = slice(first, first + batch)
            yield Windows(begins[few], length, skipped[few])


def _few(windows: Windows, most: int) -> Windows:
    count = len(windows.begins)
    if count <= most:
        return windows
    chosen = np.arange(most) * count // most
    return Windows(windows.begins[chosen], windows.length, windows.skipped[chosen])


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
