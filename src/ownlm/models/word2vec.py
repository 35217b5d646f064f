"""word2vec (Mikolov et al. 2013, arXiv:1301.3781 and 1310.4546): a vector for every token.

Skip-gram with negative sampling: the vector of a token is to tell its neighbours from tokens
drawn at random. It reads no order and writes no text; its vectors are what a Transformer's
token table is compared with.

    ... the quick brown [fox] jumps over the ...     centre fox, window 2
        pairs      fox brown, fox quick, fox jumps, fox over
        negatives  for each pair `negatives` tokens, drawn as often as count^0.75 says

Shapes: N pairs, K negatives, V vocabulary, D width.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ownlm.errors import CheckpointError, DataError
from ownlm.files import write_json
from ownlm.models.config import Word2VecConfig
from ownlm.models.hf_config import Reader, read_config

Ids = NDArray[np.int64]
CHUNK, TABLE = 1 << 14, 1 << 20
"""Tokens whose pairs are made and shuffled together; entries of the table of negatives."""


class Pairs(NamedTuple):
    """What one step learns from."""

    centres_N: Tensor
    contexts_N: Tensor
    drawn_NK: Tensor


class WordVectors:
    """A trained table; tokens are ids."""

    def __init__(self, table_VD: Tensor, config: dict[str, Any] | None = None) -> None:
        self.table, self.config = table_VD, config or {}
        self.directions = F.normalize(table_VD, dim=-1)

    def nearest(self, token: int, count: int = 10) -> list[tuple[int, float]]:
        """The tokens whose vectors point the same way, and the cosine of each, best first."""
        return self._best(self.directions[token], count, {token})

    def analogy(self, a: int, b: int, c: int, count: int = 10) -> list[tuple[int, float]]:
        """What is to c as b is to a: nearest to b - a + c, none of the three (2013a, section 4)."""
        wanted = self.directions[b] - self.directions[a] + self.directions[c]
        return self._best(F.normalize(wanted, dim=-1), count, {a, b, c})

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"vectors.weight": self.table.contiguous()}, folder / "model.safetensors")
        vocab, dim = self.table.shape
        shape = {"model_type": "word2vec", "vocab_size": vocab, "hidden_size": dim}
        write_json(folder / "config.json", shape | {"training": self.config})

    @classmethod
    def load(cls, folder: Path) -> "WordVectors":
        """Read them again; CheckpointError when the folder holds something else."""
        values = read_config(folder)
        h = Reader(values, str(folder / "config.json"))
        h.choice("model_type", {"word2vec": True})
        shape = (h.integer("vocab_size", "vocabulary"), h.integer("hidden_size", "width"))
        tensors = load_file(folder / "model.safetensors")
        if set(tensors) != {"vectors.weight"} or tensors["vectors.weight"].shape != shape:
            raise CheckpointError(
                f"expected one tensor vectors.weight of shape {list(shape)}",
                where=str(folder / "model.safetensors"),
            )
        return cls(tensors["vectors.weight"], values.get("training"))

    def _best(self, direction_D: Tensor, count: int, without: set[int]) -> list[tuple[int, float]]:
        cosines_V = self.directions @ direction_D
        cosines_V[list(without)] = -torch.inf
        values, ids = cosines_V.topk(min(count, len(cosines_V) - len(without)))
        return list(zip(ids.tolist(), values.tolist(), strict=True))


def train_word2vec(
    ids: Ids, vocab: int, config: Word2VecConfig, separator: int | None = None
) -> WordVectors:
    """Vectors (V, D) of all tokens of a text; ids equal to `separator` end a document.

    The rate falls in a straight line to a ten-thousandth over all epochs, and the same
    configuration gives the same vectors. DataError for a text without two tokens.
    """
    rng, c = np.random.default_rng(config.seed), config
    documents = np.zeros(len(ids), np.int64) if separator is None else (ids == separator).cumsum()
    kept = ids != (-1 if separator is None else separator)
    ids, documents = np.asarray(ids, np.int64)[kept], documents[kept]
    if len(ids) < 2:
        raise DataError(f"a text of {len(ids)} tokens has no neighbours to learn from")
    counts = np.bincount(ids, minlength=vocab)
    noise, keep = noise_table(counts), keep_probability(counts, c.subsample)
    start = rng.random((vocab, c.dim), dtype=np.float32)
    vectors, outputs = torch.from_numpy((start - 0.5) / c.dim), torch.zeros(vocab, c.dim)
    for epoch in range(c.epochs):
        here = rng.random(len(ids)) < keep[ids]
        text, document = ids[here], documents[here]
        for begin in range(0, len(text), CHUNK):
            progress = (epoch + begin / len(text)) / c.epochs
            pairs = window_pairs(text, document, begin, begin + CHUNK, c.window, rng)
            for centres, contexts in batches(*pairs, c.batch, rng):
                drawn = noise[rng.integers(len(noise), size=(len(centres), c.negatives))]
                batch = Pairs(*(torch.from_numpy(x) for x in (centres, contexts, drawn)))
                update(vectors, outputs, batch, c.rate * max(1e-4, 1 - progress))
    return WordVectors(vectors, c.model_dump(mode="json"))


def noise_table(counts_V: Ids) -> Ids:
    """Tokens as often as they are to be drawn: count to the power of 3/4 (2013b, 2.2)."""
    weights = counts_V.astype(np.float64) ** 0.75
    entries = (TABLE * weights / weights.sum()).round().astype(np.int64)
    return np.repeat(np.arange(len(counts_V)), np.maximum(entries, counts_V > 0))


def keep_probability(counts_V: Ids, threshold: float) -> NDArray[np.float64]:
    """The share of each token's occurrences that stays: sqrt(t / f), at most 1 (2013b, 2.3)."""
    if not threshold:
        return np.ones(len(counts_V))
    frequency = np.maximum(counts_V, 1) / counts_V.sum()
    share: NDArray[np.float64] = np.minimum(1.0, np.sqrt(threshold / frequency))
    return share


def window_pairs(
    text: Ids, documents: Ids, begin: int, end: int, window: int, rng: np.random.Generator
) -> tuple[Ids, Ids]:
    """(centre, context) of the centres at `begin` to `end`: each looks 1 to `window` far.

    How far is drawn for each centre, so that nearer tokens count more; no pair leaves its
    document.
    """
    centres = np.arange(begin, min(end, len(text)))
    reach = rng.integers(1, window + 1, len(centres))
    offsets = np.concatenate((np.arange(-window, 0), np.arange(1, window + 1)))
    places = centres[:, None] + offsets
    seen = (np.abs(offsets) <= reach[:, None]) & (places >= 0) & (places < len(text))
    places = places.clip(0, len(text) - 1)
    seen &= documents[places] == documents[centres][:, None]
    row, _ = seen.nonzero()
    return text[centres[row]], text[places[seen]]


def batches(
    centres: Ids, contexts: Ids, size: int, rng: np.random.Generator
) -> Iterator[tuple[Ids, Ids]]:
    """The pairs in random order, `size` at a time."""
    order = rng.permutation(len(centres))
    for begin in range(0, len(order), size):
        few = order[begin : begin + size]
        yield centres[few], contexts[few]


def update(vectors_VD: Tensor, outputs_VD: Tensor, batch: Pairs, rate: float) -> None:
    """One step of gradient descent on the summed loss of the pairs, in place.

    The loss of a pair is -log s(u v) - sum over the drawn of log s(-u v) (2013b, eq. 4), with s
    the logistic function; a drawn token that is the context itself does not count.
    """
    centres_N, contexts_N, drawn_NK = batch
    targets_NM = torch.cat((contexts_N[:, None], drawn_NK), dim=1)
    v_ND, u_NMD = F.embedding(centres_N, vectors_VD), F.embedding(targets_NM, outputs_VD)
    wrong_NM = torch.sigmoid((u_NMD @ v_ND[..., None])[..., 0])
    wrong_NM[:, 0] -= 1.0
    wrong_NM[:, 1:].masked_fill_(drawn_NK == contexts_N[:, None], 0.0)
    by_v_ND = (wrong_NM[:, None] @ u_NMD)[:, 0]
    by_u_NMD = wrong_NM[..., None] * v_ND[:, None]
    vectors_VD.index_add_(0, centres_N, by_v_ND, alpha=-rate)
    outputs_VD.index_add_(0, targets_NM.flatten(), by_u_NMD.flatten(0, 1), alpha=-rate)
