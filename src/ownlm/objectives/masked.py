"""Masked language modelling: some tokens are hidden, the model says what they were.

text      the    cat   sat   on    the   mat
inputs    [CLS]  the   [MASK] sat  on    dog   mat   [SEP]
targets   ----   ----  cat   ----  ----  the   ----  ----      ---- is not learned

BERT (Devlin et al. 2019, arXiv:1810.04805) also asks whether a second segment follows the first
(next sentence), ALBERT (Lan et al. 2020, arXiv:1909.11942) whether two neighbours stand in their
order (sentence order); RoBERTa (Liu et al. 2019, arXiv:1907.11692) asks neither and draws the
hidden tokens anew in every epoch. Sequences of one row are packed and do not see each other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.nn.head import Output
from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss, Stream
from ownlm.objectives.rows import Filler, Ids, Row, Window, batch_of, windows
from ownlm.objectives.vocabulary import Vocabulary

Unit = Literal["token", "word", "chinese"]
Pairs = Literal["none", "next", "order"]

SHORTEST_PAIR = 8
"""Tokens that a stretch of text needs to be cut into two segments."""

FOLLOWS, OTHER = 0, 1
"""Labels of a pair as BERT has them: 1 is another text, or the two swapped."""


@dataclass(frozen=True)
class Corruption:
    """How tokens are hidden."""

    rate: float = 0.15
    """Share of the text's tokens that is to be said."""
    masked: float = 0.8
    """Share of those that show the mask token."""
    random: float = 0.1
    """Share of those that show some other token; the rest stay as they are."""
    unit: Unit = "token"
    """What is hidden at once; "chinese": words that a segmenter finds in Chinese text."""


class Masked:
    """Cross entropy of hidden tokens, and of the question about pairs of segments."""

    covers = False

    def __init__(
        self,
        vocab: Vocabulary,
        corruption: Corruption = Corruption(),
        *,
        pairs: Pairs = "none",
        dynamic: bool = True,
        words: Callable[[Ids], Ids] | None = None,
    ) -> None:
        """`dynamic` False hides the same tokens in every epoch. `words` numbers the words of
        some tokens, for unit "chinese". ConfigError when the tokenizer lacks a control token."""
        self.vocab, self.corruption, self.pairs, self.dynamic = vocab, corruption, pairs, dynamic
        self.begin, self.end, self.pad, self.mask = map(vocab.need, ("begin", "end", "pad", "mask"))
        self.words = words or self._numbered

    def begins(self, stream: Stream, length: int) -> None:
        """Anywhere."""

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs, mask, types, targets (B, T); with pairs pair_labels and pair_weights at the
        first token of each sequence."""
        return batch_of([self.row(w) for w in windows(examples, rng if self.dynamic else None)])

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of hidden tokens; the pairs' share is as if both were averaged and added."""
        output = model(batch["inputs"], mask=batch["mask"], types=batch["types"])
        hidden, targets = asked(output, batch["targets"])
        total, count = hidden.cross_entropy(targets, ignore=IGNORE)
        metrics = {} if model.training else {"masked_accuracy": guessed(hidden, targets)}
        if "pair_labels" not in batch:
            return Loss(total, count, metrics)
        at = batch["pair_labels"] != IGNORE
        answers = model.task(output.hidden[at][:, None]).logits  # type: ignore[operator]
        labels, weights = batch["pair_labels"][at], batch["pair_weights"][at]
        nats = F.cross_entropy(answers.float(), labels, reduction="none")
        pairs = torch.tensor(float(len(labels)), device=nats.device)
        right = (answers.argmax(-1) == labels).sum().float()
        metrics |= {
            "masked_loss": torch.stack((total.detach(), count.float())),
            "pair_loss": torch.stack((nats.detach().sum(), pairs)),
            "pair_accuracy": torch.stack((right, pairs)),
        }
        return Loss(total + (nats * weights).sum(), count, metrics)

    def row(self, window: Window) -> Row:
        """One row: the sequences of a window, packed, some of their tokens hidden."""
        length = len(window.tokens) - 1
        extra = {"types": 0} | ({"pair_labels": IGNORE, "pair_weights": 0.0} if self.asks else {})
        filler = Filler(length, self.pad, **extra)
        make = self.pair_sequences if self.asks else self.sequences
        for segments, label in make(window):
            room = filler.room - len(segments) - 1
            if room < len(segments):
                break
            self.add(filler, cut(segments, room), label, window.rng)
        return filler.row

    def window(self, context: int) -> int:
        """The marks of a sequence take room that the last words of the window give up."""
        return context

    @property
    def partners(self) -> bool:
        """Half of the second segments come from elsewhere."""
        return self.pairs == "next"

    @property
    def asks(self) -> bool:
        """Whether segments come in pairs."""
        return self.pairs != "none"

    def add(
        self, filler: Filler, segments: list[Ids], label: int, rng: np.random.Generator
    ) -> None:
        """Append [begin] A [end], or [begin] A [end] B [end], corrupted."""
        parts = [np.append(segment, self.end) for segment in segments]
        tokens = np.concatenate([[self.begin], *parts])
        inputs, targets = self.corrupt(tokens, rng)
        columns: dict[str, Ids] = {"inputs": inputs, "targets": targets}
        columns["types"] = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        columns["types"] = np.concatenate([[0], columns["types"]])
        if not self.asks:
            filler.add(**columns)
            return
        first = np.arange(len(tokens)) == 0
        labels = np.where(first, label, IGNORE)
        # Weighed by its hidden tokens, a pair counts in the mean as it would in a mean of pairs.
        weights = np.where(first, (targets != IGNORE).sum(), 0.0)
        filler.add(**columns, pair_labels=labels, pair_weights=weights)

    def corrupt(self, tokens: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """(inputs, targets): whole units are drawn until `rate` of the text is reached."""
        c, text = self.corruption, np.flatnonzero(~self.vocab.is_control[tokens])
        inputs, targets = tokens.copy(), np.full(len(tokens), IGNORE, np.int64)
        if not len(text):
            return inputs, targets
        wanted = max(1, round(c.rate * len(text)))
        hidden = text[self.drawn(tokens[text], wanted, rng)]
        targets[hidden] = tokens[hidden]
        dice = rng.random(len(hidden))
        inputs[hidden[dice < c.masked]] = self.mask
        swapped = hidden[(dice >= c.masked) & (dice < c.masked + c.random)]
        inputs[swapped] = rng.choice(self.vocab.ordinary, len(swapped))
        return inputs, targets

    def drawn(self, text: Ids, wanted: int, rng: np.random.Generator) -> Ids:
        """Places of about `wanted` tokens, whole units at a time."""
        unit = self.corruption.unit
        numbers = {"token": _each, "word": self._numbered, "chinese": self.words}[unit](text)
        order: Ids = rng.permutation(int(numbers.max()) + 1)
        sizes = np.bincount(numbers)[order]
        before = np.cumsum(sizes) - sizes
        chosen = order[(before + sizes <= wanted) | (before == 0)]
        places: Ids = np.flatnonzero(np.isin(numbers, chosen))
        return places

    def _numbered(self, text: Ids) -> Ids:
        numbers: Ids = np.cumsum(self.vocab.begins_word[text])
        return np.asarray(numbers - numbers[0], np.int64)

    def sequences(self, window: Window) -> Iterator[tuple[list[Ids], int]]:
        """The documents of a window, each one segment."""
        for piece in window.pieces():
            if len(text := self.text(piece)):
                yield [text], IGNORE

    def pair_sequences(self, window: Window) -> Iterator[tuple[list[Ids], int]]:
        """Documents cut into two segments at the end of a sentence, and the label.

        Half of the pairs are true. Of the others the second segment comes from elsewhere (next)
        or both are swapped (order); in the first case what was not used comes next, as in BERT.
        """
        for piece in window.pieces():
            text = self.text(piece)
            while len(text) >= SHORTEST_PAIR:
                at = self.middle(text, window.rng)
                one, two, text = text[:at], text[at:], text[:0]
                if window.rng.random() < 0.5:
                    yield [one, two], FOLLOWS
                elif self.pairs == "order":
                    yield [two, one], OTHER
                else:
                    yield [one, self.elsewhere(window, len(two))], OTHER
                    text = two

    def middle(self, text: Ids, rng: np.random.Generator) -> int:
        """Where to cut: after a sentence, or anywhere in the middle half where none ends."""
        quarter = len(text) // 4
        ends = np.flatnonzero(self.vocab.ends_sentence[text[quarter : 3 * quarter]]) + quarter + 1
        places = ends if len(ends) else np.arange(quarter, 3 * quarter) + 1
        return int(rng.choice(places))

    def elsewhere(self, window: Window, size: int) -> Ids:
        """As many tokens of the partner window, from a sentence's beginning where there is one."""
        assert window.partner is not None, "the loader gives partners when pairs are asked for"
        text = self.text(window.partner)
        spare = max(0, len(text) - size)
        starts = np.flatnonzero(self.vocab.ends_sentence[text[:spare]]) + 1
        start = int(window.rng.choice(starts)) if len(starts) else 0
        return text[start : start + size]

    def text(self, piece: Ids) -> Ids:
        """A piece without control tokens, such as the end of its document."""
        return piece[~self.vocab.is_control[piece]]


def asked(output: Output, targets_BT: Tensor) -> tuple[Output, Tensor]:
    """The hidden tokens alone, (N,): logits of the others, six in seven, are never computed."""
    at = targets_BT != IGNORE
    return output._replace(features=output.features[at]), targets_BT[at]


def guessed(output: Output, targets_N: Tensor) -> Tensor:
    """How many tokens are the likeliest in the model's eyes, and how many there are."""
    right = (output.logits.argmax(-1) == targets_N).sum().float()
    return torch.stack((right, torch.full_like(right, len(targets_N))))


def _each(text: Ids) -> Ids:
    return np.arange(len(text))


def cut(segments: list[Ids], room: int) -> list[Ids]:
    """Segments of `room` tokens together: the longest loses its last tokens, as in BERT."""
    sizes = [len(segment) for segment in segments]
    if len(sizes) == 1:
        return [segments[0][:room]]
    half = room // 2
    over = max(0, sum(sizes) - room)
    long, short = (0, 1) if sizes[0] >= sizes[1] else (1, 0)
    sizes[long] = max(sizes[long] - over, min(sizes[long], half))
    sizes[short] = min(sizes[short], room - sizes[long])
    return [segment[:size] for segment, size in zip(segments, sizes, strict=True)]
