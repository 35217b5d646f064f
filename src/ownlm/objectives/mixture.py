"""Several tasks in one training (T5, Raffel et al. 2020, arXiv:1910.10683, sections 2.4 and 3.5.2).

Each task has its own corpus and objective; words before every source tell the model which one it
is asked for. A row is of one task, and tasks come in given shares, or by their sizes:

    share of task m   min(e_m, K)^(1/T) / sum over all      e_m windows, K the limit, T temperature
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.data.loader import Order, Windows
from ownlm.data.mixing import Chosen, Mixed, Numbered, Part, counts_of
from ownlm.data.shards import TokenStream
from ownlm.nn.head import Output
from ownlm.objectives.masked import Masked
from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss, Objective, Stream
from ownlm.objectives.rows import Ids
from ownlm.objectives.seq2seq import Seq2Seq

NEUTRAL = {"targets": IGNORE}
"""What fills a column where a row has nothing; elsewhere 0."""


class Task(NamedTuple):
    """One part of a mixture; its corpus is the part of the stream of the same number."""

    name: str
    objective: Objective
    weight: float = 0.0
    """Of all rows, relative to the others'; 0: by size."""


class OneRow(NamedTuple):
    """A window as its own objective gets it."""

    tokens: Ids
    documents: npt.NDArray[np.int32] | None
    sample_ids: Ids
    partners: None
    heads: Ids | None
    parts: None


class Mixture:
    """Rows of several tasks, each made by its own objective; cross entropy of all targets."""

    partners = False
    covers = False
    segments = 1

    def __init__(self, tasks: Sequence[Task], *, temperature: float = 1.0, limit: int = 0) -> None:
        """All tasks must be for one shape of model, and their losses plain cross entropy."""
        self.tasks, self.temperature, self.limit = tuple(tasks), temperature, limit
        self.whole = [isinstance(task.objective, Seq2Seq) for task in self.tasks]

    def window(self, context: int) -> int:
        """The longest that a task needs."""
        return max(task.objective.window(context) for task in self.tasks)

    def lengths(self, length: int) -> list[int]:
        """The window of each task, where the longest has `length` tokens."""
        context = next(c for c in range(length, 0, -1) if self.window(c) <= length or c == 1)
        return [min(length, task.objective.window(context)) for task in self.tasks]

    def reads(self, stream: Stream, context: int) -> int:
        """Tokens of text that a row is made from, on average over the tasks' shares."""
        lengths, sizes = self.lengths(self.window(context)), []
        for number, own in enumerate(lengths):
            part = Part(stream, number)
            begins = self.tasks[number].objective.begins(part, own)
            sizes.append(max(1, part.tokens // own if begins is None else len(begins)))
        return round(sum(s * own for s, own in zip(self.shares(sizes), lengths, strict=True)))

    def begins(self, stream: Stream, length: int) -> Ids:
        """All windows of all tasks, for an evaluation: each token is read once."""
        found = []
        for number, own in enumerate(self.lengths(length)):
            part = Part(stream, number)
            begins = self.tasks[number].objective.begins(part, own)
            found.append(part.first + (np.arange(0, part.tokens - 1, own) if begins is None
                                       else begins))  # fmt: skip
        return np.concatenate(found).astype(np.int64)

    def order(self, stream: TokenStream, length: int, seed: int) -> Mixed:
        """In training: each task's windows in an order of their own, drawn by the shares."""
        orders: list[Numbered] = []
        parts = [
            Part(stream, number, f"{stream.name} of {task.name}")
            for number, task in enumerate(self.tasks)
        ]
        for number, (part, own) in enumerate(zip(parts, self.lengths(length))):
            orders.append(windows_of(self.tasks[number].objective, part, own, seed + number))
        shares = self.shares([order.per_epoch for order in orders])
        return Mixed(orders, [part.first for part in parts], counts_of(shares), seed)

    def shares(self, sizes: Sequence[int]) -> list[float]:
        """How much of all rows each task gets, given their numbers of windows."""
        if any(task.weight for task in self.tasks):
            wanted = [task.weight for task in self.tasks]
        else:
            limited = [min(size, self.limit) if self.limit else size for size in sizes]
            wanted = [size ** (1 / self.temperature) for size in limited]
        return [weight / sum(wanted) for weight in wanted]

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """The columns of the tasks' own batches, padded to the longest, and `tasks` (B, T)."""
        assert examples.parts is not None, "rows of a mixture know where they come from"
        base, lengths = int(rng.integers(1 << 62)), self.lengths(examples.tokens.shape[1] - 1)
        rows = []
        for row, number in enumerate(examples.parts.tolist()):
            objective = self.tasks[number].objective
            own = one_row(examples, row, lengths[number] + 1)
            if not self.whole[number]:
                own = shortened(own)
            made = objective.collate(own, np.random.default_rng((base, number)))
            rows.append(made | {"tasks": torch.full_like(made["inputs"], number)})
        return side_by_side(rows)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of all targets, and those of each task for the log."""
        output, numbers = written(model, batch), batch["tasks"][:, 0]
        total, count, metrics = torch.zeros((), device=numbers.device), numbers.new_zeros(()), {}
        for number, task in enumerate(self.tasks):
            own = numbers == number
            part = output._replace(features=output.features[own])
            nats, targets = part.cross_entropy(batch["targets"][own], ignore=IGNORE)
            metrics[f"loss_{task.name}"] = torch.stack((nats.detach(), targets.float()))
            total, count = total + nats, count + targets
        if output.balance is not None:
            total = total + output.balance * count
        return Loss(total, count, metrics)


def written(model: nn.Module, batch: Batch) -> Output:
    """What a model of any shape makes of a batch."""
    if "decoder_inputs" in batch:
        sides = ("inputs", "decoder_inputs", "mask", "decoder_mask")
        made: Output = model(*(batch[name] for name in sides))
    else:
        seen = {name: batch[name] for name in ("mask", "types", "prefix") if name in batch}
        made = model(batch["inputs"], **seen)
    return made


def one_row(examples: Examples, row: int, length: int) -> OneRow:
    """Row `row` cut to its task's window."""
    tokens, numbers, heads = examples.tokens[row : row + 1], examples.documents, examples.heads
    return OneRow(
        tokens[:, :length],
        None if numbers is None else numbers[row : row + 1, :length],
        examples.sample_ids[row : row + 1],
        None,
        None if heads is None else heads[row : row + 1],
        None,
    )


def shortened(row: OneRow) -> OneRow:
    """The same without what lies beyond the end of the corpus."""
    real = int((row.tokens >= 0).sum())
    numbers = None if row.documents is None else row.documents[:, :real]
    return row._replace(tokens=row.tokens[:, :real], documents=numbers)


def side_by_side(rows: Sequence[Batch]) -> Batch:
    """Batches of one row each as one, padded at the end; a column that a row lacks is neutral."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _column(name, rows) for name in names}


def _column(name: str, rows: Sequence[Batch]) -> Tensor:
    width = max(row[name].shape[1] for row in rows if name in row)
    empty = next(row[name] for row in rows if name in row)[:, :0]
    fill = NEUTRAL.get(name, 0)
    columns = (row.get(name, empty) for row in rows)
    return torch.cat([F.pad(c, (0, width - c.shape[1]), value=fill) for c in columns])


def order(objective: Objective, stream: TokenStream, length: int, seed: int) -> Order:
    """Where training windows begin."""
    if isinstance(objective, Mixture):
        return objective.order(stream, length, seed)
    return windows_of(objective, stream, length, seed)


def windows_of(
    objective: Objective, part: Part | TokenStream, length: int, seed: int
) -> Chosen | Windows:
    """Windows of one corpus: where the objective wants them, else anywhere. What is hidden once
    for all (`Masked` that is not dynamic) is so by its window, which therefore stays."""
    begins = objective.begins(part, length)
    if begins is not None:
        return Chosen(begins, seed)
    still = isinstance(objective, Masked) and not objective.dynamic
    return Windows(part, length, seed, still=still)
