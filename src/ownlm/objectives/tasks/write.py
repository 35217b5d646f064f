"""A text for a text: translation, summary, answer, by encoder-decoders and by decoders.

encoder-decoder   source     prefix words and source <end>
                  target     <start> | target <end>
decoder           sequence   <start> prefix words and source <separator> target <end>
                  learned      0       0     0    0      0        0        1     1

Several sequences share a row and do not see each other. What writes the text of a prediction is
handed in (`generate`): searching is no part of what is learned.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ownlm.data.encoded import Encoded, EncodedExamples
from ownlm.data.faults import Bad
from ownlm.data.packing import laid_out, packed, packed_pairs
from ownlm.data.tasks.predictions import Prediction, Writing
from ownlm.data.tasks.records import Parallel, Record
from ownlm.objectives.chat import Chat
from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss
from ownlm.objectives.rows import batch_of
from ownlm.objectives.tasks.task import Task, balanced, evaluating
from ownlm.objectives.two_sided import Exchange, Frame, Sides, nats
from ownlm.tokenization.tokenizer import Tokenizer

MORE = 50
"""Tokens that a translation may have beyond its source (Vaswani et al. 2017, section 6.1)."""
SOURCE = 0.75
"""Share of a decoder's sequence that its source may take; the rest is for what is written."""


class Said(Protocol):
    """A text as ids."""

    @property
    def ids(self) -> Sequence[int]:
        """Without the token that ended it."""

    @property
    def complete(self) -> bool:
        """Whether the model ended it."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How texts are to be written."""

    ends: frozenset[int]
    """Ids that end a text."""
    vocab: int
    """Ids from here on are never written."""
    limits: Sequence[int]
    """Tokens of each text at most, with its end."""
    opening: Sequence[int] = ()
    """What the decoder of an encoder-decoder begins with."""
    banned: Sequence[int] = ()
    """Ids that are never written: padding."""
    beams: int = 1
    both_ways: bool = False
    """A decoder reads its prompt as a prefix."""


class Generate(Protocol):
    """Writes what follows each prompt, in order (inference.batch.generate)."""

    def __call__(
        self, model: nn.Module, prompts: Sequence[Sequence[int]], wanted: Wanted
    ) -> Sequence[Said]:
        """A text a prompt."""


class Writes(Task):
    """A task whose predictions are texts."""

    def __init__(
        self, tokenizer: Tokenizer, *, longest: int, beams: int = 1, smoothing: float = 0.0
    ) -> None:
        """Sequences, or sides, of `longest` tokens at most; predictions by `beams`; `smoothing` of
        the targets, in training only."""
        self.tokenizer, self.longest = tokenizer, longest
        self.beams, self.smoothing = beams, smoothing
        self.pad = tokenizer.pad_id or 0
        self.generate: Generate | None = None

    def predict(
        self, model: nn.Module, encoded: Sequence[Encoded], records: Sequence[Record]
    ) -> list[Prediction]:
        """What the model writes for each record."""
        assert self.generate is not None, "a task that writes is given what writes: `generate`"
        prompts = self.prompts(encoded, records)
        with evaluating(model):
            found = self.generate(model, prompts, self.wanted(prompts))
        return [Writing(self.tokenizer.decode(said.ids), said.complete) for said in found]

    @abstractmethod
    def prompts(self, encoded: Sequence[Encoded], records: Sequence[Record]) -> list[Sequence[int]]:
        """What is read for each record."""

    @abstractmethod
    def wanted(self, prompts: Sequence[Sequence[int]]) -> Wanted:
        """How the texts behind these are to be written."""

    @property
    def banned(self) -> tuple[int, ...]:
        """Padding, which is never the end."""
        return () if self.tokenizer.pad_id is None else (self.tokenizer.pad_id,)


class Translate(Writes):
    """An encoder-decoder reads the source and writes the target."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        frame: Frame,
        *,
        longest: int,
        beams: int = 1,
        smoothing: float = 0.0,
        prefix: str = "",
    ) -> None:
        """`frame` has the marks of both sides; `prefix` stands before every source."""
        super().__init__(tokenizer, longest=longest, beams=beams, smoothing=smoothing)
        self.frame, self.prefix = frame, prefix

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """Both sides with their marks. A source that is too long loses its last tokens; a target
        loses its end too, so that to end there is not learned."""
        assert isinstance(record, Parallel), "records of a text for a text"
        source = self.frame.source(self.tokenizer.encode(self.prefix + record.source))
        target = self.frame.target(self.tokenizer.encode(record.target))
        source = self.frame.shortened(source, self.longest)
        return [Encoded(source, number, decoder_ids=target[: self.longest])]

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs and mask (B, S); decoder_inputs, decoder_mask and targets (B, T): rows as long
        as the longest source and the longest target, each with as many pairs as fit."""
        assert isinstance(examples, EncodedExamples), "an EncodedLoader gives these"
        items = examples.items
        pairs = [Exchange(i.ids, i.decoder_ids) for i in items if i.decoder_ids is not None]
        sizes = [(len(pair.source), len(pair.target)) for pair in pairs]
        read, write = (max(side) for side in zip(*sizes))
        rows = []
        alone = [[number] for number in range(len(pairs))]
        for numbers in packed_pairs(sizes, (read, write)) if self.packs else alone:
            sides = Sides(read, write, self.frame, self.pad)
            for number in numbers:
                sides.add(pairs[number])
            rows.append(sides.row)
        return batch_of(rows)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of the targets, smoothed in training."""
        return nats(model, batch, self.smoothing)

    def prompts(self, encoded: Sequence[Encoded], records: Sequence[Record]) -> list[Sequence[int]]:
        """The sources."""
        return [item.ids.tolist() for item in encoded]

    def wanted(self, prompts: Sequence[Sequence[int]]) -> Wanted:
        """At most 50 tokens more than were read."""
        return Wanted(
            ends=frozenset({self.frame.end, self.tokenizer.eos_id}),
            vocab=self.tokenizer.vocab_size,
            limits=[len(prompt) + MORE for prompt in prompts],
            opening=self.frame.opening,
            banned=self.banned,
            beams=self.beams,
        )


class Continue(Writes):
    """A decoder goes on from a prompt; only what comes behind prompts is learned."""

    both_ways: bool = False
    """Prompts are read both ways, as a prefix."""

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs, mask, targets (B, T), and perhaps the prefix."""
        assert isinstance(examples, EncodedExamples), "an EncodedLoader gives these"
        marked = [(item.ids, item.target) for item in examples.items]
        lengths = [len(item.ids) for item in examples.items]
        size = max(2, *lengths)
        shared = packed(lengths, size) if self.packs else [[n] for n in range(len(marked))]
        rows = laid_out(marked, shared, size, self.pad)
        batch = Chat().collate(rows, rng)
        if self.both_ways:
            read = (rows.documents > 0) & ~rows.learned
            batch["prefix"] = torch.from_numpy(read[:, :-1].copy())
        return batch

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of what is learned, smoothed in training."""
        seen = {name: batch[name] for name in ("mask", "prefix") if name in batch}
        output = model(batch["inputs"], **seen)
        smoothing = self.smoothing if model.training else 0.0
        total, count = output.cross_entropy(batch["targets"], ignore=IGNORE, smoothing=smoothing)
        return balanced(Loss(total, count, {}), output)

    def wanted(self, prompts: Sequence[Sequence[int]]) -> Wanted:
        """As many tokens as sequences have in training."""
        return Wanted(
            ends=self.ends,
            vocab=self.tokenizer.vocab_size,
            limits=[max(1, self.longest - len(prompt)) for prompt in prompts],
            banned=[id for id in self.banned if id not in self.ends],
            beams=self.beams,
            both_ways=self.both_ways,
        )

    @property
    def ends(self) -> frozenset[int]:
        """Ids that end a text."""
        return frozenset({self.tokenizer.eos_id})


class Rewrite(Continue):
    """A decoder reads the source, a separator, and writes the target."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        longest: int,
        beams: int = 1,
        smoothing: float = 0.0,
        prefix: str = "",
        separator: str = "\n",
        both_ways: bool = False,
    ) -> None:
        """`prefix` stands before every source, `separator` behind it: where the tokenizer has no
        tokens for it, the end of texts."""
        super().__init__(tokenizer, longest=longest, beams=beams, smoothing=smoothing)
        self.prefix, self.both_ways = prefix, both_ways
        self.separator = tokenizer.encode(separator) or [tokenizer.eos_id]

    def encode(self, record: Record, number: int) -> list[Encoded]:
        """One sequence, and which of its tokens are learned; `extra` is the length of the prompt.
        A source takes three quarters of the room at most, a target what is left; a target that
        is cut does not end."""
        assert isinstance(record, Parallel), "records of a text for a text"
        start, separator = self.tokenizer.start, self.separator
        room = self.longest - len(start) - len(separator)
        if room < 2:
            raise Bad("longest", f"sequences of {self.longest} tokens have no room for a text")
        source = self.tokenizer.encode(self.prefix + record.source)[: int(room * SOURCE)]
        target = [*self.tokenizer.encode(record.target), self.tokenizer.eos_id]
        target = target[: room - len(source)]
        ids = [*start, *source, *separator, *target]
        prompt = len(ids) - len(target)
        learned = np.arange(len(ids)) >= prompt
        return [Encoded(np.array(ids, np.int64), number, target=learned, extra=prompt)]

    def prompts(self, encoded: Sequence[Encoded], records: Sequence[Record]) -> list[Sequence[int]]:
        """Sources with their separators."""
        return [item.ids[: item.extra].tolist() for item in encoded]
