"""What the training benchmarks train: shapes, their batches, and the operations of an update.

A batch is made by ownlm's own objectives; the peers get the same tensors, made beforehand.
"""

import gzip
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

IGNORE = -100
SEED = 1337
BATCHES = 16
"""Different batches of a shape, used in turn."""


@dataclass(frozen=True)
class Shape:
    """A model and its batch; a line in the table below."""

    kind: Literal["causal", "masked", "pair"]
    """Next token; masked language model; encoder-decoder."""
    layers: int
    dim: int
    heads: int
    vocab: int
    context: int
    """Tokens of a sequence, at most; of each side where there are two."""
    batch: int
    real: bool = False
    """Sequences have the lengths of lines of a text, else all the whole context."""

    @property
    def block(self) -> int:
        """Weights of a block's matrices."""
        return 12 * self.dim**2

    @property
    def cross(self) -> int:
        """Weights of cross attention: queries and output, as many for keys and values."""
        return 4 * self.dim**2 if self.kind == "pair" else 0

    @property
    def parameters(self) -> int:
        """Matrices of the blocks and the token table, which is also the head."""
        sides = 2 if self.kind == "pair" else 1
        return self.layers * (sides * self.block + self.cross) + self.vocab * self.dim

    def operations(self, lengths: np.ndarray, targets: int) -> float:
        """Multiplications and additions of an update on sequences of these lengths: two a weight
        forward, four backward; attention by what is read (half where later tokens are not)."""
        tokens, pairs = int(lengths.sum()), int((lengths**2).sum())
        parts = {"causal": 0.5, "masked": 1.0, "pair": 2.5}  # encoder, decoder, cross
        sides = 2 if self.kind == "pair" else 1
        linear = 6 * (sides * self.block + self.cross) * tokens
        attention = 12 * self.dim * pairs * parts[self.kind]
        return self.layers * (linear + attention) + 6 * self.vocab * self.dim * targets


# fmt: off
SHAPES = {
    "tiny":      Shape("causal",  4, 128,  4,     65,   64, 12),
    "mini":      Shape("causal",  6, 384,  6,     65,  256, 64),
    "gpt2":      Shape("causal", 12, 768, 12, 50_257, 1024,  1),
    "gpt2x4":    Shape("causal", 12, 768, 12, 50_257, 1024,  4),
    "bert-tiny": Shape("masked",  2, 128,  2, 30_522,  128,  8),
    "bert-base": Shape("masked", 12, 768, 12, 30_522,  128,  8),
    "bert-real": Shape("masked", 12, 768, 12, 30_522,  128, 32, real=True),
    "t5-tiny":   Shape("pair",    2, 128,  2, 32_128,   64,  2),
    "t5-small":  Shape("pair",    6, 512,  8, 32_128,  128,  8),
}
# fmt: on

PAD, BEGIN, END, MASK = 0, 101, 102, 103
"""BERT's ids."""


class Work:
    """The batches of a shape, the same for whoever asks with the same arguments."""

    def __init__(self, shape: Shape, text: str, tokenizer: str, sort: bool, count: int = BATCHES):
        self.shape, self.count, self.sort = shape, count, sort
        self.text, self.tokenizer = text, tokenizer

    @cached_property
    def sequences(self) -> list[list[np.ndarray]]:
        """`count` batches of token ids, (length,) each."""
        s, rng = self.shape, np.random.default_rng(SEED)
        drawn = [rng.integers(1000 if s.kind == "masked" else 1, s.vocab, size) for size in
                 self.lengths(rng)]  # fmt: skip
        return [drawn[at : at + s.batch] for at in range(0, len(drawn), s.batch)]

    def lengths(self, rng: np.random.Generator) -> np.ndarray:
        """Text tokens of every sequence; sorted: each batch has sequences of like length."""
        s, wanted = self.shape, self.count * self.shape.batch
        marks = 2 if s.kind == "masked" else -1  # begin and end; a causal text has a last target
        if not s.real:
            full = s.context * 2 if s.kind == "pair" else s.context - marks
            return np.full(wanted, full)
        found = rng.permutation(text_lengths(Path(self.text), self.tokenizer))[:wanted]
        found = np.minimum(found, s.context - marks)
        if not self.sort:
            return found
        batches = np.sort(found).reshape(self.count, s.batch)
        return rng.permutation(batches).ravel()

    @cached_property
    def figures(self) -> dict[str, float]:
        """Means over the batches: real tokens and operations of an update."""
        s, tokens, operations = self.shape, [], []
        for batch in self.sequences:
            marks = {"causal": -1, "masked": 2, "pair": 0}[s.kind]
            sizes = np.array([len(x) + marks for x in batch])
            if s.kind == "pair":
                sizes = sizes // 2
            hidden = sum(round(0.15 * len(x)) for x in batch)
            tokens.append(sizes.sum())
            operations.append(s.operations(sizes, hidden if s.kind == "masked" else tokens[-1]))
        return {"tokens": float(np.mean(tokens)), "operations": float(np.mean(operations))}

    def padded(self, multiple: int = 1) -> Iterator[dict[str, np.ndarray]]:
        """For the peers, without end: one sequence a row, padded to the longest of the batch (or
        to the next multiple, so that few lengths need compiling)."""
        rng = np.random.default_rng(SEED)
        objective, made = self.objective(), []
        for number, batch in enumerate(self.sequences):
            longest = max(map(len, batch)) + (3 if self.shape.kind == "masked" else 0)
            if self.shape.real:
                longest = -(-(longest - 1) // multiple) * multiple + 1
            rows = [np.pad(x, (0, longest - len(x)), constant_values=PAD) for x in batch]
            made.append(objective.collate(_examples(rows, number), rng))
        return itertools.cycle(made)

    def packed(self) -> Iterator[Any]:
        """For ownlm, without end: as it packs documents; rows hold one sequence where all have the
        same length, else all stand in one."""
        made = []
        for number, batch in enumerate(self.sequences):
            if not self.shape.real:
                tail = [PAD] * 3 if self.shape.kind == "masked" else []
                made.append(_examples([np.append(x, tail).astype(np.int64) for x in batch], number))
                continue
            room = sum(len(x) + 2 for x in batch) + 1
            row = np.concatenate(batch)
            owners = np.repeat(np.arange(1, len(batch) + 1), [len(x) for x in batch])
            fill = (0, room - len(row))
            documents = np.pad(owners, fill, mode="edge").astype(np.int32)
            made.append(_examples([np.pad(row, fill)], number, documents[None]))
        return itertools.cycle(made)

    def objective(self) -> Any:
        """What ownlm learns from the batches."""
        if self.shape.kind == "causal":
            from ownlm.objectives.causal import Causal

            return Causal()
        return _masked(self.shape.vocab) if self.shape.kind == "masked" else _pair()


def text_lengths(path: Path, tokenizer: str) -> np.ndarray:
    """Tokens of each line that is not empty; of a table the last column."""
    from ownlm.tokenization.load import load_tokenizer

    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [line.rsplit("\t", 1)[-1].strip() for line in data.decode().splitlines()]
    ids = load_tokenizer(Path(tokenizer)).encode_batch([line for line in lines if line])
    return np.array([len(x) for x in ids if x])


def _examples(rows: list[np.ndarray], number: int, documents: np.ndarray | None = None) -> Any:
    from ownlm.data.loader import Examples

    begins = np.arange(len(rows), dtype=np.int64) + 1000 * number
    return Examples(np.stack(rows), documents, begins)


def _masked(vocab: int) -> Any:
    from ownlm.objectives.masked import Masked
    from ownlm.objectives.vocabulary import Vocabulary

    control = {"pad": PAD, "begin": BEGIN, "end": END, "mask": MASK}
    flags = np.zeros(vocab, np.bool_)
    flags[list(control.values())] = True
    facts = Vocabulary(vocab, control, control, (), np.flatnonzero(~flags), ~flags, flags, flags)
    return Masked(facts)


def _pair() -> Any:
    from ownlm.objectives.two_sided import TwoSided

    class Pair(TwoSided):
        """The first half of a row is read, the second written."""

        def __init__(self) -> None:
            self.start = PAD

        def lengths(self, tokens: int) -> tuple[int, int]:
            return tokens // 2, tokens // 2

        def row(self, window: Any) -> dict[str, Any]:
            source, target = np.split(window.tokens, 2)
            ones, begun = np.ones_like(source), np.append(self.start, target[:-1])
            return {"inputs": source, "mask": ones, "decoder_inputs": begun,
                    "decoder_mask": ones, "targets": target}  # fmt: skip

    return Pair()
