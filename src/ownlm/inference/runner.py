"""What computes a step: tokens of many texts to logits.

TorchRunner reads all texts in one forward, with keys and values in blocks. RowRunner keeps a
cache a text and reads one after the other: for models whose past is no list of keys (LSTM,
Transformer-XL, XLNet), whose prompt is read both ways or in one piece, and which have a source.

Shapes: N tokens, M tokens after which logits are wanted, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ownlm.inference.reading import Reply
from ownlm.inference.scheduler import Work
from ownlm.models.model import PREFIX_LM, EncoderDecoder, Model, SingleStack
from ownlm.nn.cache import Cache
from ownlm.nn.paged import PagedCache, Piece
from ownlm.nn.stack import Stack

__all__ = ["RowRunner", "Runner", "TorchRunner", "Work", "make_runner"]


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
    plain = type(model) is SingleStack and type(model.stack) is Stack
    both_ways = model.config.get(PREFIX_LM) is True
    return plain and model.writer is not None and not by_length and not both_ways


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


class TorchRunner(ModelRunner):
    """The training model with a paged cache: one forward a step."""

    def __init__(self, model: Model) -> None:
        assert pageable(model), "callers ask `pageable`"
        super().__init__(model)
        self.cache = PagedCache(0, 0, 1)

    @property
    def bytes_per_token(self) -> int:
        """What keys and values of a token take."""
        return stored_bytes(self.model)

    def reserve(self, blocks: int, size: int) -> None:
        """Make storage for so many blocks; memory is taken as they fill."""
        self.cache = PagedCache(self.model.architecture.stack.layers, blocks, size)

    @torch.inference_mode()
    def read(self, work: Sequence[Work]) -> Tensor:
        """Logits (M, V) of the works."""
        self.cache.begin([Piece(one.start, len(one.ids), one.blocks) for one in work], self.device)
        ids_1N = torch.tensor([[id for one in work for id in one.ids]], device=self.device)
        output = self.model(ids_1N, cache=self.cache)
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


class RowRunner(ModelRunner):
    """A cache for each text. A block is a row: it holds all of one text, and nothing is shared."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.both_ways = model.config.get(PREFIX_LM) is True
        self.rows: dict[int, tuple[Any, Cache]] = {}
        """What reads each text, and what it has read."""

    @property
    def bytes_per_token(self) -> int:
        """What a token takes at most, that of a source included."""
        return stored_bytes(self.model) * (2 if isinstance(self.model, EncoderDecoder) else 1)

    def reserve(self, blocks: int, size: int) -> None:
        """So many texts at once."""
        self.rows = {}

    @torch.inference_mode()
    def read(self, work: Sequence[Work]) -> Tensor:
        """Logits (M, V) of the works."""
        return torch.cat([self._read(one) for one in work]).float()

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Rows are never shared."""
        raise AssertionError("a row is never copied")

    def forget(self, blocks: Sequence[int]) -> None:
        """Give the memory of these rows back."""
        for row in blocks:
            self.rows.pop(row, None)

    def _read(self, work: Work) -> Tensor:
        row, ids_1T = work.blocks[0], torch.tensor([[*work.ids]], device=self.device)
        if work.start == 0:
            self.rows[row] = self._begin(work)
        reader, cache = self.rows[row]
        seen = {"prefix": torch.ones_like(ids_1T)} if self.both_ways and not work.start else {}
        output = reader(ids_1T, cache=cache, **seen)
        logits: Tensor = output.logits[0] if work.every else output.last_logits
        return logits

    def _begin(self, work: Work) -> tuple[Any, Cache]:
        if isinstance(self.model, EncoderDecoder):
            reply = Reply(self.model, work.source)
            return reply, reply.new_cache(1, len(work.ids))
        return self.model.writer, self.model.writer.new_cache(1, len(work.ids))


def stored_bytes(model: Model) -> int:
    """Bytes of a token's keys and values in all layers."""
    stack = model.architecture.stack
    return 2 * stack.layers * stack.kv_heads * stack.head_dim * model.dtype.itemsize
