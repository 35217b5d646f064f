"""Two ways to compute the same thing, compared: accumulation, packing, the cache, a saved folder.

Each check takes the parts it works on, so that a broken part can be put in and must be found.
Differences are relative: the norm of the difference over the norm of the plain way's result.
Run them on a `sharpened` model in float32: fresh weights are so small that attention is nearly
uniform and a wrong mask or position hardly shows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.data.encoded import EncodedExamples
from ownlm.data.loader import Examples
from ownlm.evaluation.finding import Finding, at_most
from ownlm.inference.language_model import LM, load
from ownlm.models.model import SingleStack
from ownlm.objectives.objective import IGNORE, Batch, Objective

TOLERANCE = 1e-4
"""Rounding in float32 gives about 1e-6; the faults looked for give 1e-2 and more."""

ROUNDING = 1e-6
"""Of the largest tensor: a smaller one is zero but for rounding."""

M = TypeVar("M", bound=nn.Module)

PADDING = 7
"""Tokens behind each row in the check of padding."""
NEUTRAL = {"targets": IGNORE, "pair_labels": IGNORE, "steps": -1}
"""What stands in a column where nothing is to be learned; elsewhere 0."""


def sharpened(model: M) -> M:
    """The model in evaluation mode with weights as large as in a trained one, in place.

    Matrices get a deviation of 1 / sqrt(inputs), gains and biases some noise, so that every
    part has a visible share in the result.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            if parameter.dim() > 1:
                parameter.copy_(noise * parameter.shape[-1] ** -0.5)
            else:
                parameter.add_(0.1 * noise)
    return model.eval()


def check_accumulation(
    model: nn.Module, objective: Objective, rows: Examples | EncodedExamples
) -> Finding:
    """Two micro-batches, summed, against all rows at once: loss and gradients of the mean.

    One holds a single row and the other the rest, so that a mean of means is found out.
    """
    whole = _mean(_gradients(model, objective, [rows]))
    parts = _mean(_gradients(model, objective, [rows[:1], rows[1:]]))
    return at_most(
        "accumulated gradients = full batch",
        difference(parts, whole),
        TOLERANCE,
        "relative difference",
        f"micro-batches of 1 and {len(rows) - 1} sequences against one of {len(rows)}",
    )


def check_packing(model: nn.Module, objective: Objective, rows: Examples) -> Finding:
    """Documents packed into one row against each of them alone: losses and gradients.

    What is corrupted follows from the row, so the documents of such objectives are taken from
    the batch, after that; those of others from the text.
    """
    assert rows.documents is not None, "rows of documents"
    batch = collated(objective, rows)
    if objective.covers:
        alone = [collated(objective, document) for document in _documents(rows)]
    else:
        alone = list(_sequences(batch))
    packed, separate = (learned(model, objective, batches) for batches in ([batch], alone))
    return at_most(
        "packed documents = separate documents",
        difference(packed, separate),
        TOLERANCE,
        "relative difference",
        f"{len(alone)} documents in {len(rows)} rows",
    )


def check_padding(model: nn.Module, objective: Objective, rows: Examples) -> Finding:
    """Rows with padding behind them against the same without: losses and gradients."""
    batch = collated(objective, rows)
    plain, padded = (learned(model, objective, [b]) for b in (batch, _padded(batch)))
    return at_most(
        "padded rows = unpadded rows",
        difference(padded, plain),
        TOLERANCE,
        "relative difference",
        f"{PADDING} tokens of padding behind {len(rows)} rows",
    )


def check_cache(model: SingleStack, ids: NDArray[np.int64]) -> Finding:
    """Logits of one pass over `ids` (N,) against a prefill, single tokens, and a chunk."""
    row = torch.from_numpy(ids)[None].to(model.device)
    half = len(ids) // 2
    sizes = [half, *[1] * min(8, len(ids) - half)]
    sizes += [len(ids) - sum(sizes)] if sum(sizes) < len(ids) else []
    cache = model.new_cache(1)
    with torch.no_grad():
        plain = model(row).logits
        parts = [model(part, cache=cache).logits for part in row.split(sizes, dim=1)]
    return at_most(
        "cached decoding = uncached",
        difference([torch.cat(parts, dim=1)], [plain]),
        TOLERANCE,
        "relative difference",
        f"logits of {len(ids)} tokens in {len(sizes)} pieces",
    )


def check_folder(lm: LM, ids: NDArray[np.int64], folder: Path) -> Finding:
    """Logits before and after saving and loading the folder; they must be equal bit for bit."""
    lm.save(folder)
    again = load(folder, device=lm.model.device)
    row = torch.from_numpy(ids)[None].to(lm.model.device)
    with torch.no_grad():
        before, after = lm.model(row).logits, again.model(row).logits
    name, unit = "saved model = loaded model", "largest difference of logits"
    if again.tokenizer.digest != lm.tokenizer.digest:
        return Finding(name, None, 0.0, unit, False, "the loaded tokenizer is another one")
    largest = float((before - after).abs().max())
    return at_most(
        name, largest, 0.0, unit, f"{_size(folder):,} bytes, opened as `ownlm.load` does"
    )


def _gradients(
    model: nn.Module, objective: Objective, batches: Sequence[Examples | EncodedExamples]
) -> list[Tensor]:
    """The same of examples."""
    return learned(model, objective, [collated(objective, examples) for examples in batches])


def collated(objective: Objective, examples: Examples | EncodedExamples) -> Batch:
    """A batch as it is in every run of the checks."""
    return objective.collate(examples, np.random.default_rng(0))


def learned(model: nn.Module, objective: Objective, batches: list[Batch]) -> list[Tensor]:
    """Loss sum, count, and the summed gradient of every parameter, over all batches."""
    device = next(model.parameters()).device
    model.zero_grad(set_to_none=True)
    total = torch.zeros((), dtype=torch.float64)
    count = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        loss = objective.loss(model, {name: tensor.to(device) for name, tensor in batch.items()})
        loss.total.backward()
        total, count = total + loss.total.detach().cpu(), count + loss.count.cpu()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return [total, count, *found]


def _mean(sums: list[Tensor]) -> list[Tensor]:
    total, count, *gradients = sums
    return [total / count, *(g / count.to(g) for g in gradients)]


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest relative difference among pairs of tensors; infinite when not a number.

    What is nothing but rounding is held against the largest tensor: the gradient of a bias that
    a softmax does not feel.
    """
    sizes = [float(b.double().norm()) for b in other]
    worst, largest = 0.0, max(sizes)
    for a, b, size in zip(one, other, sizes, strict=True):
        against = size if size > ROUNDING * largest else largest
        relative = float((a.double() - b.double()).norm()) / (against or 1.0)
        worst = max(worst, relative if np.isfinite(relative) else np.inf)
    return worst


def _documents(rows: Examples) -> Iterator[Examples]:
    """Each document as a row of its own, after the token before it: the end of the last one."""
    assert rows.documents is not None
    for tokens, documents in zip(rows.tokens, rows.documents, strict=True):
        for number in np.unique(documents[1:]):
            (targets,) = np.nonzero(documents[1:] == number)
            own = tokens[targets[0] : targets[-1] + 2]
            yield Examples(own[None], None, np.zeros(1, np.int64))


def _is_written(name: str, batch: Batch) -> bool:
    """Whether a column belongs to the decoder's side of an encoder-decoder."""
    return "decoder_inputs" in batch and (name.startswith("decoder_") or name == "targets")


def _sequences(batch: Batch) -> Iterator[Batch]:
    """Each numbered sequence of a batch as a row of its own."""
    for row in range(len(batch["inputs"])):
        read = batch["mask"][row]
        written = batch.get("decoder_mask", batch["mask"])[row]
        for number in read[read > 0].unique():
            here = {True: written == number, False: read == number}
            alone = {n: t[row, here[_is_written(n, batch)]][None] for n, t in batch.items()}
            yield {n: (t > 0).long() if n.endswith("mask") else t for n, t in alone.items()}


def _padded(batch: Batch) -> Batch:
    """PADDING more tokens in every column, which nobody may look at."""
    masks = {"mask": torch.ones_like(batch["inputs"])} if "mask" not in batch else {}
    return {
        name: F.pad(tensor, (0, PADDING), value=NEUTRAL.get(name, 0))
        for name, tensor in (batch | masks).items()
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
