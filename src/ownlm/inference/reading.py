"""What a batch of texts has read so far: how decoders and encoder-decoders go on alike.

Shapes: N texts, R rows (one a text, or one a beam), T tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ownlm.models.model import EncoderDecoder
from ownlm.nn.cache import Cache
from ownlm.nn.head import Output
from ownlm.nn.stack import Memory

Ids = Sequence[int]
RESERVE = 32
"""Tokens to make room for at once beyond a prompt; a cache that is full doubles."""


class Writer(Protocol):
    """A model as what writes: it begins a batch of texts, and goes on from there."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def before(self, prompt: Ids) -> list[int]:
        """What stands before the first token that is written."""

    def room(self, prompt: Ids) -> int:
        """How many tokens may follow."""

    def whole(self, prompt: Ids, written: Ids) -> Tensor:
        """Logits (V,) of the next token, from nothing but ids: the reference."""

    def begin(self, prompts: Sequence[Ids]) -> tuple["Reading", Tensor]:
        """Read the prompts of a batch; logits (N, V) of what follows each."""


class Reading:
    """The caches of a batch: its rows go on, take over each other's past, and leave."""

    def __init__(self, model: Any, cache: Cache, memory: Memory | None = None) -> None:
        """`memory` is what an encoder has read: a row for each text, which all its beams share."""
        self.model, self.cache, self.memory = model, cache, memory

    def read(self, ids_RT: Tensor, **seen: Tensor) -> Tensor:
        """Logits (R, V) after the next tokens; `seen` are a mask and a prefix of the first."""
        if self.memory is None:
            output: Output = self.model(ids_RT, cache=self.cache, **seen)
        else:
            output = self.model.decode(ids_RT, self.memory, cache=self.cache)
        return output.last_logits

    def keep(self, rows: Tensor, texts: Tensor) -> None:
        """Go on with the rows `rows`, of the texts `texts`; a row may come several times."""
        self.cache.reorder(rows, texts)
        if self.memory is not None:
            hidden, segments = self.memory
            segments = None if segments is None else segments[texts]
            self.memory = Memory(hidden[texts], segments)

    def move(self, moves: Sequence[tuple[int, int]]) -> None:
        """The first row of each pair takes over the past of the second; none is in both."""
        if moves:
            pairs = torch.tensor(moves, device=self.model.device)
            self.cache.move(pairs[:, 0], pairs[:, 1])


class Continuing:
    """A decoder, which goes on from its prompt."""

    def __init__(self, model: Any, *, both_ways: bool = False) -> None:
        """`model` predicts the next token (`Model.writer`); `both_ways`: it reads prompts as a
        prefix."""
        self.model, self.both_ways = model, both_ways

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.model.device  # type: ignore[no-any-return]

    def before(self, prompt: Ids) -> list[int]:
        """The prompt."""
        return [*prompt]

    def room(self, prompt: Ids) -> int:
        """What is left of the context; the last token need not be read."""
        return self.model.context + 1 - len(prompt)  # type: ignore[no-any-return]

    def whole(self, prompt: Ids, written: Ids) -> Tensor:
        """Logits (V,) of the next token."""
        ids_1T = torch.tensor([[*prompt, *written]], device=self.device)
        seen = torch.arange(ids_1T.shape[1], device=self.device)[None] < len(prompt)
        output: Output = self.model(ids_1T, **({"prefix": seen} if self.both_ways else {}))
        return output.last_logits[0]

    def begin(self, prompts: Sequence[Ids]) -> tuple[Reading, Tensor]:
        """Prompts are padded on the left: all rows then go on at the same place."""
        ids_NT, mask_NT = padded(prompts, self.device, left=True)
        seen = {} if bool(mask_NT.all()) else {"mask": mask_NT}
        seen |= {"prefix": mask_NT > 0} if self.both_ways else {}
        reading = Reading(self.model, self.model.new_cache(len(prompts), ids_NT.shape[1] + RESERVE))
        return reading, reading.read(ids_NT, **seen)


class Answering:
    """An encoder-decoder, which reads its prompt and then writes."""

    def __init__(self, model: EncoderDecoder, start: Ids) -> None:
        """`start` are the ids that the decoder begins with."""
        self.model, self.start = model, [*start]

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.model.device

    def before(self, prompt: Ids) -> list[int]:
        """What the decoder begins with."""
        return self.start

    def room(self, prompt: Ids) -> int:
        """The decoder's context."""
        return self.model.context + 1 - len(self.start)

    def whole(self, prompt: Ids, written: Ids) -> Tensor:
        """Logits (V,) of the next token."""
        sides = (prompt, [*self.start, *written])
        output: Output = self.model(*(torch.tensor([side], device=self.device) for side in sides))
        return output.last_logits[0]

    def begin(self, prompts: Sequence[Ids]) -> tuple[Reading, Tensor]:
        """Each prompt is read once, however many beams will write."""
        ids_NS, mask_NS = padded(prompts, self.device)
        memory = self.model.encode(ids_NS, None if bool(mask_NS.all()) else mask_NS)
        cache = self.model.new_cache(len(prompts), RESERVE)
        reading = Reading(self.model, cache, memory)
        start_NT = torch.tensor([self.start], device=self.device).expand(len(prompts), -1)
        return reading, reading.read(start_NT)


class Reply:
    """An encoder-decoder that has read its source, as a decoder of what it writes."""

    @torch.inference_mode()
    def __init__(self, model: EncoderDecoder, source: Ids) -> None:
        self.model = model
        self.memory = model.encode(torch.tensor([[*source]], device=model.device))

    @property
    def context(self) -> int:
        """Tokens it can see at once of what it wrote."""
        return self.model.context

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.model.device

    def new_cache(self, batch: int = 1, length: int | None = None) -> Cache:
        """An empty cache."""
        return self.model.new_cache(batch, length)

    def __call__(
        self,
        ids_BT: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        *,
        prefix: Tensor | None = None,
    ) -> Output:
        """The output for what was written; it has no `prefix`, its source is read both ways."""
        return self.model.decode(ids_BT, self.memory, mask, cache)


def padded(
    rows: Sequence[Ids], device: torch.device, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Ids (N, T) and a mask (N, T), 1 where there is a token."""
    tensors = [torch.tensor(row) for row in rows]
    masks = [torch.ones(len(row), dtype=torch.long) for row in rows]
    side = "left" if left else "right"
    ids_NT, mask_NT = (
        torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_side=side)
        for parts in (tensors, masks)
    )
    return ids_NT.to(device), mask_NT.to(device)
