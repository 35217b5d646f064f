"""What computes a step: tokens of many texts to logits.

TorchRunner reads all texts in one forward, with keys and values in blocks; so are those of what
an encoder-decoder reads, which are made when a text begins. RowRunner keeps a cache a text and
reads one after the other: for models whose past is no list of keys (LSTM, Transformer-XL, XLNet),
and whose prompt is read both ways or in one piece.

Shapes: N tokens, M tokens after which logits are wanted, S tokens of sources, D width,
V vocabulary.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ownlm.inference.job import Work
from ownlm.models.model import PREFIX_LM, EncoderDecoder, Model, SingleStack
from ownlm.nn.cache import Cache
from ownlm.nn.head import Output
from ownlm.nn.paged import PagedCache
from ownlm.nn.pieces import Piece
from ownlm.nn.stack import Memory, Stack

__all__ = ["RowRunner", "Runner", "TorchRunner", "Work", "make_runner"]

PACK = 1024
"""Tokens of sources that an encoder reads in one row; its attention costs their square."""


class Runner(Protocol):
    """A model with storage for what it has read, in blocks that an engine deals out."""

    @property
    def context(self) -> int:
        """Tokens of a text it can see at once."""

    @property
    def vocab(self) -> int:
        """Logits a token."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def bytes_per_token(self) -> int:
        """What keys and values of a token take."""

    def reserve(self, blocks: int, size: int) -> None:
        """Make storage for so many blocks of `size` tokens, before all else; what was read before
        is gone."""

    def read(self, work: Sequence[Work]) -> Tensor:
        """Logits (M, V), float32, after the last id of each work, or after every one; in order.

        A work may write to its own blocks from its start on, and reads what earlier calls wrote
        to them before that.
        """

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Let the second block of each pair hold what the first does."""


def make_runner(model: Model) -> Runner:
    """The runner that a model can have: in blocks, or row by row."""
    return TorchRunner(model) if pageable(model) else RowRunner(model)


def pageable(model: Model) -> bool:
    """Whether all that a model keeps of a token are keys and values that later tokens do not
    change: prompts can then be read in pieces, and shared."""
    kinds = model.architecture.stack.kinds
    stretched = (kind.rope.scaling for kind in kinds if kind.rope is not None)
    # How far this one turns the first tokens depends on how long the text is now.
    by_length = any(scaling is not None and scaling.kind == "longrope" for scaling in stretched)
    plain = type(model) in (SingleStack, EncoderDecoder) and type(model.stack) is Stack
    writes = model.writer is not None or type(model) is EncoderDecoder
    both_ways = model.config.get(PREFIX_LM) is True
    return plain and writes and not by_length and not both_ways


class ModelRunner:
    """What runners of the training model have in common."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def context(self) -> int:
        """Tokens of a text it can see at once; of an encoder-decoder, of what it writes."""
        return self.model.context

    @property
    def vocab(self) -> int:
        """Logits a token."""
        return self.model.vocab

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    @property
    def bytes_per_token(self) -> int:
        """What keys and values of a token take in all layers; those of sources are kept twice."""
        stack, times = self.model.architecture.stack, 2 if self.model.architecture.encoder else 1
        size = stack.layers * stack.kv_heads * stack.head_dim * self.model.dtype.itemsize
        return 2 * times * size


class TorchRunner(ModelRunner):
    """The training model with a paged cache: one forward a step."""

    def __init__(self, model: Model) -> None:
        assert pageable(model), "callers ask `pageable`"
        super().__init__(model)
        self.cache = PagedCache(0, 0, 1)

    def reserve(self, blocks: int, size: int) -> None:
        """Make storage for so many blocks; memory is taken as they fill."""
        stack = self.model.stack
        self.cache = PagedCache(len(stack.blocks), blocks, size, stack.relative)

    @torch.inference_mode()
    def read(self, work: Sequence[Work]) -> Tensor:
        """Logits (M, V) of the works."""
        self.cache.begin([_piece(one) for one in work], self.device)
        ids_1N = torch.tensor([[id for one in work for id in one.ids]], device=self.device)
        output = self._read(ids_1N, [one.source for one in work if one.hears])
        places: list[int] = []
        end = 0
        for one in work:
            end += len(one.ids)
            places += range(end - len(one.ids), end) if one.every else [end - 1]
        chosen = output.features[0, torch.tensor(places, device=self.device)]
        logits: Tensor = output._replace(features=chosen).logits
        return logits.float()

    @torch.inference_mode()
    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Let the second block of each pair hold what the first does."""
        self.cache.copy(pairs, self.device)

    def _read(self, ids_1N: Tensor, sources: Sequence[Sequence[int]]) -> Output:
        """What the model makes of the ids; `sources` are those that it has not heard before."""
        if not isinstance(self.model, EncoderDecoder):
            found: Output = self.model(ids_1N, cache=self.cache)
            return found
        heard = [_heard(self.model, pack) for pack in _packs(sources)]
        memory = Memory(torch.cat(heard, dim=1)) if heard else None
        return self.model.decode(ids_1N, memory, cache=self.cache)


class RowRunner(ModelRunner):
    """A cache for each text. A block is a row: it holds all of one text, and nothing is shared."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.writer = model.writer
        self.both_ways = model.config.get(PREFIX_LM) is True
        self.rows: dict[int, Cache] = {}
        """What was read of each text."""

    def reserve(self, blocks: int, size: int) -> None:
        """So many texts at once."""
        self.rows = {}

    @torch.inference_mode()
    def read(self, work: Sequence[Work]) -> Tensor:
        """Logits (M, V) of the works."""
        return torch.cat([self._read(one) for one in work]).float()

    @torch.inference_mode()
    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Let the second row of each pair have read what the first has."""
        for source, target in pairs:
            self.rows[target] = copy.deepcopy(self.rows[source])

    def forget(self, blocks: Sequence[int]) -> None:
        """Give the memory of these rows back."""
        for row in blocks:
            self.rows.pop(row, None)

    def _read(self, work: Work) -> Tensor:
        row, ids_1T = work.blocks[0], torch.tensor([[*work.ids]], device=self.device)
        if work.start == 0:
            self.rows[row] = self.writer.new_cache(1, len(work.ids))
        seen = {"prefix": torch.ones_like(ids_1T)} if self.both_ways and not work.start else {}
        output: Output = self.writer(ids_1T, cache=self.rows[row], **seen)
        return output.logits[0] if work.every else output.last_logits


def _piece(work: Work) -> Piece:
    source = (work.source_blocks, len(work.source), work.hears)
    return Piece(work.start, len(work.ids), work.blocks, *source)


def _packs(sources: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Sources that an encoder reads in one row."""
    pack: list[Sequence[int]] = []
    for source in sources:
        if pack and sum(map(len, pack)) + len(source) > PACK:
            yield pack
            pack = []
        pack.append(source)
    if pack:
        yield pack


def _heard(model: EncoderDecoder, sources: Sequence[Sequence[int]]) -> Tensor:
    """The encoder's output for all of them, (1, S, D); none sees another."""
    ids = [id for source in sources for id in source]
    numbers = [number for number, source in enumerate(sources, start=1) for _ in source]
    mask_1S = torch.tensor([numbers], device=model.device) if len(sources) > 1 else None
    return model.encode(torch.tensor([ids], device=model.device), mask_1S).hidden
