"""Keys and values in blocks, for texts of unlike length in one forward.

Storage is that of vLLM (Kwon et al. 2023, arXiv:2309.06180): blocks of some tokens, and a table
of blocks for each text. What an encoder has read lies in blocks of the same storage. Which
tokens a forward reads, and what each of them sees, is said by pieces.py.

Shapes: N tokens of all texts, R rows of a group, T queries, S keys, H query heads, G key/value
heads, K head width.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ownlm.nn.cache import Cache, Kernel, LayerCache
from ownlm.nn.mask import Mask, Span
from ownlm.nn.pieces import Group, Piece, Relative, Sight, Slots, Step

KeysValues = tuple[Tensor, Tensor]


class PagedLayer(LayerCache):
    """The blocks of one attention layer."""

    def __init__(self, blocks: int, size: int) -> None:
        super().__init__()
        self.shape = blocks + 1, size
        """One block more, the last, is never written to."""
        self.step: Step | None = None
        self._heard: dict[object, KeysValues] = {}
        """Of the sources that the last step read, group by group: the next one reads them too."""

    def attend(
        self,
        kernel: Kernel,
        q_BHTK: Tensor,
        k_BGTK: Tensor,
        v_BGTK: Tensor,
        mask: Mask,
        dropout: float,
    ) -> Tensor:
        """What the queries of all texts read, (1, H, N, K); keys and values of the new tokens are
        stored before anything is read."""
        assert self.step is not None, "a step is begun before the model is called"
        self._store((k_BGTK, v_BGTK), self.step.slots)
        own = self.step.own
        return self._answers(kernel, q_BHTK, mask, dropout, own, map(self._gathered, own.groups))

    def attend_memory(
        self,
        kernel: Kernel,
        q_BHTK: Tensor,
        made: KeysValues | None,
        mask: Mask | None,
        dropout: float,
    ) -> Tensor:
        """The same of sources; those that are new are `made`, one behind the other."""
        assert self.step is not None and self.step.sources is not None, "all pieces have a source"
        if made is not None:
            assert self.step.source_slots is not None, "what is made comes with this step"
            self._store(made, self.step.source_slots)
            self._heard = {}
        known, groups = self._heard, self.step.sources.groups
        self._heard = {one.name: known.get(one.name) or self._gathered(one) for one in groups}
        whole, read = Mask(self.step.span, causal=True), self._heard.values()
        return self._answers(kernel, q_BHTK, whole, dropout, self.step.sources, read)

    def copy(self, pairs: Tensor) -> None:
        """Let the second block of each pair (P, 2) hold what the first does."""
        for held in (self._keys, self._values):
            if held is not None:
                held[pairs[:, 1]] = held[pairs[:, 0]]

    def _store(self, made: KeysValues, slots: Slots) -> None:
        self._keys = self._stored(self._keys, made[0], slots)
        self._values = self._stored(self._values, made[1], slots)

    def _stored(self, held: Tensor | None, x_BGTK: Tensor, slots: Slots) -> Tensor:
        x_NGK = x_BGTK[0].transpose(0, 1)
        if held is None:
            held = x_NGK.new_empty(*self.shape, *x_NGK.shape[1:])  # taken as it is written to
            held[-1] = 0
        flat = held.view(-1, *x_NGK.shape[1:])
        flat.index_copy_(0, slots.new, x_NGK)
        if slots.unused is not None:
            # Nobody sees these, but a weight of 0 times infinity would not be 0.
            flat.index_fill_(0, slots.unused, 0)
        return held

    @staticmethod
    def _answers(
        kernel: Kernel,
        q_BHTK: Tensor,
        mask: Mask,
        dropout: float,
        sight: Sight,
        read: Iterable[KeysValues],
    ) -> Tensor:
        """What the queries make of what each group reads."""
        answers = []
        for group, (k_RGSK, v_RGSK) in zip(sight.groups, read, strict=True):
            q_RHTK = q_BHTK[0][:, group.places].transpose(0, 1)
            y_RHTK = kernel(q_RHTK, k_RGSK, v_RGSK, group.mask(mask), dropout)
            answers.append(y_RHTK.transpose(1, 2).flatten(0, 1))
        together = answers[0] if len(answers) == 1 else torch.cat(answers)
        return together[sight.order].transpose(0, 1)[None]

    def _gathered(self, group: Group) -> KeysValues:
        """Keys and values of a group, (R, G, S, K)."""
        assert self._keys is not None and self._values is not None, "something was stored before"
        k_RGSK, v_RGSK = (
            held[group.table].flatten(1, 2)[:, : group.keys].transpose(1, 2)
            for held in (self._keys, self._values)
        )
        return k_RGSK, v_RGSK


class PagedCache(Cache):
    """The blocks of all layers of a model; `begin` says what the next forward reads."""

    def __init__(
        self, layers: int, blocks: int, size: int, relative: Relative | None = None
    ) -> None:
        """`relative`: the bias of distances that the stack has, if any."""
        super().__init__(())
        self.blocks, self.size, self.relative = blocks, size, relative
        self.layers = [PagedLayer(blocks, size) for _ in range(layers)]

    def begin(self, pieces: Sequence[Piece], device: torch.device) -> None:
        """The ids of the next forward are those of these pieces, (1, N), one behind the other;
        with it come the sources that are new, laid so too."""
        self.use(Step(pieces, self.size, self.blocks, device, self.relative))

    def use(self, step: Step) -> None:
        """What the next forward reads is said by `step`."""
        self.step = step
        for layer in self.layers:
            assert isinstance(layer, PagedLayer), "a paged cache has no other layers"
            layer.step = step

    def advance(self, ids_BT: Tensor, segments_BT: Tensor | None) -> Span:
        """The span of the tokens of all texts; who sees whom is said group by group."""
        return self.step.span

    def copy(self, pairs: Sequence[tuple[int, int]], device: torch.device) -> None:
        """Let the second block of each pair hold what the first does."""
        for layer in self.layers:
            assert isinstance(layer, PagedLayer), "a paged cache has no other layers"
            layer.copy(torch.tensor(pairs, device=device))
