"""A tag for every word: names, parts of speech, roles around a predicate.

words     The     boatswain      sang        of a record
pieces    the     boat ##swain   sang        of the sentence, as the tokenizer cuts it
tags      O       B-PER ----     O           the first piece carries the tag (Devlin et al. 2019,
                                             section 5.3); a decoder's last, which has seen all

A long sentence is cut into windows that overlap; each word is learned, and tagged, in the one
where it has more around it. Semantic roles (Shi and Lin 2019, arXiv:1904.05255): the predicate
is a second text, [CLS] sentence [SEP] predicate [SEP], and its pieces in the sentence belong to
its segment, where the family has segments; a decoder reads the predicate first.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ownlm.data.encoded import Encoded
from ownlm.data.faults import Bad
from ownlm.data.tasks.predictions import Prediction, Tagging
from ownlm.data.tasks.records import Record, Tagged
from ownlm.models.heads import TOKEN
from ownlm.objectives.objective import IGNORE, Batch, Loss
from ownlm.objectives.rows import Ids
from ownlm.objectives.tasks.classify import frequencies
from ownlm.objectives.tasks.marks import Marks
from ownlm.objectives.tasks.task import Reading, balanced
from ownlm.objectives.tasks.windows import overlapping
from ownlm.tokenization.tokenizer import Tokenizer

OUTSIDE = "O"


class Pieces(NamedTuple):
    """A sentence as tokens."""

    ids: Ids
    """(S,)."""
    words: Ids
    """(S,): the word that each is a part of, from 0, ascending."""


class Carried(NamedTuple):
    """Which tokens of a sequence carry the tags of which words."""

    places: Ids
    words: Ids


class Tag(Reading):
    """Cross entropy of the tags of words."""

    head = TOKEN

    def __init__(
        self,
        tokenizer: Tokenizer,
        marks: Marks,
        labels: Sequence[str],
        *,
        stride: int = 128,
        every_piece: bool = False,
        smoothing: float = 0.0,
        start: int | None = None,
    ) -> None:
        """`stride`: tokens that neighbouring windows share, at most half of them. `every_piece`:
        a word's other pieces learn its tag too, B-X as I-X."""
        super().__init__(pad=tokenizer.pad_id or 0, start=start)
        self.tokenizer, self.marks, self.labels = tokenizer, marks, tuple(labels)
        self.stride, self.every_piece, self.smoothing = stride, every_piece, smoothing
        self.numbers = {label: number for number, label in enumerate(self.labels)}

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """A sequence a window; Bad for a tag that is not among `labels`."""
        assert isinstance(record, Tagged), "records of tagged words"
        strange = [tag for tag in record.tags if tag not in self.numbers]
        if strange:
            raise Bad("unknown-label", f"tag {strange[0]!r:.80} is not among the labels")
        pieces = pieces_of(self.tokenizer, record.words)
        predicate = [] if record.predicate is None else [self.predicate(record)]
        room = self.marks.room(1 + len(predicate)) - sum(map(len, predicate))
        found = []
        for window in windows(pieces.words, room, self.stride):
            first, last = window.words
            here = (pieces.words >= first) & (pieces.words < last)
            cut = Pieces(pieces.ids[here][:room], pieces.words[here][:room])
            found.append(self.sequence(record, number, cut, predicate, window.own))
        return found

    def predicate(self, record: Tagged) -> Ids:
        """The predicate by itself, not more than a quarter of a sequence."""
        assert record.predicate is not None
        ids = self.tokenizer.encode(record.words[record.predicate])
        return np.array(ids[: self.marks.longest // 4], np.int64)

    def sequence(
        self,
        record: Tagged,
        number: int,
        pieces: Pieces,
        predicate: list[Ids],
        own: tuple[int, int],
    ) -> Encoded:
        """A window of a sentence; the words from `own[0]` to before `own[1]` are tagged in it."""
        first = self.marks.causal and bool(predicate)
        made = self.marks(*((*predicate, pieces.ids) if first else (pieces.ids, *predicate)))
        begin = made.begins[1 if first else 0]
        segments = made.segments
        if segments is not None and predicate and not first:
            there = np.flatnonzero(pieces.words == record.predicate) + begin
            segments[there] = 1
        carried = self.carried(pieces.words, begin, own)
        target = np.full(len(made.ids), IGNORE, np.int64)
        if record.tags:
            tags = np.array([self.numbers[tag] for tag in record.tags], np.int64)
            if self.every_piece:
                inside = np.array([self.inside(tag) for tag in record.tags], np.int64)
                mine = np.flatnonzero((pieces.words >= own[0]) & (pieces.words < own[1]))
                target[mine + begin] = inside[pieces.words[mine]]
            target[carried.places] = tags[carried.words]
        return Encoded(made.ids, number, segments, target, carried)

    def carried(self, words: Ids, begin: int, own: tuple[int, int]) -> Carried:
        """The piece of each word of `own` that carries its tag."""
        ends = np.diff(words, append=-1) if self.marks.causal else np.diff(words, prepend=-1)
        places = np.flatnonzero((ends != 0) & (words >= own[0]) & (words < own[1]))
        return Carried(places + begin, words[places])

    def inside(self, tag: str) -> int:
        """What further pieces of a word of this tag learn."""
        return self.numbers.get("I-" + tag.removeprefix("B-"), self.numbers[tag])

    def prior(self, encoded: Sequence[Encoded]) -> Tensor | None:
        """Of the tags' shares: nearly all words are outside of all names."""
        targets = np.concatenate([item.target for item in encoded])
        there = np.bincount(targets[targets != IGNORE], minlength=len(self.labels))
        return frequencies(there, there.sum()).log()

    def targets(self, items: Sequence[Encoded]) -> Batch:
        """targets (N, S)."""
        size = max(len(item.ids) for item in items)
        found = np.full((len(items), size), IGNORE, np.int64)
        for row, item in enumerate(items):
            found[row, : len(item.target)] = item.target
        return {"targets": torch.from_numpy(found)}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Nats over the words."""
        output, targets = self.read(model, batch), batch["targets"]
        at = targets != IGNORE
        asked = output._replace(features=output.features[at])
        smoothing = self.smoothing if model.training else 0.0
        total, count = asked.cross_entropy(targets[at], ignore=IGNORE, smoothing=smoothing)
        right = (asked.logits.detach().argmax(-1) == targets[at]).sum()
        metrics = {"accuracy": torch.stack((right.float(), count.float()))}
        return balanced(Loss(total, count, metrics), output)

    def predict(
        self, model: nn.Module, encoded: Sequence[Encoded], records: Sequence[Record]
    ) -> list[Prediction]:
        """A tag a word, mended where chunks do not begin as they should. A word without pieces is
        outside of all chunks, or gets the first of the labels where there is no such tag."""
        nothing = OUTSIDE if OUTSIDE in self.numbers else self.labels[0]
        sizes = [len(record.words) for record in records if isinstance(record, Tagged)]
        tags, shares = [[nothing] * size for size in sizes], [[0.0] * size for size in sizes]
        for _, item, logits in self.predicted(model, encoded):
            carried: Carried = item.extra
            best, likely = best_of(logits, carried.places)
            for word, share, label in zip(carried.words.tolist(), best, likely, strict=True):
                tags[item.record][word] = self.labels[label]
                shares[item.record][word] = share
        return [
            Tagging(mended(each, self.labels), tuple(mine))
            for each, mine in zip(tags, shares, strict=True)
        ]


def best_of(logits_SC: Tensor, places: Ids) -> tuple[list[float], list[int]]:
    """Probability and number of the likeliest class at some places."""
    found = logits_SC[torch.from_numpy(places)].softmax(-1).max(-1)
    return found.values.tolist(), found.indices.tolist()


class Window(NamedTuple):
    """Words that are read together, and those of them that are tagged."""

    words: tuple[int, int]
    own: tuple[int, int]


def windows(words: Ids, room: int, stride: int) -> Iterator[Window]:
    """Cut a sentence, given as the word of each piece, into windows of at most `room` pieces that
    begin and end with words. Every word is in `own` of exactly one."""
    count = int(words[-1]) + 1 if len(words) else 0
    ends = np.searchsorted(words, np.arange(count), side="right")
    spans = list(overlapping(np.diff(ends, prepend=0).tolist(), room, stride))
    edges = [0, *((two[0] + one[1]) // 2 for one, two in itertools.pairwise(spans)), count]
    for span, own in zip(spans, itertools.pairwise(edges)):
        yield Window(span, own)


def pieces_of(tokenizer: Tokenizer, words: Sequence[str]) -> Pieces:
    """The words between spaces as tokens; a token belongs to the word of its last character."""
    ids, places = tokenizer.encode_places(" ".join(words))
    begins = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    last = np.array([max(begin, end - 1) for begin, end in places], np.int64)
    found = np.searchsorted(begins, last, side="right") - 1
    return Pieces(np.array(ids, np.int64), np.maximum.accumulate(found) if len(found) else found)


def mended(tags: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Chunks that begin with B: I-X after anything but B-X or I-X becomes B-X, where there is such
    a tag. Tags of other kinds, and of schemes with ends (E-, S-), stay.

    >>> mended(["I-PER", "I-PER", "O", "B-LOC", "I-PER"], ["O", "B-PER", "I-PER", "B-LOC"])
    ('B-PER', 'I-PER', 'O', 'B-LOC', 'B-PER')
    """
    known, found, before = {*labels}, list(tags), OUTSIDE
    if any(label.startswith(("E-", "S-")) for label in labels):
        return tuple(tags)
    for place, tag in enumerate(tags):
        kind = tag[2:]
        goes_on = before in ("B-" + kind, "I-" + kind)
        if tag.startswith("I-") and not goes_on and "B-" + kind in known:
            found[place] = "B-" + kind
        before = found[place]
    return tuple(found)
