"""Steps of one token a text, recorded once a shape and then played by the device alone.

A GPU computes such a step faster than Python can ask for its kernels one by one. A CUDA graph
asks for all of them at once, but with the tensors that it was recorded with: nn/fixed.py keeps
them in place. Texts are padded to a power of two of rows and of keys, so that few are recorded.
Other steps (prompts, drafts) are computed by TorchRunner.

Not yet run on a GPU: tests compute the padded steps on a CPU, and see that no number of them
is asked for by the host, which no graph could record.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ownlm.inference.job import Work
from ownlm.inference.runner import TorchRunner, pageable
from ownlm.log import say
from ownlm.models.model import Model, SingleStack
from ownlm.nn.fixed import FixedStep
from ownlm.nn.pieces import NARROW, Piece

ROWS = 32
"""Texts up to which steps are recorded; more keep a GPU busy for longer than Python takes."""

Compute = Callable[[], Tensor]
Record = Callable[[Compute], Compute]
"""From what computes logits to what plays the same again, with the numbers that stand in its
tensors by then."""


class Recorded(NamedTuple):
    """A step and what plays it."""

    step: FixedStep
    play: Compute


def recordable(model: Model) -> bool:
    """Whether a step's kernels are the same whatever its numbers are: experts are chosen by the
    host, and a bias of distances is made anew."""
    stack = model.architecture.stack
    return (
        type(model) is SingleStack
        and pageable(model)
        and model.stack.relative is None
        and not stack.experts
    )


class GraphRunner(TorchRunner):
    """TorchRunner, whose steps of one token a text are recorded."""

    def __init__(self, model: Model, record: Record | None = None) -> None:
        """`record` is CUDA's by default."""
        assert recordable(model), "callers ask `recordable`"
        super().__init__(model)
        self.record: Record | None = record or Recorder()
        """None when this device was found not to record."""
        self.steps: dict[tuple[int, int], Recorded] = {}

    def reserve(self, blocks: int, size: int) -> None:
        """Make storage for so many blocks; what was recorded read another."""
        super().reserve(blocks, size)
        self.steps = {}

    @torch.inference_mode()
    def read(self, work: Sequence[Work]) -> Tensor:
        """Logits (M, V) of the works."""
        fits = len(work) <= ROWS and all(len(one.ids) == 1 and one.start for one in work)
        if self.record is None or not fits:
            return super().read(work)
        try:
            return self._played(work, self.record)
        except torch.AcceleratorError as error:
            say(f"decoding without CUDA graphs: {str(error).splitlines()[0]}")
            self.record = None
            return super().read(work)

    def _played(self, work: Sequence[Work], record: Record) -> Tensor:
        rows, keys = _power(len(work)), _power(max(NARROW, *(one.start + 1 for one in work)))
        made = self.steps.get((rows, keys))
        step = made.step if made else self._step(rows, keys)
        step.fill([Piece(one.start, 1, one.blocks) for one in work], [one.ids[0] for one in work])
        if made is None:
            made = self.steps[rows, keys] = Recorded(step, record(self._computing(step)))
        return made.play()[: len(work)].clone()  # the next step is played into the same memory

    def _step(self, rows: int, keys: int) -> FixedStep:
        return FixedStep(rows, keys, self.cache.size, self.cache.blocks, self.device)

    def _computing(self, step: FixedStep) -> Compute:
        def compute() -> Tensor:
            self.cache.use(step)
            step.own.groups[0].masks.clear()  # made by kernels that must be recorded too
            logits: Tensor = self.model(step.ids, cache=self.cache).logits[0]
            return logits.float()

        return compute


class Recorder:
    """CUDA graphs, all in one pool of memory: only one of them plays at a time."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Compute) -> Compute:
        """Compute on a stream of its own first, as torch asks (its notes on CUDA graphs), which
        writes what the recorded step will write again; then record."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            compute()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            logits = compute()

        def play() -> Tensor:
            graph.replay()
            return logits

        return play


def _power(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()
