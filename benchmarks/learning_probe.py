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

from ownlm.models.config import ModelConfig
from ownlm.models.generator import build_pair
from ownlm.models.load import build_any, load_any
from ownlm.recipes.named import recipe
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer

HIDDEN = 0.15
"""Share of the tokens for which a vocabulary's logits are needed."""
LONGEST, BATCH = 128, 64


def flops_per_token(name: str, vocab: int = 0) -> float:
    """Of training a family's tiny recipe with so many ids (0: its own): 6 a weight and token,
    tables that are looked up aside.

    Logits are computed for hidden tokens alone; ELECTRA's generator computes them once more, to
    draw from them. Attention's products, alike in both, are left out.
    """
    run = recipe(f"{name}-tiny")
    config = run.model.model_copy(update={"vocab": vocab or run.tokenizer.vocab_size})
    if name == "electra":
        pair = build_pair(config, seed=0)
        return weights(pair.model) + weights(pair.generator) + head(config, HIDDEN * 4 / 3)
    return weights(build_any(config, seed=0)) + head(config, HIDDEN)


def weights(model: torch.nn.Module) -> float:
    """FLOPs a token of the matrices that every token passes."""
    return 6.0 * sum(
        p.numel() for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n
    )


def head(config: ModelConfig, share: float) -> float:
    """FLOPs a token of the output matrix, which is the token table."""
    return 6.0 * share * config.dim * config.vocab


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
