"""ELECTRA's part of learning.py: what a pretrained encoder's features are worth, at equal FLOPs.

A probe is a logistic regression on frozen features: the mean of the last hidden states over the
tokens of a text. Half of the labelled texts fit it, the other half judge it.
"""

import csv
import hashlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.models.load import load_any
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer

LONGEST, BATCH = 128, 64


def probe(folder: Path, texts: Path, steps: int = 60) -> float:
    """Accuracy on the half of the texts that the regression has not seen."""
    words, labels = labelled(texts)
    features = pooled(folder, words)
    seen = torch.tensor([hashlib.sha256(w.encode()).digest()[0] % 2 == 0 for w in words])
    mean, spread = features[seen].mean(0), features[seen].std(0) + 1e-6
    features = (features - mean) / spread
    classes = int(labels.max()) + 1
    linear = torch.nn.Linear(features.shape[1], classes)
    torch.nn.init.zeros_(linear.weight)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=steps)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(linear(features[seen]), labels[seen])
        loss = loss + 1e-3 * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        right = linear(features[~seen]).argmax(-1) == labels[~seen]
    return float(right.float().mean())


def pooled(folder: Path, words: list[str]) -> Tensor:
    """Mean hidden states, (texts, D)."""
    model, _ = load_any(folder, torch.device("cpu"), torch.float32)
    tokenizer, rows = load_tokenizer(folder), list[Tensor]()
    ids = [sequence(tokenizer, ids) for ids in tokenizer.encode_batch(words)]
    model.eval()
    with torch.no_grad():
        for first in range(0, len(ids), BATCH):
            part = [torch.tensor(row) for row in ids[first : first + BATCH]]
            inputs = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence(
                [torch.ones_like(row) for row in part], batch_first=True
            )
            hidden = model(inputs, mask=mask).hidden
            rows.append((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
    return torch.cat(rows)


def sequence(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    """[CLS] text [SEP], shortened to what the models have positions for."""
    special = tokenizer.special
    return [special["[CLS]"], *ids[: LONGEST - 2], special["[SEP]"]]


def labelled(path: Path) -> tuple[list[str], Tensor]:
    """Texts and classes: a table with a label and a text a row, or a folder of a file a class."""
    if path.is_dir():
        files = sorted(path.iterdir())
        pairs = [(f.stem, line) for f in files for line in f.read_text("utf-8").splitlines()]
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            plain = path.suffix == ".tsv"  # where quotation marks are text
            rows = (
                [r.rstrip("\n").split("\t", 1) for r in file] if plain else list(csv.reader(file))
            )
        pairs = [(row[0], row[1]) for row in rows if len(row) == 2]
    names = sorted({label for label, text in pairs if text.strip()})
    kept = [(names.index(label), text) for label, text in pairs if text.strip()]
    return [text for _, text in kept], torch.tensor([label for label, _ in kept])
